"""The test images that runs were judged on: whether their predictions are of these."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays, DamagedData, load
from pipeline.storage import record
from pipeline.training.result import RunResult


def check_predictions(results: Sequence[RunResult], data: Path) -> None:
    """Raises UserError if a run has not as many predictions as its test set has images, or as other runs on it have, and
    DamagedData for a data set that is here and not what was written."""
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        if result.predictions is not None:
            groups.setdefault((result.job.dataset.name, result.identity["data"]), []).append(result)
    for (name, digest), runs in groups.items():
        samples, classes = len(runs[0].predictions), None  # type: ignore[arg-type]
        try:
            arrays = load(data / name)
            if arrays.digest == digest:
                samples, classes = len(arrays.test_labels), arrays.classes
        except DamagedData:
            raise
        except UserError:
            pass  # without the data, runs are compared with one another
        for run in runs:
            try:
                record.check_predictions(run, samples, classes)
            except ValueError as error:
                raise UserError(f"{run.name} ({run.key[:12]}): {error}; it is not compared with the others") from error


def of_winner(winner: RunResult | None, data: Path) -> Arrays | None:
    """The data that the winner was tested on; None, with a line on stderr, if they are not here. Raises DamagedData."""
    if winner is None or winner.predictions is None:
        return None
    folder = data / winner.job.dataset.name
    try:
        arrays = load(folder)
        if arrays.digest != winner.identity.get("data") or len(arrays.test_labels) != len(winner.predictions):
            raise UserError(f"{winner.name} was trained on other data than {console.in_checkout(folder)} holds")
    except DamagedData:
        raise
    except UserError as error:
        print(f"no pictures of digits in the report: {error}", file=sys.stderr)
        return None
    return arrays
