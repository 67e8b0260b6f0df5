"""Two at once on one store: every row there, none twice, nobody in the other one's way."""

from __future__ import annotations

import pytest

from pipeline.training.result import FINISHED
from tests.system.faults.sound import assert_sound
from tests.system.faults.workspace import Workspace

BOTH = ["-m", "optimizer=sgd", "model.width=4", "training.epochs=1"]


@pytest.mark.slow
@pytest.mark.fault("two sweeps at once")
def test_two_sweeps_on_a_fresh_store(workspace: Workspace) -> None:
    """Half of their jobs are the same."""
    sweeps = [
        workspace.start(*BOTH, f"seed=range({first},{first + 8})", f"hydra.sweep.dir={workspace.root}/sweep {first}")
        for first in (0, 4)
    ]
    told = [sweep.communicate() for sweep in sweeps]
    assert [(sweep.returncode, err) for sweep, (_, err) in zip(sweeps, told, strict=True)] == [(0, ""), (0, "")]
    assert [run.status for run in workspace.store] == [FINISHED] * 12
    assert_sound(workspace)
    assert workspace.statuses() == {"FINISHED": 2 + 12}, "two parents, and one row for each run"
