"""Ways to train the runs of a plan: in this process, or in shards by workers of this machine or of a cluster."""
