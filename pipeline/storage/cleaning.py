"""What a store of runs may lose: runs that nobody needs, and checkpoints of runs that have ended."""

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
    "old": "runs of other code than is here, which no command takes up again",
    "deleted": "runs that were deleted in MLflow",
    "damaged": "damaged runs",
    "checkpoints": "checkpoints of runs that have ended, or that no sweep wants",
}
"""Why something may go, the first reason that holds; its name on the command line."""


@dataclass(frozen=True)
class Removable:
    """A file or a folder that may go."""

    reason: str
    """One of REASONS."""
    path: Path
    name: str
    """What a person calls it."""

    @property
    def bytes(self) -> int:
        found = [self.path, *self.path.rglob("*")] if self.path.is_dir() else [self.path]
        return sum(path.lstat().st_size for path in found if path.is_file())


def removable(store: RunStore, deleted: Collection[str] = (), registered: Collection[str] = ()) -> list[Removable]:
    """All that may go, by reason.

    `deleted` are keys of runs that a person deleted in MLflow, `registered` those of registered models. What a folder of
    results has, or a registered model, stays in any case.
    """
    if not store.root.is_dir():
        return []
    wanted = {key for sweep in Ledger(store) for key in sweep.asked}
    kept = {*registered, *_in_results()}
    found = [*_runs(store, kept, wanted, deleted), *_checkpoints(store, wanted)]
    return sorted(found, key=lambda item: (list(REASONS).index(item.reason), item.name))


def _in_results() -> Iterator[str]:
    """Keys of the runs in folders of results."""
    for record in PROJECT.glob(f"results/*/{SWEEP}"):
        yield from RunStore(record.parent).keys()


def _runs(
    store: RunStore, kept: Collection[str], wanted: Collection[str], deleted: Collection[str]
) -> Iterator[Removable]:
    """The runs that may go."""
    runs: list[RunResult] = []
    for key in store.keys():  # noqa: SIM118
        try:
            runs += [store.record(key)] if key not in kept else []
        except UnreadableRun as error:
            yield Removable("old" if isinstance(error, OtherRelease) else "damaged", store.folder(key), beginning(key))
    called = names(run.job for run in runs)
    for run in runs:
        reasons = {
            "deleted": run.key in deleted,
            "old": bool(identity.changed_sources(run.sources, run.identity["numerics"], run.job.own_code)),
            "unneeded": run.key not in wanted,
        }
        if reason := next((name for name, holds in reasons.items() if holds), ""):
            yield Removable(reason, store.folder(run.key), f"{beginning(run.key)}  {called[run.job]}")


def _checkpoints(store: RunStore, wanted: Collection[str]) -> Iterator[Removable]:
    for path in sorted((store.root / checkpoints.FOLDER).glob("*.npz")):
        if path.stem in store or path.stem not in wanted:
            yield Removable("checkpoints", path, str(path.relative_to(store.root)))


def remove(store: RunStore, items: Iterable[Removable]) -> None:
    """Remove `items`, and take the runs among them out of the records of their sweeps. For who holds the lock."""
    for item in items:
        files.remove(item.path)
    ledger = Ledger(store)
    for sweep in ledger:
        there = [key for key in sweep.keys if key in store]
        if not there and not sweep.lost:
            ledger.remove(sweep.id)
        elif len(there) < len(sweep.keys):
            sweep.keys = there
            sweep.write(ledger.folder, ledger.path(sweep.id).name)
