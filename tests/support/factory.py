"""Configurations, jobs and results for unit, command and system tests."""

import dataclasses
import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.config import rules
from pipeline.config.compose import to_job
from pipeline.config.digests import array_digest, arrays_digest
from pipeline.config.run_config import Dataset, Model, Optimizer, RunConfig, Training
from pipeline.data.arrays import Arrays, write
from pipeline.storage.identity import key_of
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Lost, Sweep
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

# --- configurations as Hydra composes them: on digits, small and short by default


def settings(optimizer: str = "sgd", **changes: Any) -> dict[str, Any]:
    """Return plain values as Hydra composes them; `changes` go by the last part of a key, such as `learning_rate`."""
    groups = {"dataset": "digits", "model": "dense", "training": "default", "device": "cpu", "tracking": "none"}
    values: dict[str, Any] = {group: _file(group, name) for group, name in (groups | {"optimizer": optimizer}).items()}
    values["dataset"] = _read(".", "config")["dataset"] | values["dataset"]
    del values["dataset"]["source"]
    values["device"] = _file("device", "auto") | {"kind": "cpu"}
    values |= {"paths": {"data": "data", "runs": "runs", "results": None}, "seed": 0, "question": "tests"}
    values |= {"plan": False, "force": False, "retry": "failed", "fail_fast": False, "tags": None, "note": None}
    for name, value in changes.items():
        if name in values:
            values[name] = value
        else:
            [section] = [section for section in values.values() if isinstance(section, dict) and name in section]
            section[name] = value
    return values


def make_job(optimizer: str = "sgd", **changes: Any) -> RunConfig:
    small = {"width": 8, "epochs": 1, "batch_size": 100, "curve_samples": 0, "validation_size": 100}
    return to_job(settings(optimizer, **(small | changes)))


def _file(group: str, name: str) -> dict[str, Any]:
    return dict(_read(group, name))


@cache
def _read(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((rules.CONF / group / f"{name}.yaml").read_text())


# --- results as a store holds them, with all their arrays


def stored(**changes: object) -> RunResult:
    """Make a finished run. Its key follows from its job and identity, unless `changes` has one."""
    weights = {"hidden_1/kernel": np.arange(6.0).reshape(2, 3), "classes/bias": np.zeros(3, np.float32)}
    predictions = np.array([3, 1, 2], np.uint8)
    whole = RunResult(
        key="",
        job=make_job("adam", hidden=[300, 100], epochs=2),
        status=FINISHED,
        history={"train/loss": [0.5, 0.25], "val/accuracy": [0.1, 1 / 3]},
        metrics={"test/accuracy": 0.9, "time/train_s": 0.1},
        digests={"final_weights": arrays_digest(weights), "predictions": array_digest(predictions)},
        identity={"data": "d" * 64, "source": "5" * 64, "numerics": {"backend": "tensorflow", "xla": True}},
        environment={"python": "3.11"},
        started="2026-02-03T04:05:06.000+00:00",
        predictions=predictions,
        probabilities=np.eye(3, dtype=np.float32),
        weights=weights,
    )
    made = replace(whole, **({"epochs": []} | changes))  # type: ignore[arg-type]
    if "history" not in changes:
        made.history = {name: values[: made.job.training.epochs] for name, values in made.history.items()}
        made.epochs = made.epochs[: made.job.training.epochs]
    return made if made.key else replace(made, key=key_of(made.job, made.identity))


def seeded(seed: int, **changes: object) -> RunResult:
    return stored(job=make_job("adam", hidden=[300, 100], epochs=2, seed=seed), **changes)


KEY = stored().key
OTHER = seeded(1).key


# --- results as tracking receives them, without arrays

DATA_DIGEST = hashlib.sha256(b"arrays").hexdigest()


def tracked_job(seed: int = 0, optimizer: str = "adam", hidden: tuple[int, ...] = (64,)) -> RunConfig:
    plain = job(optimizer, seed=seed, validation=10_000, epochs=3)
    return replace(plain, model=replace(plain.model, hidden=hidden))


def make_result(seed: int = 0, gap: float = 0.01, **changes: Any) -> RunResult:
    """Make a finished run of three epochs, as complete as a trainer returns it."""
    job = changes.pop("job", None) or tracked_job(seed)
    names = [f"{part}/{what}" for part in ("train", "val", "gap", "running") for what in ("loss", "accuracy")]
    offsets = {name: 0.1 * index + seed * 1e-4 for index, name in enumerate(names)}
    history = {name: [offset + 0.01 * epoch for epoch in (1, 2, 3)] for name, offset in offsets.items()}
    result = RunResult(
        key="",
        job=job,
        status="finished",
        history=history,
        metrics={
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
    made = replace(result, **({"epochs": []} | changes))
    plain = {"data", "source", "numerics"} == made.identity.keys()
    return made if made.key or not plain else replace(made, key=key_of(job, made.identity))


# --- results of whole experiments with realistic figures, and a small network trained on scikit-learn's digits

PROFILES = {  # learning rate; test accuracy and gap of the widest network after five epochs
    "sgd": (0.01, 0.9105, 0.0005),
    "momentum": (0.01, 0.9640, 0.0040),
    "rmsprop": (0.001, 0.9791, 0.0110),
    "adam": (0.001, 0.9789, 0.0126),
    "adamw": (0.001, 0.9786, 0.0121),
    "nadam": (0.001, 0.9794, 0.0135),
}
WIDTHS = (16, 64, 256, 512)


def job(
    optimizer: str = "rmsprop",
    width: int = 512,
    seed: int = 0,
    validation: int = 0,
    dataset: str = "mnist",
    epochs: int = 5,
) -> RunConfig:
    rate = PROFILES.get(optimizer, (0.001,))[0]
    return RunConfig(
        dataset=Dataset(dataset, validation),
        model=Model((width,), "relu", 0.0, "glorot_uniform"),
        optimizer=Optimizer(optimizer, (("learning_rate", rate),)),
        training=Training(epochs, 128, "categorical_crossentropy", curve_samples=0),
        seed=seed,
    )


def with_rate(job: RunConfig, rate: float) -> RunConfig:
    return dataclasses.replace(job, optimizer=Optimizer(job.optimizer.name, (("learning_rate", rate),)))


def finished(job: RunConfig, test: float | None = None, gap: float | None = None) -> RunResult:
    """Make a finished run of `job`. Figures not given follow from the optimizer's profile, with noise from the seed."""
    random = np.random.default_rng([job.seed, *job.optimizer.name.encode(), *job.hidden, job.dataset.validation_size])
    _, profile_test, profile_gap = PROFILES.get(job.optimizer.name, (0.001, 0.97, 0.01))
    narrow = (16 / max(job.hidden or (16,))) ** 0.6
    if test is None:
        test = profile_test - 0.032 * narrow + random.normal(0, 0.0012)
    if gap is None:
        gap = profile_gap * (1.08 - narrow) + random.normal(0, 0.0009)
    epochs = np.arange(1, job.training.epochs + 1)
    rise = 0.055 * (np.exp(-0.8 * epochs) - np.exp(-0.8 * epochs[-1]))
    held, train = test - rise, test + gap - rise
    held_loss, train_loss = 3.3 * (1 - held) * (1 + 6 * gap * epochs / 5), 3.4 * (1 - train)
    split = "val" if job.dataset.validation_size else "test"
    history = {
        "train/accuracy": train, "train/loss": train_loss, f"{split}/accuracy": held, f"{split}/loss": held_loss,
        "gap/accuracy": train - held, "gap/loss": held_loss - train_loss,
    }  # fmt: skip
    metrics = {
        "test/accuracy": held[-1], "test/loss": held_loss[-1],
        "train/accuracy": train[-1], "train/loss": train_loss[-1],
        "overfitting_gap/accuracy": train[-1] - held[-1], "overfitting_gap/loss": held_loss[-1] - train_loss[-1],
        "time/train_s": 0.4 + max(job.hidden or (16,)) / 400 + random.uniform(0, 0.2),
    }  # fmt: skip
    if split == "val":
        shift = random.normal(0, 0.0008)
        best = {"best/epoch": float(held.argmax() + 1), "best/val_accuracy": held.max() + shift}
        metrics |= {"val/accuracy": held[-1] + shift, "val/loss": held_loss[-1], **best}
    labels = digits()["test_labels"]
    wrong = random.random(len(labels)) > test
    return RunResult(
        key=key_of(job, made_of()),
        job=job,
        status=FINISHED,
        history={name: [float(value) for value in values] for name, values in history.items()},
        metrics={name: float(value) for name, value in metrics.items()},
        identity=made_of(),
        environment={"keras": "3.15.1", "platform": "Linux"},
        started=f"2026-11-20T12:{job.seed:02d}:00+00:00",
        predictions=np.where(wrong, (labels + 1) % 10, labels).astype(np.uint8),
    )


def lost(job: RunConfig, status: str, reason: str) -> RunResult:
    key, started = key_of(job, made_of()), "2026-11-20T12:00:00+00:00"
    return RunResult(key=key, job=job, status=status, reason=reason, identity=made_of(), started=started)


def made_of() -> dict[str, Any]:
    return {"data": arrays().digest, "source": "5" * 64, "numerics": {"backend": "tensorflow", "device": "cpu"}}


def made_otherwise(result: RunResult, **identity: Any) -> RunResult:
    """Change the data, code or numerics of `result`, and its key accordingly."""
    result.identity = {**result.identity, **identity}
    result.key = key_of(result.job, result.identity)
    return result


@cache
def digits() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.uint8)
    return {
        "train_images": images[:1437],
        "train_labels": labels[:1437],
        "test_images": images[1437:],
        "test_labels": labels[1437:],
    }


@cache
def network() -> Any:
    """Return a dense network of 48 units, trained on the digits by scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    data, network = digits(), MLPClassifier(48, tol=1e-2, n_iter_no_change=3, random_state=0)
    return network.fit(data["train_images"], data["train_labels"])


def with_network(result: RunResult) -> RunResult:
    """Give `result` the weights, probabilities and predictions of `network()`."""
    parts = {"kernel": network().coefs_, "bias": network().intercepts_}
    result.weights = {
        f"{layer}/{part}": array.astype(np.float32)
        for part, arrays in parts.items()
        for layer, array in zip(("hidden_1", "classes"), arrays, strict=True)
    }
    result.probabilities = network().predict_proba(digits()["test_images"]).astype(np.float32)
    result.predictions = result.probabilities.argmax(axis=1).astype(np.uint8)
    result.digests["final_weights"] = arrays_digest(result.weights)
    return result


@cache
def arrays() -> Arrays:
    """Return the digits under the name of MNIST, for tests of what applies to MNIST only."""
    return Arrays("mnist", **digits(), classes=10, image_shape=(8, 8), digest=arrays_digest(digits()))


def write_data(folder: Path) -> Path:
    """Make `folder` a folder of preprocessed data sets that holds the digits."""
    folder.mkdir(parents=True)
    write(arrays(), folder / "mnist")
    return folder


def write_experiment(
    folder: Path, results: list[RunResult], winner: RunResult | None = None, parent: str | None = "parent"
) -> Path:
    """Fill `folder` as a finished command leaves it. All runs but the last are published."""
    store = RunStore(folder)
    for number, result in enumerate(results):
        store.write(result)
        if result is not results[-1]:
            store.note_published(result.key, {"run_id": f"{number:032x}", "experiment_id": "7"})
    missing = [
        Lost(r.name, r.status, r.reason or "", f"python -m pipeline.train seed={r.job.seed}")
        for r in results
        if not r.finished
    ]
    Sweep(folder.name, [result.key for result in results], winner.key if winner else None, missing, parent).write(
        folder
    )
    return folder


def book_runs(seeds: int = 3) -> list[RunResult]:
    return [finished(job(seed=seed), test=0.9791 + 0.0018 * (seed - 1), gap=0.0118) for seed in range(seeds)]


def sweep_runs(seeds: int = 3) -> tuple[list[RunResult], RunResult]:
    """Return runs of six optimizers and four widths, one diverged and one failed, and the best run with its weights."""
    results = [
        finished(job(optimizer, width, seed, validation=10_000))
        for optimizer in PROFILES
        for width in WIDTHS
        for seed in range(seeds)
    ]  # fmt: skip
    winner = with_network(max(results, key=lambda result: result.metrics["best/val_accuracy"]))
    diverged = lost(results[20].job, DIVERGED, "the loss of epoch 2 is not a number")
    failed = lost(results[-1].job, FAILED, "MemoryError: out of memory")
    return [*results[:20], diverged, *results[21:-1], failed], winner
