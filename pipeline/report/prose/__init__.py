"""Every sentence that a report, a terminal or a note in MLflow says of results. Numbers come from `pipeline.statistics`."""
