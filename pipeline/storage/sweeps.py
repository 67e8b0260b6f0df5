"""Records of sweeps: which runs a command asked for, and which did not finish.

A record is written to `runs/sweeps/<id>.json` before the first run trains, so that the record of a killed process names the
missing runs. A folder of results (a stage's output) has a copy, `sweep.json`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.cli.errors import UserError, printable
from pipeline.cli.formatting import listed, plural
from pipeline.config import rules
from pipeline.config.names import short
from pipeline.config.run_config import RunConfig
from pipeline.data.files import atomic_write, locked
from pipeline.storage.record import OtherRelease, Text, read_bytes
from pipeline.storage.store import KEY, RunStore
from pipeline.training.result import RunResult

SWEEP = "sweep.json"
LEDGER = "sweeps"
"""The folder of the records of sweeps in a store of runs."""

LARGEST = 2**28
"""Bytes of the record of a sweep; a million runs take 70 million."""

_KEY = (
    r"\+{0,2}(?:(?:dataset|model|optimizer|training|device|local|experiment|sweep|seed|question|retry|force)(?:[./]\w+)*"
    r"|paths\.(?:data|runs)|tracking\.system_metrics|fail_fast|tags|note)="
)
HARMLESS = re.compile(
    rf"python -m pipeline\.(?:train|seeds(?: [\w./][\w./-]*)*)"
    rf"(?: tracking=[\w-]+| {_KEY}[\w.,:+/-]*| '{_KEY}[\w .,:?+/=()\[\]{{}}-]*')*"
)
"""A command that only trains runs: no address, nothing that a shell or Hydra would expand."""

RUNNING, ENDED, STOPPED = "running", "ended", "stopped"


Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Command = Annotated[Text, AfterValidator(lambda command: command if HARMLESS.fullmatch(command) else "")]
Note = Annotated[str, AfterValidator(lambda note: "\n".join(map(printable, note.split("\n"))))]


@dataclass
class Lost:
    """A run of a sweep that did not finish."""

    __pydantic_config__ = ConfigDict(strict=True, extra="ignore")  # another release may have more fields

    name: Text
    status: Text
    """`failed`, `diverged` or `interrupted`."""
    reason: Text
    command: Command
    """The command that trains it again."""
    key: Key | Literal[""] = ""


@dataclass
class Sweep:
    __pydantic_config__ = ConfigDict(strict=True, extra="ignore")  # another release may have more fields

    name: Text
    keys: list[Key]
    """All runs with a record, in the order of the jobs, failed and diverged ones included."""
    winner: Key | None = None
    """Key of the best run: the highest validation accuracy within the configuration with the highest mean of it."""
    lost: list[Lost] = field(default_factory=list)
    parent_run_id: Text | None = None
    """MLflow's parent run of the sweep."""
    id: Annotated[str, Field(pattern="^[0-9A-Za-z]{0,64}$")] = ""
    """Digest of the question and of all keys; for a search, of the question and the study's name. The same command is the same
    sweep."""
    status: Text = ENDED
    """`running` (or killed), `stopped` (Ctrl-C, SIGTERM) or `ended`."""
    tags: dict[Text, Text] = field(default_factory=dict)
    """Tags that the user gave the runs."""
    note: Note = ""
    """The user's note on the sweep, in Markdown."""

    @property
    def asked(self) -> set[str]:
        """Keys of all runs of the sweep. Runs that a killed command did not train are among the lost ones."""
        return {*self.keys, *(lost.key for lost in self.lost)}

    def write(self, folder: Path, name: str = SWEEP) -> None:
        with atomic_write(folder / name) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path, name: str = SWEEP) -> Sweep:
        """Return the record, with every value checked and every text printable. Raises UserError."""
        path = folder / name
        try:
            return _SCHEMA.validate_json(read_bytes(path, LARGEST))
        except (OSError, ValueError) as error:
            problems = error.errors(include_url=False) if isinstance(error, ValidationError) else []
            why = "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}" for each in problems[:3]) or str(error)
            raise UserError(f"{path}: not the record of a sweep ({printable(why)}); train again to write it") from error


_SCHEMA = TypeAdapter(Sweep)


def title(jobs: Sequence[RunConfig]) -> str:
    """Return the name of a sweep's parent run in MLflow: `rmsprop, 512, dropout 0 and 0.5, 3 seeds`."""
    names = list(dict.fromkeys(job.optimizer.name for job in jobs))
    shown = ", ".join(names) if len(names) <= 3 else f"{len(names)} optimizers"
    shapes = {job.shape for job in jobs}
    shape = jobs[0].shape if len(shapes) == 1 else f"{len(shapes)} networks"
    return ", ".join([shown, shape, *_swept(jobs), plural(len({job.seed for job in jobs}), "seed")])


def _swept(jobs: Sequence[RunConfig]) -> list[str]:
    """The swept values other than optimizers, networks, training sizes and seeds.

    A value that follows from these or from those before it, such as each optimizer's learning rate, is not swept.
    """
    cells: list[tuple[Any, ...]] = [(job.optimizer.name, job.shape, job.dataset.train_size) for job in jobs]
    configurations = [job.flat() for job in jobs]
    found = []
    for name in dict.fromkeys(name for values in configurations for name in values if name != "seed"):
        texts = [short(values[name]) if name in values else "" for values in configurations]
        finer = [(*cell, text) for cell, text in zip(cells, texts, strict=True)]
        if len(set(finer)) > len(set(cells)):
            key = name.removesuffix(".name").rpartition(".")[2].replace("_", " ")
            distinct = list(dict.fromkeys(filter(None, texts)))
            found.append(f"{key} {listed(distinct)}" if len(distinct) <= 3 else f"{len(distinct)} values of {key}")
            cells = finer
    return found


def tags_of(tags: Sequence[str] | Mapping[str, Any] | None) -> dict[str, str]:
    """Return the `tags` of a configuration by name; the value of a tag without one is `true`."""
    given = tags if isinstance(tags, Mapping) else dict.fromkeys(tags or (), True)
    return {name: rules.to_text(value) for name, value in given.items()}


def lost_tags(lost: Sequence[Lost]) -> dict[str, str]:
    """Return tags for a sweep's parent run: how many runs are missing, and for each the reason and the command to retry."""
    lines = [f"{run.name} {run.status}: {run.reason}; again: {run.command}" for run in lost]
    counts = Counter(run.status for run in lost)
    summed = ", ".join(f"{count} {status}" for status, count in counts.items())
    return {"lost": summed or "none", "lost.runs": "\n".join(lines)}


class Ledger:
    """The records of all sweeps in a store of runs."""

    def __init__(self, store: RunStore) -> None:
        self.store, self.folder = store.root, store.root / LEDGER

    def path(self, sweep_id: str) -> Path:
        return self.folder / f"{sweep_id[:16]}.json"

    def write(self, sweep: Sweep) -> None:
        with locked(self.store):
            sweep.write(self.folder, self.path(sweep.id).name)

    def remove(self, sweep_id: str) -> None:
        self.path(sweep_id).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Sweep]:
        """Yield every record that can be read, the latest first."""
        written = {}
        for path in self.folder.glob("*.json"):
            with suppress(FileNotFoundError):  # removed by another process since
                written[path.name] = path.stat().st_mtime_ns
        for name in sorted(written, key=written.__getitem__, reverse=True):
            with suppress(UserError):
                yield Sweep.read(self.folder, name)

    def find(self, name_or_key: str) -> Sweep:
        """Return the sweep with this id (or its first 6 letters or more), name or MLflow parent run; the latest of several."""
        for sweep in self:
            if name_or_key in (sweep.name, sweep.parent_run_id) or (
                len(name_or_key) >= 6 and sweep.id.startswith(name_or_key)
            ):
                return sweep
        known = ", ".join(f"{sweep.id[:8]} ({sweep.name})" for sweep in self)
        raise UserError(
            f"{name_or_key}: no such sweep in {self.store}; expected a folder of results or one of {known or 'none yet'}"
        )


def related(sweeps: Iterable[Sweep], question: str, keys: set[str]) -> tuple[list[str], list[str]]:
    """Return the ids of the sweeps of a question with a proper subset of `keys`, the largest first, and with a superset."""
    others = [(sweep.asked, sweep.id) for sweep in sweeps if sweep.name == question and sweep.id]
    smaller = [(len(asked), sweep_id) for asked, sweep_id in others if len(asked) > 1 and asked < keys]
    larger = [sweep_id for asked, sweep_id in others if asked > keys]
    return [sweep_id for _, sweep_id in sorted(smaller, reverse=True)], larger


def write_results(store: RunStore, sweep: Sweep, folder: Path) -> None:
    """Write the runs of `sweep` and its record to `folder`, and remove other runs: the output of a DVC stage."""
    with locked(store.root):
        if folder.is_dir():
            for entry in folder.iterdir():
                # Runs only: the user may keep other files there.
                if entry.is_dir() and entry.name not in sweep.keys and KEY.fullmatch(entry.name):
                    shutil.rmtree(entry, ignore_errors=True)
    for key in sweep.keys:
        with locked(store.root):  # for each run, since other commands write too
            if key in store:
                with atomic_write(folder / key) as temporary:
                    shutil.copytree(store.folder(key), temporary, ignore=shutil.ignore_patterns(".*"))
    with locked(store.root):  # or another command that clears the folder could remove the record
        sweep.write(folder)


def find_sweep(name_or_key: str, store: RunStore, root: Path) -> tuple[Sweep, RunStore]:
    """Return the sweep of a folder of results, or the one that `Ledger.find` returns, and the store of its runs."""
    folder = root / name_or_key
    if (folder / SWEEP).is_file():
        return Sweep.read(folder), RunStore(folder)
    return Ledger(store).find(name_or_key), store


def readable(store: RunStore, keys: Iterable[str]) -> tuple[list[RunResult], list[OtherRelease]]:
    """Return the stored runs with these keys, and an error for each that another release of this project wrote."""
    results, others = [], []
    for key in (key for key in dict.fromkeys(keys) if key in store):
        try:
            results.append(store.read(key))
        except OtherRelease as error:
            others.append(error)
    return results, others
