"""The current contents of the MLflow store in a folder, read with MLflow's own client."""

from pathlib import Path
from typing import Any


class Rows:
    def __init__(self, folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(self.uri, self.uri)
        self.names = {found.experiment_id: found.name for found in self.client.search_experiments()}
        self.runs = self.client.search_runs(list(self.names), max_results=1000)
        self.parents = [run for run in self.runs if "sweep.id" in run.data.tags]
        self.children = [run for run in self.runs if "sweep.id" not in run.data.tags]

    def parent(self, experiment: str) -> Any:
        """Return the parent run of the only sweep in this experiment."""
        [found] = [run for run in self.parents if self.names[run.info.experiment_id] == experiment]
        return found
