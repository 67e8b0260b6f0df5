"""A stopped run resumes from its checkpoint and gives the same bits as an uninterrupted one."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.arrays import Arrays
from pipeline.storage.checkpoints import RunCheckpoints
from pipeline.training import trainer
from tests.support.factory import make_job
from tests.unit.training.trainer import bits, cut, device, train

pytestmark = pytest.mark.usefixtures("keras")
JOB = make_job("adam", hidden=[12], dropout=0.3, batch_normalization=True, epochs=6, schedule="cosine", patience=5)
KEYS = ["a" * 64]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["engine", "reference"])
def test_a_stopped_run_goes_on_to_the_same_bits(digits: Arrays, tmp_path: Path, name: str) -> None:
    data, on = cut(digits, 237), device(trainer=name, xla=False)
    whole = train([JOB], data, on)
    kept = RunCheckpoints(tmp_path, KEYS, minutes=1e-9)
    events = trainer.train([JOB], data, 10, on, kept)
    next(event for event in events if isinstance(event, trainer.Epoch) and event.epoch == 3)
    events.close()
    assert kept.load(0).progress["trained"] in (2, 3, 4)
    assert list(map(bits, train([JOB], data, on, checkpoints=kept))) == list(map(bits, whole))


def test_a_damaged_checkpoint_is_none(tmp_path: Path) -> None:
    kept = RunCheckpoints(tmp_path, KEYS, minutes=1)
    assert kept.load(0) is None
    (tmp_path / ".checkpoints").mkdir()
    (tmp_path / ".checkpoints" / f"{KEYS[0]}.npz").write_bytes(b"PK\x03\x04 cut off")
    assert kept.load(0) is None


def test_short_runs_have_none(digits: Arrays, tmp_path: Path) -> None:
    kept = RunCheckpoints(tmp_path, KEYS, minutes=5)
    train([JOB], cut(digits, 237), device(trainer="reference", xla=False), checkpoints=kept)
    assert list(tmp_path.iterdir()) == []
    assert np.isinf(RunCheckpoints(tmp_path, KEYS, minutes=0).seconds)
