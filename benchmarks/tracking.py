"""How long recording a run in MLflow takes. `python -m benchmarks.tracking [runs=100] [epochs=5] [kind=private|shared|single]`.

Each run has the shape of a real one: 16 parameters, 8 metrics by epoch, 12 figures, 25 tags, the data set.
`private` is a sweep of one process, `shared` one that several processes may join (each run is looked up first),
`single` a run without a sweep.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import console
from pipeline.config.run_config import Dataset, Model, Optimizer, RunConfig, Training
from pipeline.tracking import ParentRun, open_tracker
from pipeline.training.result import RunResult


def result(seed: int, epochs: int) -> RunResult:
    hyperparameters = (("learning_rate", 0.001), ("rho", 0.9))
    job = RunConfig(
        dataset=Dataset("mnist", 10000),
        model=Model((512,), "relu", 0.0, "glorot_uniform"),
        optimizer=Optimizer("rmsprop", hyperparameters),
        training=Training(epochs, 128, "categorical_crossentropy", curve_samples=0),
        seed=seed,
    )
    names = [f"{part}/{what}" for part in ("train", "val", "gap", "running") for what in ("loss", "accuracy")]
    figures = ["test/accuracy", "test/loss", "overfitting_gap/accuracy", "overfitting_gap/loss", *names[:4]]
    return RunResult(
        key=hashlib.sha256(str(job).encode()).hexdigest(),
        job=job,
        status="finished",
        history={name: [1 / (epoch + 2 + seed) for epoch in range(epochs)] for name in names},
        figures=dict.fromkeys(figures, 0.5)
        | {"best/epoch": 9, "best/val_accuracy": 0.97, "time/train_s": 6.0, "time/total_s": 7.0},
        digests=dict.fromkeys(("initial_weights", "batch_order", "final_weights", "predictions"), "f" * 64),
        identity={"data": "a" * 64, "source": "b" * 64, "numerics": {"backend": "tensorflow", "device": "cpu"}},
        environment=dict.fromkeys(("git_commit", "git_dirty", "dvc_experiment", "lock", "platform"), "value"),
        started="2026-01-01T00:00:00+00:00",
    )


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"runs": "100", "epochs": "5", "kind": "private"}, __doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        tracker = open_tracker("sqlite", root=Path(folder))
        tracker.close_stale()
        ready = time.perf_counter() - began
        shared = "benchmark" if values["kind"] == "shared" else None
        parent = None if values["kind"] == "single" else tracker.begin(ParentRun("benchmark", "sweep", {}, shared))
        seconds = []
        for one in [result(seed, int(values["epochs"])) for seed in range(int(values["runs"]))]:
            start = time.perf_counter()
            tracker.publish(one, "benchmark", parent)
            seconds.append(time.perf_counter() - start)
        size = (Path(folder) / "mlflow.db").stat().st_size / len(seconds) / 1e3
    tenth, median, ninetieth = (1e3 * quantile for quantile in statistics.quantiles(seconds, n=10)[::4])
    print(
        f"import and new store {ready:.1f} s; {len(seconds)} runs ({values['kind']}):"
        f" median {median:.1f} ms per run (10 % {tenth:.1f}, 90 % {ninetieth:.1f}), {size:.0f} kB per run"
    )
    return 0


if __name__ == "__main__":
    console.run(main)
