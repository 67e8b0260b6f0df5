"""Tables, figures and the report from finished runs.

    python -m pipeline.compare [FOLDER …] [KEY=VALUE …]

Each FOLDER holds the runs of one finished command (results/baseline, results/sweep) or is a store of runs (runs). Without
any: every folder in results/ that has a sweep.json, else runs/.

    python -m pipeline.compare [FOLDER] between=RUN,RUN

Two given networks on the same test images instead (McNemar's test): names, keys or MLflow ids of runs in FOLDER, or in runs/
without one. Writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli import console, ui_address
from pipeline.cli.errors import UserError, shown_line
from pipeline.cli.formatting import nearest
from pipeline.storage.sweep import SWEEP
from pipeline.tracking import NONE, SERVER, SQLITE, open_tracker
from pipeline.tracking.address import home

if TYPE_CHECKING:
    from pipeline.data.arrays import Arrays
    from pipeline.report.evidence import Evidence
    from pipeline.training.result import Result

KINDS = (SQLITE, SERVER, NONE)
DEFAULTS = {"out": "reports", "data": "data/processed", "tracking": SQLITE, "between": ""}


def main(argv: Sequence[str]) -> int:
    positional = [word for word in argv if not word.startswith("-") and ("=" not in word or Path(word).is_dir())]
    options = console.words([word for word in argv if word not in positional], DEFAULTS, __doc__ or "")
    if options["tracking"] not in KINDS:
        raise UserError(
            f"tracking={options['tracking']}: expected {', '.join(KINDS)}{nearest(options['tracking'], KINDS)}"
        )
    folders = [console.PROJECT / word for word in positional]
    out, data = console.PROJECT / options["out"], console.PROJECT / options["data"]
    if options["between"]:
        print(between(options["between"], folders, data))
        return 0
    compare(folders or found(), out, data, options["tracking"])
    return 0


def compare(folders: Sequence[Path], out: Path, data: Path, tracking: str = NONE) -> dict[str, Any]:
    """Report on the runs in `folders`: on disk, at the terminal, in MLflow. Returns the numbers of metrics.json."""
    from pipeline.report import tables, terminal
    from pipeline.report.evidence import Evidence, read_sources
    from pipeline.report.write import write
    from pipeline.storage.store import RunStore

    own = RunStore(home() / "runs")
    evidence = Evidence(read_sources(folders, own), ui_address.noted(home()))
    if evidence.finished.empty and not evidence.lost:
        raise UserError(nothing_finished(folders, [line for source in evidence.sources for line in source.others]))
    check_predictions(evidence.results, data)
    arrays = images(evidence, data)
    if arrays is not None:
        evidence.labels, evidence.training_images = arrays.test_labels, len(arrays.train_labels)
    evidence.store = own
    files = write(evidence, arrays, out)
    numbers = tables.metrics(evidence)
    terminal.show(evidence)
    publish(evidence, files, numbers, tracking)
    # An experiment of `dvc exp run --queue` or `--temp` runs in a clone that is gone afterwards.
    experiment = os.environ.get("DVC_EXP_NAME") if home() != console.PROJECT else None
    print(terminal.closing(evidence, files["index.html"], experiment))
    return numbers


def between(asked: str, folders: Sequence[Path], data: Path) -> str:
    """Which of two networks is right on which test images, as a table, and McNemar's test of it in words.

    `asked`: two runs with a comma between them, of the one folder or, without any, of the store. Raises UserError.
    """
    from pipeline.data.arrays import load
    from pipeline.report.findings import duel
    from pipeline.storage.find import beginning, find_run
    from pipeline.storage.store import RunStore

    named = [word.strip() for word in asked.split(",") if word.strip()]
    if len(named) != 2 or len(folders) > 1:
        raise UserError(
            f"between={asked}{f' in {len(folders)} folders' if len(folders) > 1 else ''}: expected two runs of one folder, "
            "between=RUN,RUN"
        )
    store = RunStore(folders[0] if folders else home() / "runs")
    first, second = (find_run(word, store) for word in named)
    if first.key == second.key:
        raise UserError(f"between={asked}: both are the run {beginning(first.key)}; expected two")
    arrays = load(data / first.job.dataset.name)
    check_predictions([first, second], data)
    for run in (first, second):
        if run.identity.get("data") != arrays.digest:
            where = shown(data / first.job.dataset.name)
            raise UserError(f"{run.name}: was tested on other data than {where} holds; data=FOLDER names another")
    return duel(arrays.test_labels, first, second).as_text()


def found() -> list[Path]:
    """What there is to compare where nobody said what."""
    results = console.PROJECT / "results"
    gathered = sorted(path.parent for path in results.glob(f"*/{SWEEP}"))
    return gathered or [console.PROJECT / "runs"]


def nothing_finished(folders: Sequence[Path], others: Sequence[str] = ()) -> str:
    """What to say where no run can be compared; `others`: what is said of runs of another release."""
    places = ", ".join(shown(folder) for folder in folders)
    if others:
        runs = "the 1 run is" if len(others) == 1 else f"all {len(others):,} runs are"
        return f"{places}: {runs} of another release of this project ({others[0]}); compare them with that release"
    return f"{places}: no finished run to compare; train first: dvc repro, or python -m pipeline.train"


def check_predictions(results: Sequence[Result], data: Path) -> None:
    """Raises UserError where a run's predictions are not of as many samples as its test set, or as other runs of it, has."""
    from pipeline.data.arrays import load
    from pipeline.storage import record

    of_data: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.predictions is not None:
            of_data.setdefault((result.job.dataset.name, result.identity["data"]), []).append(result)
    for (name, digest), runs in of_data.items():
        samples, classes = len(runs[0].predictions), None  # type: ignore[arg-type]
        with suppress(UserError):
            arrays = load(data / name)
            if arrays.digest == digest:
                samples, classes = len(arrays.test_labels), arrays.classes
        for run in runs:
            try:
                record.check_predictions(run, samples, classes)
            except ValueError as error:
                raise UserError(f"{run.name} ({run.key[:12]}): {error}; it is not compared with the others") from error


def images(evidence: Evidence, data: Path) -> Arrays | None:
    """The images that the winner was tested on; None, with a line on stderr, where they are not here."""
    from pipeline.data.arrays import load

    winner = evidence.winner
    if winner is None or winner.predictions is None:
        return None
    try:
        arrays = load(data / winner.job.dataset.name)
    except UserError as error:
        print(f"no pictures of digits in the report: {error}", file=sys.stderr)
        return None
    if arrays.digest != winner.identity.get("data") or len(arrays.test_labels) != len(winner.predictions):
        where = shown(data / winner.job.dataset.name)
        print(
            f"no pictures of digits in the report: {winner.name} was trained on other data than {where} holds",
            file=sys.stderr,
        )
        return None
    return arrays


def publish(evidence: Evidence, files: dict[str, Path], numbers: dict[str, Any], tracking: str) -> None:
    """Put the report on each sweep's parent run. It is on disk already: trouble here costs a warning, no more."""
    sweeps = [source.sweep for source in evidence.sources if source.sweep and source.sweep.parent_run_id]
    if tracking == NONE or not sweeps:
        return
    try:
        from pipeline.report import tables
        from pipeline.report.prose import limits

        tracker = open_tracker(tracking)
        # The id in a record is that of the store it was trained with; another one, by `publish`, has it under its own.
        found = [(one.id and tracker.parent(one.name, one.id)) or one.parent_run_id for one in sweeps]
        for parent in dict.fromkeys(filter(None, found)):
            if not tracker.there(parent):  # a person deleted it
                continue
            tracker.add_files(parent, {f"report/{name}": path for name, path in files.items()})
            tracker.set_note(parent, tables.note(evidence))
            tracker.log_metrics(parent, tables.flat(numbers))
            tracker.set_tags(parent, {"warning": " ".join([*leak(evidence), *limits.notes(evidence)])})
    except Exception as error:  # whatever the store or its libraries raise
        why = shown_line(" ".join(f"{type(error).__name__}: {error}".split()))
        print(f"warning: the report is not in MLflow ({why}); run compare again to publish it", file=sys.stderr)


def leak(evidence: Evidence) -> list[str]:
    """The leak alarm as a warning, where there is one."""
    from pipeline.report.prose import opening

    return [said] if (said := opening.alarm(evidence)) else []


def shown(path: Path) -> str:
    """`path` as a person would type it from the checkout."""
    return str(path.relative_to(console.PROJECT)) if path.is_relative_to(console.PROJECT) else str(path)


if __name__ == "__main__":
    console.run(main)
