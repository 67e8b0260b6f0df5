"""What can be removed from a store: runs that are no longer needed, and checkpoints of runs that have ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.console import PROJECT
from pipeline.config.names import names
from pipeline.data import files
from pipeline.storage import checkpoints, identity
from pipeline.storage.find import beginning
from pipeline.storage.record import OtherRelease, UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import SWEEP, Ledger
from pipeline.training.result import RunResult

REASONS = {
    "unneeded": "runs of no sweep, no folder of results and no registered model",
    "old": "runs of older code, which no command uses again",
    "deleted": "runs that were deleted in MLflow",
    "damaged": "damaged runs",
    "checkpoints": "checkpoints of runs that have ended or are in no sweep",
}
"""Why something may be removed, by its name on the command line. The first reason that applies counts."""


@dataclass(frozen=True)
class Removable:
    """A file or a folder that may be removed."""

    reason: str
    """One of REASONS."""
    path: Path
    name: str
    """The name to print."""

    @property
    def bytes(self) -> int:
        found = [self.path, *self.path.rglob("*")] if self.path.is_dir() else [self.path]
        return sum(path.lstat().st_size for path in found if path.is_file())


def removable(store: RunStore, deleted: Collection[str] = (), registered: Collection[str] = ()) -> list[Removable]:
    """Return everything that may be removed, by reason.

    `deleted` are keys of runs deleted in MLflow, `registered` those of registered models. Runs in folders of results and
    of registered models always stay.
    """
    if not store.root.is_dir():
        return []
    wanted = {key for sweep in Ledger(store) for key in sweep.asked}
    kept = {*registered, *_in_results()}
    found = [*_runs(store, kept, wanted, deleted), *_checkpoints(store, wanted)]
    return sorted(found, key=lambda item: (list(REASONS).index(item.reason), item.name))


def _in_results() -> Iterator[str]:
    """Yield the keys of the runs in folders of results."""
    for record in PROJECT.glob(f"results/*/{SWEEP}"):
        yield from RunStore(record.parent).keys()


def _runs(
    store: RunStore, kept: Collection[str], wanted: Collection[str], deleted: Collection[str]
) -> Iterator[Removable]:
    """Yield the runs that may be removed."""
    runs: list[RunResult] = []
    for key in store.keys():  # noqa: SIM118
        try:
            runs += [store.record(key)] if key not in kept else []
        except UnreadableRun as error:
            yield Removable("old" if isinstance(error, OtherRelease) else "damaged", store.folder(key), beginning(key))
    run_names = names(run.job for run in runs)
    for run in runs:
        reasons = {
            "deleted": run.key in deleted,
            "old": bool(identity.changed_sources(run.sources, run.identity["numerics"], run.job.custom_code)),
            "unneeded": run.key not in wanted,
        }
        if reason := next((name for name, holds in reasons.items() if holds), ""):
            yield Removable(reason, store.folder(run.key), f"{beginning(run.key)}  {run_names[run.job]}")


def _checkpoints(store: RunStore, wanted: Collection[str]) -> Iterator[Removable]:
    for path in sorted((store.root / checkpoints.FOLDER).glob("*.npz")):
        if path.stem in store or path.stem not in wanted:
            yield Removable("checkpoints", path, str(path.relative_to(store.root)))


def remove(store: RunStore, items: Iterable[Removable]) -> None:
    """Remove `items`, and remove their runs from the records of sweeps. The caller holds the lock."""
    for item in items:
        files.remove(item.path)
    ledger = Ledger(store)
    for sweep in ledger:
        stored = [key for key in sweep.keys if key in store]
        if not stored and not sweep.lost:
            ledger.remove(sweep.id)
        elif len(stored) < len(sweep.keys):
            sweep.keys = stored
            sweep.write(ledger.folder, ledger.path(sweep.id).name)
