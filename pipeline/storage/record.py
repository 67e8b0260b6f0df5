"""Read the record of a run as untrusted data: a pydantic model declares what each value may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from pipeline.cli.errors import UserError, printable
from pipeline.config import rules
from pipeline.config.run_config import RunConfig, digest
from pipeline.training.result import DIVERGED, FAILED, FINISHED, PRUNED, RunResult

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, AfterValidator(printable)]
MetricName = Annotated[str, Field(pattern=r"^\w+(/\w+)*$"), AfterValidator(printable)]
"""The last part may be the name of a user's function."""
Number = int | float


class UnreadableRun(UserError):
    """A run folder that this release does not read."""


class DamagedRun(UnreadableRun):
    """A run folder whose content does not match its digests, or is impossible."""


class OtherRelease(UnreadableRun):
    """A run that another release of this project wrote; it may be complete.

    `unknown` is the part of its record that this release does not know, or that is missing.
    """

    def __init__(self, unknown: str, path: Path | None = None) -> None:
        self.unknown = unknown
        where = f"{path}: " if path else ""
        super().__init__(f"{where}written by another release of this project ({unknown})")


class Identity(BaseModel, strict=True, extra="forbid"):
    data: Sha256
    source: Sha256
    numerics: dict[Text, Text | Number | bool | None]


class Values(BaseModel, strict=True, from_attributes=True):
    """Types and ranges of the values of a RunResult."""

    status: Literal[FINISHED, DIVERGED, FAILED, PRUNED]  # type: ignore[valid-type]
    reason: Text | None
    history: dict[MetricName, list[Number]]
    epochs: list[int]
    metrics: dict[MetricName, Number]
    digests: dict[Text, Sha256]
    identity: Identity
    environment: dict[Text, Text]
    sources: dict[Text, Sha256]
    started: str

    @model_validator(mode="after")
    def _check(self) -> Values:
        finished, points = self.status == FINISHED, len(self.epochs)
        if self.epochs != sorted({*self.epochs} - {0}):
            raise ValueError("its epochs are not in ascending order")
        for name, curve in self.history.items():
            if len(curve) > points or (finished and len(curve) < points):
                raise ValueError(f"{name} does not have a value for each of its {points} epochs")
        numbers = [*self.metrics.values(), *(value for curve in self.history.values() for value in curve)]
        if finished and not all(map(math.isfinite, numbers)):
            raise ValueError("the run is finished, but one of its numbers is not finite")
        if self.started:
            datetime.fromisoformat(self.started)
        return self


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes. Raises ValueError or OSError."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing, or not a file")
    if path.stat().st_size > most:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes, expected at most {most:,}")
    return path.read_bytes()


def stored(result: RunResult) -> dict[str, Any]:
    """Return the content of a run's `result.json`, the inverse of `result_of`. Its numbers may be infinite or NaN."""
    plain = result.record()
    return {"record": plain, "sha256": digest(encode_nonfinite(plain))}


def result_of(stored: Mapping[str, Any], key: str) -> RunResult:
    """Return the run in the content of a `result.json`, without arrays.

    Raises OtherRelease if another release wrote it, and ValueError (or what a wrong type raises) if it is not a run.
    """
    plain = stored["record"]
    if digest(plain) != stored["sha256"] or plain["key"] != key:
        raise ValueError("its record does not match its digest")
    if digest({"job": plain["job"], **plain["identity"]}) != key:
        raise ValueError("its key is not that of its configuration, data, code and numerics")
    try:
        result = RunResult.from_record(decode_nonfinite(plain))
    except (TypeError, KeyError) as error:  # a field that is not known, or is missing
        raise OtherRelease(printable(str(error).replace("__init__() ", ""))[:300]) from error
    if unknown := "; ".join(_problems(result.job)):
        raise OtherRelease(printable(unknown)[:300])
    return checked(result)


def _problems(job: RunConfig) -> list[str]:
    """Return the parts of a configuration that this release does not accept."""
    flat = job.flat()
    values = {key: value for key, value in flat.items() if key not in rules.NAMES}
    known = {key: rule for key in values if (rule := rules.rule_for(key))}
    return rules.name_problems(flat) + rules.problems(values, known, ())


def checked(result: RunResult) -> RunResult:
    """Return the run with every text printable. Raises ValueError, in one line, for a value that is impossible."""
    try:
        values = Values.model_validate(result)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        raise ValueError(printable(f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip())[:300]) from error
    return replace(result, **values.model_dump())


def check_predictions(result: RunResult, samples: int | None = None, classes: int | None = None) -> None:
    """Raise ValueError if the predictions do not fit a test set with this number of samples and classes."""
    found = result.predictions
    if found is None:
        return
    if found.dtype != np.uint8 or found.ndim != 1:
        raise ValueError(f"its predictions are {found.ndim}-dimensional {found.dtype}, expected a list of uint8")
    if samples is not None and len(found) != samples:
        raise ValueError(f"it has {len(found):,} predictions for {samples:,} test samples")
    if classes is not None and len(found) and int(found.max()) >= classes:
        raise ValueError(f"it predicts class {int(found.max())}, expected at most {classes - 1}")


_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def encode_nonfinite(value: Any) -> Any:
    """Return `value` for JSON, which has no NaN and no infinity: they become {"float": "nan"}."""
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
