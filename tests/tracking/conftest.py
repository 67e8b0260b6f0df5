"""One store, filled once and read by many tests; and results as training would hand them over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.job import Dataset, Job, Model, Optimizer, Training
from pipeline.results.result import Result
from pipeline.tracking import Tracker, open_tracker

DATA_DIGEST = hashlib.sha256(b"arrays").hexdigest()


def make_job(seed: int = 0, optimizer: str = "adam", hidden: tuple[int, ...] = (64,)) -> Job:
    return Job(
        dataset=Dataset("mnist", 10000),
        model=Model(hidden, "relu", 0.0, "glorot_uniform"),
        optimizer=Optimizer(optimizer, (("learning_rate", 0.001), ("nesterov", False))),
        training=Training(3, 128, "categorical_crossentropy"),
        seed=seed,
    )


def make_result(seed: int = 0, gap: float = 0.01, **changes: Any) -> Result:
    """A finished run of three epochs, as complete as the trainers make them."""
    job = changes.pop("job", None) or make_job(seed)
    names = [f"{part}/{what}" for part in ("train", "val", "gap", "running") for what in ("loss", "accuracy")]
    offsets = {name: 0.1 * index + seed * 1e-4 for index, name in enumerate(names)}
    history = {name: [offset + 0.01 * epoch for epoch in (1, 2, 3)] for name, offset in offsets.items()}
    result = Result(
        key=hashlib.sha256(f"{job}".encode()).hexdigest(),
        job=job,
        status="finished",
        history=history,
        figures={
            "test/accuracy": 0.97,
            "test/loss": 0.1,
            "overfitting_gap/accuracy": gap,
            "overfitting_gap/loss": 0.02,
            "train/accuracy": history["train/accuracy"][-1],
            "best/epoch": 3,
            "best/val_accuracy": 0.975,
            "time/train_s": 6.0,
        },
        digests={"final_weights": "f" * 64, "predictions": "e" * 64},
        identity={"data": DATA_DIGEST, "source": "5" * 64, "numerics": {"backend": "tensorflow", "device": "cpu"}},
        environment={"git_commit": "c" * 40, "git_dirty": "false", "dvc_experiment": "rosy-pika", "lock": "d" * 64},
        started="2026-02-03T04:05:06+00:00",
    )
    return replace(result, **changes)


@pytest.fixture(autouse=True)
def no_inherited_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store that was made and holds nothing: copied, it saves a second per test that needs one."""
    root = tmp_path_factory.mktemp("blank")
    open_tracker("sqlite", uri=f"sqlite:///{root}/mlflow.db").close_stale()
    return root / "mlflow.db"


@pytest.fixture
def fresh(tmp_path: Path, blank_store: Path) -> Callable[[], Tracker]:
    """Trackers on one new store in `tmp_path`; a second call is a second process, as far as the tracker can tell."""
    (tmp_path / "mlflow.db").write_bytes(blank_store.read_bytes())
    return lambda: open_tracker("sqlite", root=tmp_path)


class Filled:
    """A sweep of four runs (one diverged) and a single run."""

    def __init__(self, root: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.tracker = open_tracker("sqlite", root=root)
        self.parent = self.tracker.begin("optimizers", "optimizers-by-width", {"question": "which optimizer"})
        self.results = [make_result(seed, gap=gap) for seed, gap in enumerate((0.02, 0.0003, 0.011))]
        history = {"train/loss": [float("inf"), float("nan")]}
        self.diverged = make_result(7, status="diverged", reason="loss is nan", history=history, figures={})
        given = {
            "source": "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "features": {"dtype": "float32", "shape": [784]},
            "targets": {"dtype": "uint8", "shape": []},
            "classes": 10,
        }
        self.ids = [self.tracker.publish(result, "optimizers", self.parent, given) for result in self.results]
        self.diverged_ids = self.tracker.publish(self.diverged, "optimizers", self.parent, given)
        self.single_ids = self.tracker.publish(make_result(42), "optimizers")
        self.tracker.log_metrics(self.parent, {"best/test_accuracy": 0.97, "spread": float("inf")})
        self.tracker.set_note(self.parent, "| optimizer | gap |\n| --- | --- |\n| adam | 1.1 |")
        self.tracker.end(self.parent, "FINISHED")
        self.client = MlflowClient(self.tracker.uri)
        self.run = self.client.get_run(self.ids[0]["run_id"])


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Filled(tmp_path_factory.mktemp("project with space"))
