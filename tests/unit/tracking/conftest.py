"""Fixtures: an empty store per test, and a filled store that many tests read."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.tracking import ParentRun, Tracker, open_tracker
from tests.support.factory import make_result


@pytest.fixture(autouse=True)
def no_inherited_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fresh(tmp_path: Path, blank_store: Path) -> Callable[[], Tracker]:
    """Return a function that opens a tracker on an empty store in `tmp_path`; each call acts like a new process."""
    (tmp_path / "mlflow.db").write_bytes(blank_store.read_bytes())
    return lambda: open_tracker("sqlite", root=tmp_path)


class Filled:
    """A store with a sweep of four runs (one diverged) and a single run."""

    def __init__(self, root: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.tracker = open_tracker("sqlite", root=root)
        self.parent = self.tracker.begin(
            ParentRun("optimizers", "optimizers-by-width", {"question": "which optimizer"})
        )
        self.results = [make_result(seed, gap=gap) for seed, gap in enumerate((0.02, 0.0003, 0.011))]
        history = {"train/loss": [float("inf"), float("nan")]}
        self.diverged = make_result(7, status="diverged", reason="loss is nan", history=history, metrics={})
        self.ids = [self.tracker.publish(result, "optimizers", self.parent) for result in self.results]
        self.diverged_ids = self.tracker.publish(self.diverged, "optimizers", self.parent)
        self.single_ids = self.tracker.publish(make_result(42), "optimizers")
        self.tracker.log_metrics(self.parent, {"best/test_accuracy": 0.97})
        note = "| optimizer | gap |\n| --- | --- |\n| adam | 1.1 |"
        self.tracker.set_tags(self.parent, {"mlflow.note.content": note})
        self.tracker.end(self.parent, "FINISHED")
        self.client = MlflowClient(self.tracker.address.uri)
        self.run = self.client.get_run(self.ids[0]["run_id"])


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Filled(tmp_path_factory.mktemp("project with space"))
