"""Records of sweeps: which runs a command was asked for, and which of them were lost.

A record is in `runs/sweeps/<id>.json` from before the first run on, so that the record of a killed process names what it had
not trained. A folder of results (a stage's output) has a copy, `sweep.json`, beside its runs.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.cli.errors import UserError, printable
from pipeline.config.run_config import RunConfig
from pipeline.data.files import whole
from pipeline.storage.locks import locked, recover_all, replacing
from pipeline.storage.record import OtherRelease, read_bytes
from pipeline.storage.store import KEY, RunStore
from pipeline.training.result import RunResult

SWEEP = "sweep.json"
LEDGER = "sweeps"
"""The folder within a store of runs that holds a record of each sweep."""

ID = re.compile("[0-9A-Za-z]{0,64}")

LARGEST = 2**28
"""Bytes of the record of a sweep: that of a million runs has 70 million."""

_KEY = r"\+{0,2}(?:dataset|model|optimizer|training|device|experiment|sweep|seed|question|retry|force)(?:[./]\w+)*="
HARMLESS = re.compile(rf"python -m pipeline\.train(?: {_KEY}[\w.,:+/-]*| '{_KEY}[\w .,:+/=()\[\]-]*')*")
"""A command that trains runs and nothing else: no path, no address, nothing that a shell or Hydra would replace."""

EARLIER = {"trained", "train_seconds", "peak_memory_mb", "machine", "workers"}
"""What records of earlier releases have besides."""

RUNNING, ENDED, STOPPED = "running", "ended", "stopped"


@dataclass
class Lost:
    """A run that was asked for and did not finish."""

    name: str
    status: str
    """`failed`, `diverged` or `interrupted`."""
    reason: str
    command: str
    """The command that trains it again."""
    key: str = ""


@dataclass
class Sweep:
    name: str
    keys: list[str]
    """All runs that have a record, in the order of the jobs; failed and diverged ones too."""
    winner: str | None = None
    """Key of the best run: the highest validation accuracy, of the configuration whose mean is the highest (never the test's)."""
    lost: list[Lost] = field(default_factory=list)
    parent_run_id: str | None = None
    """MLflow's run that stands for the whole sweep."""
    seconds: float = 0.0
    id: str = ""
    """Digest of the question and the keys asked for: the same command means the same sweep."""
    status: str = ENDED
    """`running` (or killed), `stopped` (Ctrl-C, SIGTERM) or `ended`."""

    @property
    def asked(self) -> set[str]:
        """Keys of all runs that were asked for: what a killed command had not noted any more is among what was lost."""
        return {*self.keys, *(lost.key for lost in self.lost)}

    def write(self, folder: Path) -> None:
        self.write_to(folder / SWEEP)

    def write_to(self, path: Path) -> None:
        with whole(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        return cls.read_from(folder / SWEEP)

    @classmethod
    def read_from(cls, path: Path) -> Sweep:
        try:
            return cls.of(json.loads(read_bytes(path, LARGEST)))
        except OtherRelease as error:
            raise OtherRelease(error.unknown, path) from error
        except (OSError, ValueError, RecursionError) as error:
            why = printable(str(error))
            raise UserError(f"{path}: not the record of a sweep ({why}); train again to write it") from error

    @classmethod
    def of(cls, plain: Any) -> Sweep:
        """The record that `plain` JSON values are, its texts printable. Raises ValueError, or OtherRelease.

        Keys and id become names of files, so they are looked at.
        """
        try:
            plain = {name: value for name, value in plain.items() if name not in EARLIER}
            if unknown := sorted({*plain, *(name for lost in plain["lost"] for name in lost)} - _FIELDS):
                raise OtherRelease(printable(f"unknown {', '.join(unknown)[:80]}"))
            sweep = cls(**{**plain, "lost": [_texts(Lost(**lost)) for lost in plain["lost"]]})
            _texts(sweep)
            keys = [*sweep.keys, *filter(None, (sweep.winner, *(lost.key for lost in sweep.lost)))]
            forms = [(sweep.id, ID), *((key, KEY) for key in keys)]
            if strange := [value for value, form in forms if not form.fullmatch(value)]:
                raise ValueError(f"{strange[0]!r} is neither a key nor an id")
            if not (isinstance(sweep.seconds, int | float) and 0 <= sweep.seconds < math.inf):
                raise ValueError("a number in it is none")
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return sweep


Record = TypeVar("Record", "Sweep", "Lost")
_FIELDS = {field.name for field in (*fields(Sweep), *fields(Lost))}


def _texts(record: Record) -> Record:
    """Make every text of a record printable. Raises TypeError for another value in its place."""
    for each in fields(record):
        value = getattr(record, each.name)
        if each.type == "str" or (each.type == "str | None" and value is not None):
            if not isinstance(value, str):
                raise TypeError(f"{type(value).__name__} in place of a text: {each.name}")
            setattr(record, each.name, printable(value))
    return record


def without_commands(lost: Sequence[Lost], own: Sequence[Lost] = ()) -> list[Lost]:
    """Lost runs of a record that others may have written: of their commands those that are harmless, or in our `own` record."""
    ours = {(run.key, run.command) for run in own}
    return [
        run if (run.key, run.command) in ours or HARMLESS.fullmatch(run.command) else replace(run, command="")
        for run in lost
    ]


def title(jobs: Sequence[RunConfig]) -> str:
    """A few words on the runs of a sweep, for a list of sweeps."""
    names = list(dict.fromkeys(job.optimizer.name for job in jobs))
    shown = ", ".join(names) if len(names) <= 3 else f"{len(names)} optimizers"
    widths = list(dict.fromkeys("x".join(map(str, job.model.hidden)) for job in jobs))
    shape = f"{widths[0]}" if len(widths) == 1 else f"{len(widths)} networks"
    seeds = len({job.seed for job in jobs})
    return f"{shown}, {shape}, {seeds} seed{'s' if seeds > 1 else ''}"


def lost_tags(lost: Sequence[Lost]) -> dict[str, str]:
    """Tags of a sweep's parent run in MLflow: how many runs are missing, and of each why and the command to train it again."""
    lines = [f"{run.name} {run.status}: {run.reason}; again: {run.command}" for run in lost]
    counts = Counter(run.status for run in lost)
    summed = ", ".join(f"{count} {status}" for status, count in counts.items())
    return {"lost": summed or "none", "lost.runs": "\n".join(lines)}


class Ledger:
    """The records of all sweeps of a store of runs."""

    def __init__(self, store: RunStore) -> None:
        self.store, self.folder = store.root, store.root / LEDGER

    def path(self, sweep_id: str) -> Path:
        return self.folder / f"{sweep_id[:16]}.json"

    def write(self, sweep: Sweep) -> None:
        with locked(self.store):
            sweep.write_to(self.path(sweep.id))

    def get(self, sweep_id: str) -> Sweep | None:
        """The record of the sweep of this very id; None where there is none that can be read."""
        try:
            return Sweep.read_from(self.path(sweep_id))
        except UserError:
            return None

    def remove(self, sweep_id: str) -> None:
        self.path(sweep_id).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Sweep]:
        """Every record that can be read, the latest first."""
        paths = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths:
            try:
                yield Sweep.read_from(path)
            except UserError:
                continue

    def find(self, word: str) -> Sweep:
        """The sweep of this id (or its first letters), name, or MLflow parent run; the latest of several."""
        for sweep in self:
            if word in (sweep.name, sweep.parent_run_id) or (len(word) >= 6 and sweep.id.startswith(word)):
                return sweep
        known = ", ".join(f"{sweep.id[:8]} ({sweep.name})" for sweep in self)
        raise UserError(f"{word}: no such sweep here; expected a folder of results, or one of {known or 'none yet'}")


def related(sweeps: Iterable[Sweep], question: str, keys: set[str]) -> tuple[list[str], list[str]]:
    """Ids of the sweeps of a question whose runs are some of `keys`, the largest first, and of those with all and more."""
    others = [(sweep.asked, sweep.id) for sweep in sweeps if sweep.name == question and sweep.id]
    smaller = [(len(asked), sweep_id) for asked, sweep_id in others if len(asked) > 1 and asked < keys]
    larger = [sweep_id for asked, sweep_id in others if asked > keys]
    return [sweep_id for _, sweep_id in sorted(smaller, reverse=True)], larger


def write_results(store: RunStore, sweep: Sweep, folder: Path) -> None:
    """Make `folder` hold exactly the runs of `sweep` and its record: the output that DVC keeps of a stage."""
    with locked(store.root):
        if folder.is_dir():
            recover_all(folder)
            for entry in folder.iterdir():
                # Runs only: a person may keep something beside them.
                if entry.is_dir() and entry.name not in sweep.keys and KEY.fullmatch(entry.name):
                    shutil.rmtree(entry, ignore_errors=True)
    for key in sweep.keys:
        with locked(store.root):  # run by run, for others write meanwhile
            if key in store:
                with replacing(folder / key) as temporary:
                    shutil.copytree(store.folder(key), temporary, ignore=shutil.ignore_patterns(".*"))
    with locked(store.root):  # or another one's clearing would take the record that is being written
        sweep.write(folder)


def find_sweep(word: str, store: RunStore, root: Path) -> tuple[Sweep, RunStore]:
    """The sweep that a person means by `word`, and the store that holds its runs: a folder of results, or see `Ledger.find`."""
    folder = root / word
    if (folder / SWEEP).is_file():
        return Sweep.read(folder), RunStore(folder)
    return Ledger(store).find(word), store


def readable(store: RunStore, keys: Iterable[str]) -> tuple[list[RunResult], list[OtherRelease]]:
    """The runs of these keys, and an error for each that another release of this project wrote."""
    results, others = [], []
    for key in keys:
        try:
            results.append(store.read(key))
        except OtherRelease as error:
            others.append(error)
    return results, others
