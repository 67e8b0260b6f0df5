"""The folders of runs that a comparison reads, and the test samples of the runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config import machine
from pipeline.config.names import names
from pipeline.data.arrays import Arrays, DamagedData, load
from pipeline.storage import record
from pipeline.storage.find import beginning
from pipeline.storage.record import OtherRelease
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import SWEEP, Ledger, Lost, Sweep
from pipeline.training.result import FINISHED, PRUNED, RunResult


@dataclass(frozen=True)
class Source:
    """The runs of one folder, or of several that belong together."""

    name: str
    folders: tuple[Path, ...]
    sweeps: tuple[Sweep, ...]
    """The record of each folder of results; a store of runs has none."""
    results: list[RunResult]
    published: dict[str, dict[str, str]] = field(default_factory=dict)
    """MLflow ids by key."""
    lost: list[Lost] = field(default_factory=list)
    """Runs that did not finish, from the record of the sweep, or from all records of a store."""
    others: list[str] = field(default_factory=list)
    """Key of each run that another release of this project wrote, and why it is left out."""


@dataclass
class LostRun(Lost):
    """A run that did not finish, with its experiment."""

    experiment: str = ""


def named_folders(folders: Sequence[str]) -> list[Path]:
    """Return the given folders; by default, every folder of results with the record of a sweep, else the store of runs."""
    if folders:
        return [console.PROJECT / folder for folder in folders]
    results = console.PROJECT / "results"
    return sorted(path.parent for path in results.glob(f"*/{SWEEP}")) or [console.PROJECT / machine.runs()]


def read_sources(folders: Sequence[Path]) -> list[Source]:
    """Return the runs of each folder; weights and probabilities only of the run that is plotted.

    The probabilities of a thousand runs would take 400 MB.
    """
    sources: list[Source] = []
    for folder in folders:
        source, taken, again = _read(folder), {other.name for other in sources}, 1
        name = source.name
        while name in taken:
            again += 1
            name = f"{source.name} ({folder.name}{f' {again}' if again > 2 else ''})"
        sources.append(dataclasses.replace(source, name=name))
    return sources


def _read(folder: Path) -> Source:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of runs; train first (python -m pipeline.train, or dvc repro)")
    store = RunStore(folder)
    sweep = Sweep.read(folder) if (folder / SWEEP).is_file() else None
    keys = list(dict.fromkeys(sweep.keys)) if sweep else store.keys()
    if absent := [key for key in keys if key not in store]:
        missing = f"{len(absent)} of the {len(keys)} runs in its {SWEEP} are missing"
        raise UserError(f"{folder}: {missing}; train again to restore them")
    results: list[RunResult] = []
    others: list[str] = []
    shown = sweep.winner if sweep else None
    for key in keys:
        try:
            result = store.read(key)
        except OtherRelease as error:
            others.append(f"{beginning(key)}, {error.unknown}")
            continue
        if result.status == PRUNED:  # only its search uses it
            continue
        if shown is None and result.weights is not None:
            shown = key
        results.append(result if key == shown else dataclasses.replace(result, weights=None, probabilities=None))
    published = {key: ids for key in keys if (ids := store.published(key))}
    lost = sweep.lost if sweep else _lost_in(store)
    sweeps = (sweep,) if sweep else ()
    return Source(sweep.name if sweep else folder.name, (folder,), sweeps, results, published, lost, others)


def _lost_in(store: RunStore) -> list[Lost]:
    """Return the runs that the sweeps of a store lost and none finished, from the latest record of each."""
    found: dict[str, Lost] = {}
    finished = {key for key in store.keys() if store.status(key) == FINISHED}  # noqa: SIM118
    for sweep in Ledger(store):
        for lost in sweep.lost:
            if lost.key not in finished:
                found.setdefault(lost.key, lost)
    return list(found.values())


def runs_not_finished(source: Source) -> list[LostRun]:
    """Return failed and diverged runs: those with a record, and those that only the record of the sweep names."""
    lost_by_id = {lost.key or lost.name: lost for lost in source.lost}
    found, run_names = [], names(run.job for run in source.results)
    for run in source.results:
        known = lost_by_id.pop(run.key, None) or lost_by_id.pop(run_names[run.job], None)
        if not run.finished:
            command = known.command if known else ""
            found.append(LostRun(run_names[run.job], run.status, run.reason or "", command, run.key, source.name))
    return found + [LostRun(**vars(lost), experiment=source.name) for lost in lost_by_id.values()]


def judged_on(run: RunResult, data: Path) -> Arrays:
    """Return the data set that a run was tested on. Raises UserError if it is not in `data`, DamagedData if it is damaged."""
    folder = data / run.job.dataset.name
    arrays = load(folder)
    if arrays.digest != run.identity.get("data"):
        raise UserError(f"{run.name} was not trained on the data in {console.in_checkout(folder)}")
    return arrays


def check_predictions_of_all(results: Sequence[RunResult], data: Path) -> None:
    """Raise UserError if the number of a run's predictions differs from that of the test samples, or of other runs on them.

    Raises DamagedData if the data set is damaged.
    """
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
            pass  # without the data set, runs are compared with each other
        for run in (first, *others):
            try:
                record.check_predictions(run, samples, classes)
            except ValueError as error:
                raise UserError(
                    f"{run.name} ({beginning(run.key)}): {error}; it is not compared with the others"
                ) from error
