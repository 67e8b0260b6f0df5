"""A run that was stopped goes on from its checkpoint, to the bits of one that was not."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Arrays
from pipeline.storage.checkpoints import RunCheckpoints
from pipeline.training import engine, reference
from pipeline.training.checkpoints import Checkpoints, NoCheckpoints
from pipeline.training.outcome import Done, Epoch
from pipeline.training.result import RunResult
from pipeline.training.splits import Split
from tests.support.factory import make_job
from tests.unit.training.trainer import bits, cut, device

pytestmark = pytest.mark.usefixtures("keras")
JOB = make_job("adam", hidden=[12], dropout=0.3, batch_normalization=True, epochs=6, schedule="cosine", patience=5)
KEYS = ["a" * 64]


def train(name: str, data: Split, checkpoints: Checkpoints, stop_after: int = 0) -> RunResult | None:
    """The run's result; None if it was stopped after so many epochs."""
    jobs: Sequence[tuple[int, RunConfig]] = [(0, JOB)]
    on, stop = device(trainer=name, xla=False), threading.Event()
    if name == "engine":
        events = engine.train(jobs, data, 10, on, checkpoints, stop)
    else:
        events = reference.train(jobs, data, 10, on, checkpoints)
    for event in events:
        if isinstance(event, Done):
            return event.result
        if isinstance(event, Epoch) and event.epoch == stop_after:
            events.close()
            return None
    raise AssertionError("a training without an end")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["engine", "reference"])
def test_a_stopped_run_goes_on_to_the_same_bits(digits: Arrays, tmp_path: Path, name: str) -> None:
    data = cut(digits, 237)
    whole = train(name, data, NoCheckpoints())
    kept = RunCheckpoints(tmp_path, KEYS, minutes=1e-9)
    assert train(name, data, kept, stop_after=3) is None
    assert kept.load(0).progress["trained"] in (2, 3, 4)
    assert bits(train(name, data, kept)) == bits(whole)


def test_a_damaged_checkpoint_is_none(tmp_path: Path) -> None:
    kept = RunCheckpoints(tmp_path, KEYS, minutes=1)
    assert kept.load(0) is None
    (tmp_path / ".checkpoints").mkdir()
    (tmp_path / ".checkpoints" / f"{KEYS[0]}.npz").write_bytes(b"PK\x03\x04 cut off")
    assert kept.load(0) is None


def test_short_runs_have_none(digits: Arrays, tmp_path: Path) -> None:
    kept = RunCheckpoints(tmp_path, KEYS, minutes=5)
    assert train("reference", cut(digits, 237), kept) is not None
    assert list(tmp_path.iterdir()) == []
    assert np.isinf(RunCheckpoints(tmp_path, KEYS, minutes=0).seconds)
