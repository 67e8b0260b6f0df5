"""Many jobs, few descriptors. Memory and descriptors of 1,000 jobs: benchmarks/overhead.py."""

from __future__ import annotations

import psutil
import pytest

from tests.system.faults.workspace import Workspace

JOBS = ["-m", "optimizer=sgd", "model.width=4", "training.epochs=1"]


@pytest.mark.slow
@pytest.mark.fault("soak")
@pytest.mark.usefixtures("keras")
def test_ten_jobs_leave_no_descriptor(workspace: Workspace) -> None:
    assert workspace.train(*JOBS, "seed=0,1").status == 0
    before = psutil.Process().num_fds()
    assert workspace.train(*JOBS, "seed=range(10)").status == 0
    assert psutil.Process().num_fds() <= before
