"""The test images that runs were judged on: whether their predictions are of these, and two runs on the same ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays, DamagedData, load
from pipeline.report.evidence import Evidence
from pipeline.report.prose import inference
from pipeline.statistics import mcnemar
from pipeline.storage import record
from pipeline.storage.find import beginning, find_run
from pipeline.storage.store import RunStore
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


def of_winner(evidence: Evidence, data: Path) -> Arrays | None:
    """The data that the winner was tested on; None, with a line on stderr, if they are not here. Raises DamagedData."""
    winner = evidence.winner
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


def between(names: str, store: RunStore, data: Path) -> str:
    """McNemar's test of two runs of `store`, on the test images that they share: a table and a sentence.

    `names`: RUN,RUN. Raises UserError where one has no predictions, or they are of other images.
    """
    words = [word.strip() for word in names.split(",") if word.strip()]
    if len(words) != 2:
        raise UserError(f"between={names}: expected two runs of one folder, between=RUN,RUN")
    first, second = (find_run(word, store) for word in words)
    if first.key == second.key:
        raise UserError(f"between={names}: both are the run {beginning(first.key)}; expected two")
    folder = data / first.job.dataset.name
    arrays = load(folder)
    check_predictions([first, second], data)
    for run in (first, second):
        if run.identity.get("data") != arrays.digest:
            shown = console.in_checkout(folder)
            raise UserError(f"{run.name}: was tested on other data than {shown} holds; data=FOLDER names another")
    predictions = [run.predictions for run in (first, second) if run.predictions is not None]
    if len(predictions) < 2:
        lost = first if first.predictions is None else second
        raise UserError(f"{lost.name}: no predictions, since it {lost.status}; expected two finished runs")
    found = mcnemar.of_predictions(arrays.test_labels, *predictions)
    # Two runs may share a name: of one network with and without validation samples, or of two depths of a sweep.
    names_of = [
        run.name if first.name != second.name else f"{run.name} ({beginning(run.key)})" for run in (first, second)
    ]
    table = pd.DataFrame(
        {
            "test images": [f"right with {names_of[0]}", f"wrong with {names_of[0]}"],
            f"right with {names_of[1]}": [found.both, found.only_second],
            f"wrong with {names_of[1]}": [found.only_first, found.neither],
        }
    )
    return f"{table.to_string(index=False)}\n{inference.mcnemar(found, *names_of)}"
