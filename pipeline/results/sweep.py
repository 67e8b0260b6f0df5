"""What a command that trained leaves behind: which runs it was about, in `<folder>/sweep.json` beside their run folders."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.errors import UserError
from pipeline.results.result import Result
from pipeline.results.store import RunStore

SWEEP = "sweep.json"


@dataclass
class Lost:
    """A run that was asked for and has no finished result."""

    name: str
    status: str
    reason: str
    command: str
    """The command that trains it again."""


@dataclass
class Sweep:
    name: str
    keys: list[str]
    """All runs that have a record, in the order of the jobs; failed and diverged ones too."""
    winner: str | None = None
    """Key of the best run: highest best validation accuracy (test accuracy is never used to choose)."""
    lost: list[Lost] = field(default_factory=list)
    parent_run_id: str | None = None
    """MLflow's run that stands for the whole sweep."""
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{SWEEP}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        temporary.replace(folder / SWEEP)

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        try:
            plain = json.loads((folder / SWEEP).read_text())
            return cls(**{**plain, "lost": [Lost(**lost) for lost in plain["lost"]]})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{folder / SWEEP}: not the record of a sweep ({error}); train again to write it"
            ) from error


def gather(store: RunStore, sweep: Sweep, folder: Path) -> None:
    """Make `folder` hold exactly the runs of `sweep` and its record: the output that DVC keeps of a stage."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in sweep.keys:
            shutil.rmtree(entry)
    for key in sweep.keys:
        if key in store:
            shutil.rmtree(folder / key, ignore_errors=True)
            shutil.copytree(store.folder(key), folder / key)
    sweep.write(folder)


def read_folder(folder: Path) -> tuple[Sweep | None, list[Result]]:
    """The sweep's record (None for a plain store such as `runs/`) and its runs, in the order of the jobs."""
    sweep = Sweep.read(folder) if (folder / SWEEP).is_file() else None
    store = RunStore(folder)
    return sweep, [store.read(key) for key in (sweep.keys if sweep else store.keys())]
