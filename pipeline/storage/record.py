"""Read what a run folder says as data that anyone may have written: every value is checked, the unknown is refused."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.cli.errors import UserError, printable
from pipeline.config import rules
from pipeline.config.run_config import Dataset, Model, Training, digest
from pipeline.data.sources import declared_classes
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

SHA256 = re.compile("[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""Names of data sets, optimizers and hyper-parameters: they become words of commands and parts of paths."""
COMMIT = re.compile("[0-9a-f]{7,64}")
"""Handed to git, which would take another word for an option."""
NUMBER = re.compile(r"[a-z0-9_]{1,64}(/[a-z0-9_]{1,64})*")
"""Names of metrics."""
SECTIONS = {"dataset": Dataset, "model": Model, "training": Training}
ARRAYS = {"predictions", "probabilities", "weights", "patch"}
BEFORE_EXACT = {"record", "sha256", "probabilities"}
"""What the file had beside the record before numbers were noted in hexadecimal."""
ROUNDING = 1e-6
"""By how much float32 may carry a share over its bounds."""


class UnreadableRun(UserError):
    """A run folder that this program does not take anything from."""


class DamagedRun(UnreadableRun):
    """A run folder whose content does not match its own digests, or cannot be true."""


class OtherRelease(UnreadableRun):
    """A run, or the record of a sweep, that another release of this project wrote. It may be whole.

    `unknown` is what of its record this release does not know, or misses.
    """

    def __init__(self, unknown: str, folder: Path | None = None) -> None:
        self.unknown = unknown
        where = f"{folder}: " if folder else ""
        super().__init__(f"{where}written by another release of this project ({unknown})")


@contextmanager
def opened(path: Path, most: int | None = None) -> Iterator[IO[bytes]]:
    """A regular file, open for reading. Raises ValueError for another: a FIFO would be waited for, a device never ends."""

    def check(status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path.name} is no regular file")
        if most is not None and status.st_size > most:
            raise ValueError(f"{path.name} has {status.st_size:,} bytes, expected at most {most:,}")

    check(path.stat())
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        check(os.fstat(file.fileno()))
        yield file


def read_bytes(path: Path, most: int) -> bytes:
    """All of a regular file of at most `most` bytes. Raises ValueError, or OSError."""
    with opened(path, most) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def result_of(stored: Mapping[str, Any], key: str) -> RunResult:
    """The run that the content of a `result.json` describes, without arrays.

    Raises OtherRelease where another release wrote it, and ValueError (or what a wrong type raises) where it is none.
    """
    plain = stored["record"]
    if digest(plain) != stored["sha256"] or plain["key"] != key:
        raise ValueError("its record does not match its digest")
    if unknown := of_another_release(stored):
        raise OtherRelease(unknown)
    if digest({"job": plain["job"], **plain["identity"]}) != key:
        raise ValueError("its key is not that of its configuration, data, code and numerics")
    result = RunResult.from_record(decode_nonfinite(plain))
    if result.exact != stored["exact"]:
        raise ValueError("its numbers are not what they are in hexadecimal")
    return checked(result)


def of_another_release(stored: Mapping[str, Any]) -> str | None:
    """What this release does not know, or misses, in a record; None where it is one of this release.

    The configuration is looked at as it was stored: a field that it has not got has its default now.
    """
    plain = stored["record"]
    found = [
        *_differences(
            plain, {field.name for field in fields(RunResult)} - ARRAYS, {"key", "job", "status", "identity"}
        ),
        *_differences(plain["job"], {*SECTIONS, "optimizer", "seed"}, {*SECTIONS, "optimizer", "seed"}),
        *_differences(plain["identity"], {"data", "source", "numerics"}, {"data", "source", "numerics"}),
        *(["no exact"] if stored.keys() <= BEFORE_EXACT else []),
    ]
    for section, kind in SECTIONS.items():
        names = {field.name for field in fields(kind)}
        needed = {field.name for field in fields(kind) if field.default is MISSING}
        found += _differences(plain["job"].get(section, {}), names, needed, f"{section}.")
    if not found:
        found = [line for line in _values(plain["job"]) if line]
    return printable("; ".join(found)[:300]) or None


def _differences(there: Any, known: set[str], needed: set[str], prefix: str = "") -> list[str]:
    if not isinstance(there, dict):
        raise TypeError(f"{type(there).__name__} in place of named values")
    unknown = [f"unknown {prefix}{name}" for name in sorted(there.keys() - known)]
    return unknown + [f"no {prefix}{name}" for name in sorted(needed - there.keys())]


def _values(job: Mapping[str, Any]) -> Iterator[str | None]:
    """What is said of each value of a configuration that this release does not accept."""
    optimizer = job["optimizer"]
    for name in (job["dataset"]["name"], optimizer.get("name"), optimizer.get("class", "none"), *optimizer):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            yield f"the name {name!r}"
    for section, values in job.items():
        for name, value in values.items() if isinstance(values, dict) else [("", values)]:
            key = f"{section}.{name}" if name else section
            if rule := rules.rule_for(key):
                yield rules.complaint(key, value, rule)
            elif key not in rules.NAMES and not isinstance(value, int | float | bool | None):
                yield f"{key}: {value!r}"


def checked(result: RunResult) -> RunResult:
    """The run with every text printable. Raises ValueError for a value that no training gives."""
    if result.status not in (FINISHED, DIVERGED, FAILED):
        raise ValueError(f"its status is {result.status!r}")
    for name, value in [*result.digests.items(), *result.sources.items(), *_identity_digests(result)]:
        if not (isinstance(value, str) and SHA256.fullmatch(value)):
            raise ValueError(f"{name} is no sha256")
    for name, value in result.figures.items():
        _check_number(name, value, result)
    _check_curves(result)
    if not COMMIT.fullmatch(result.environment.get("git_commit", "0" * 40)):
        raise ValueError("its git commit is none")
    if result.started:
        datetime.fromisoformat(result.started)
    return replace(
        result,
        reason=None if result.reason is None else _text(result.reason),
        environment={_text(name): _text(value) for name, value in result.environment.items()},
        digests={_text(name): value for name, value in result.digests.items()},
        sources={_text(name): value for name, value in result.sources.items()},
    )


def _identity_digests(result: RunResult) -> list[tuple[str, Any]]:
    numerics = result.identity["numerics"]
    if not all(isinstance(value, str | int | float | bool | None) for value in numerics.values()):
        raise TypeError("numerics hold more than plain values")
    if not all(map(str.isprintable, [*numerics, *(value for value in numerics.values() if isinstance(value, str))])):
        raise ValueError("numerics hold what is no text")
    return [(name, result.identity[name]) for name in ("data", "source")]


def _check_curves(result: RunResult) -> None:
    """Raise ValueError unless the epochs ascend, and every curve has a value for each of them (a lost run: at most)."""
    last, expected = 0, len(result.epochs)
    for epoch in result.epochs:
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not last < epoch <= result.job.training.epochs:
            raise ValueError(f"epoch {printable(str(epoch))[:20]} after {last} of {result.job.training.epochs}")
        last = epoch
    for name, values in result.history.items():
        if not isinstance(values, list) or len(values) > expected or (result.finished and len(values) < expected):
            raise ValueError(f"{printable(str(name))[:80]} has not a value for each of its {expected} epochs")
        for value in values:
            _check_number(name, value, result)


def _check_number(name: str, value: Any, result: RunResult) -> None:
    """Raise ValueError for what no training gives: a share that is not in [0, 1], a difference of two not in [-1, 1]."""
    if not NUMBER.fullmatch(name) or isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{printable(str(name))[:80]} is no number with a name")
    if result.finished and not math.isfinite(value):
        raise ValueError(f"{name} is {value} in a run that finished")
    group, _, what = name.rpartition("/")
    low, high = -math.inf, math.inf
    is_share = what.endswith("accuracy") or what == "calibration_error"
    if is_share:
        low, high = (-1.0 if "gap" in group or group == "split_offset" else 0.0), 1.0
    elif group == "time" or name == "excess/loss":
        low = 0.0
    elif name in ("best/epoch", "lowest/epoch"):
        low, high = 1, result.job.training.epochs
    if value < low - ROUNDING or value > high + ROUNDING or (is_share and math.isnan(value)):
        raise ValueError(f"{name} is {value}, expected {low:g} to {high:g}")


def check_predictions(result: RunResult, samples: int | None = None, classes: int | None = None) -> None:
    """Raises ValueError where the predictions cannot be those of a test set of so many samples and classes."""
    found = result.predictions
    if found is None:
        return
    classes = classes or declared_classes(result.job.dataset.name)
    if found.dtype != np.uint8 or found.ndim != 1:
        raise ValueError(f"its predictions are {found.ndim}-dimensional {found.dtype}, expected a list of uint8")
    if samples is not None and len(found) != samples:
        raise ValueError(f"it has {len(found):,} predictions for {samples:,} test images")
    if classes is not None and len(found) and int(found.max()) >= classes:
        raise ValueError(f"it predicts class {int(found.max())} of {classes} classes, which are counted from 0")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return printable(value)


_NON_FINITE = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def encode_nonfinite(value: Any) -> Any:
    """JSON has no NaN and no infinity: a diverged run's are written as {"float": "nan"}."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, dict):
        return {name: encode_nonfinite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_nonfinite(item) for item in value]
    return value


def decode_nonfinite(value: Any) -> Any:
    """The inverse of `encode_nonfinite`."""
    if isinstance(value, dict):
        if set(value) == {"float"}:
            return _NON_FINITE[value["float"]]
        return {name: decode_nonfinite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [decode_nonfinite(item) for item in value]
    return value
