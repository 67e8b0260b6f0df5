"""Runs commands in the test process, where the libraries are already loaded."""

import contextlib
import copy
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

from pipeline import train
from pipeline.cli import console
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.training.result import RunResult


@contextmanager
def as_before() -> Iterator[None]:
    """Restore Hydra's singletons and the root logger, which Hydra configures for every job."""
    if absl := sys.modules.get("absl.logging"):
        # Hydra closes every handler when it configures logging, and absl's closes the stream it found, pytest's.
        absl.get_absl_handler().python_handler.stream = sys.__stderr__
    Plugins.instance()  # before the state is copied, since Hydra 1.4 registers its plugins once per process
    root, singletons = logging.getLogger(), copy.deepcopy(Singleton.get_state())
    before = root.level, root.handlers[:]
    try:
        yield
    finally:
        for handler in root.handlers:
            # Only files: absl has a handler here too once TensorFlow is imported.
            if handler not in before[1] and isinstance(handler, logging.FileHandler):
                handler.close()
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        Singleton.set_state(singletons)


@dataclass
class Said:
    status: int
    out: str
    err: str


@dataclass
class Place:
    """A folder that takes all output of a command."""

    root: Path
    processed: Path

    @property
    def words(self) -> list[str]:
        """Arguments that keep the output in this folder and make the command quick."""
        paths = [f"paths.data={self.processed}", f"paths.runs={self.root}/runs", f"paths.results={self.root}/results"]
        folders = [f"hydra.sweep.dir={self.root}/sweep", f"hydra.run.dir={self.root}/run"]
        return ["dataset=digits", "tracking=none", "device=cpu", *paths, *folders]

    @property
    def store(self) -> RunStore:
        return RunStore(self.root / "runs")

    @property
    def runs(self) -> list[RunResult]:
        """The results of the last sweep, in the order of its jobs."""
        return [self.store.read(key) for key in self.record.keys]

    @property
    def record(self) -> Sweep:
        return Sweep.read(self.root / "results")

    @property
    def log(self) -> str:
        """The log of the last sweep."""
        return (self.root / "sweep" / "train.log").read_text()

    def train(self, *words: str) -> Said:
        options = [word for word in words if word.startswith("-")]
        return command(*options, *self.words, "device.xla=false", "question=tests", *words[len(options) :])


def command(*words: str) -> Said:
    """Run `python -m pipeline.train …` and return its exit status and output."""
    with pytest.MonkeyPatch.context() as patch, as_before():
        patch.setattr(sys, "argv", ["train.py"])
        return said(train.main, *words)


def said(main: Callable[[Sequence[str]], int | None], *words: str) -> Said:
    """Run the `main` of any command and return its exit status and output."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            console.run(main, list(words))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(ended.value.code, int)
    return Said(ended.value.code, out.getvalue(), err.getvalue())
