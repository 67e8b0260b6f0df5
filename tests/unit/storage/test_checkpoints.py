"""Checkpoints in a store that several machines share."""

from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from pipeline.data.files import LOCK
from pipeline.storage.checkpoints import RunCheckpoints
from pipeline.training.checkpoints import Checkpoint


def test_no_other_machine_writes_to_the_store_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the temporary file for a leftover, since the process is not one of its own."""
    held: list[bool] = []

    def savez(*_: object, **__: object) -> None:
        with pytest.raises(Timeout):
            FileLock(tmp_path / LOCK, timeout=0).acquire()
        held.append(True)

    monkeypatch.setattr(np, "savez", savez)
    RunCheckpoints(tmp_path, ["a" * 64], minutes=1).save(0, Checkpoint({}, []))
    assert held == [True]
