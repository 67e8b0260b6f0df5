"""The sentences of the report, the terminal and the notes in MLflow. Their numbers come from `pipeline.statistics`."""
