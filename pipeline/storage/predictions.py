"""The test samples that runs were judged on: whether their predictions are of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays, DamagedData, load
from pipeline.storage import record
from pipeline.training.result import RunResult


def judged_on(run: RunResult, data: Path) -> Arrays:
    """The data set that a run was tested on. Raises UserError if it is not in `data`, and DamagedData if it is not whole."""
    folder = data / run.job.dataset.name
    arrays = load(folder)
    if arrays.digest != run.identity.get("data"):
        raise UserError(f"{run.name} was trained on other data than {console.in_checkout(folder)} holds")
    return arrays


def check_predictions(results: Sequence[RunResult], data: Path) -> None:
    """Raises UserError if a run has not as many predictions as its test set has samples, or as other runs on it have, and
    DamagedData for a data set that is here and not what was written."""
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        if result.predictions is not None:
            groups.setdefault((result.job.dataset.name, result.identity["data"]), []).append(result)
    for first, *others in groups.values():
        samples, classes = len(first.predictions), None  # type: ignore[arg-type]
        try:
            arrays = judged_on(first, data)
            samples, classes = len(arrays.test_labels), arrays.classes
        except DamagedData:
            raise
        except UserError:
            pass  # without the data, runs are compared with one another
        for run in (first, *others):
            try:
                record.check_predictions(run, samples, classes)
            except ValueError as error:
                raise UserError(f"{run.name} ({run.key[:12]}): {error}; it is not compared with the others") from error
