"""Results as training would hand them over."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from pipeline.config.job import Dataset, Job, Model, Optimizer, Training
from pipeline.storage.identity import key_of
from pipeline.training.result import Result

DATA_DIGEST = hashlib.sha256(b"arrays").hexdigest()


def make_job(seed: int = 0, optimizer: str = "adam", hidden: tuple[int, ...] = (64,)) -> Job:
    return Job(
        dataset=Dataset("mnist", 10000),
        model=Model(hidden, "relu", 0.0, "glorot_uniform"),
        optimizer=Optimizer(optimizer, (("learning_rate", 0.001), ("nesterov", False))),
        training=Training(3, 128, "categorical_crossentropy", curve_samples=0),
        seed=seed,
    )


def make_result(seed: int = 0, gap: float = 0.01, **changes: Any) -> Result:
    """A finished run of three epochs, as complete as the trainers make them."""
    job = changes.pop("job", None) or make_job(seed)
    names = [f"{part}/{what}" for part in ("train", "val", "gap", "running") for what in ("loss", "accuracy")]
    offsets = {name: 0.1 * index + seed * 1e-4 for index, name in enumerate(names)}
    history = {name: [offset + 0.01 * epoch for epoch in (1, 2, 3)] for name, offset in offsets.items()}
    result = Result(
        key="",
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
    made = replace(result, **changes)
    plain = {"data", "source", "numerics"} == made.identity.keys()
    return made if made.key or not plain else replace(made, key=key_of(job, made.identity))
