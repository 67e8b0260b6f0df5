"""Many jobs, few descriptors, little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.training.result import FINISHED
from tests.system.faults.sound import assert_sound
from tests.system.faults.workspace import Workspace

JOBS = ["-m", "optimizer=sgd", "model.width=4", "training.epochs=1"]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.fault("soak")
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("keras")
def test_five_hundred_jobs_in_one_process_leave_memory_and_descriptors_flat(workspace: Workspace) -> None:
    """The first hundred fill the caches; from there on neither grows."""
    seen = []
    for first in range(0, 500, 100):
        said = workspace.tracked(*JOBS, f"seed=range({first},{first + 100})")
        assert (said.status, said.err) == (0, "")
        seen.append((megabytes(), descriptors()))
        print(f"{first + 100} jobs: {seen[-1][0]:.0f} MB, {seen[-1][1]} descriptors")
    assert len(workspace.store.keys()) == 500
    assert seen[-1][1] <= seen[0][1] + 2
    assert seen[-1][0] < seen[0][0] + 60
    assert_sound(workspace)


@pytest.mark.fault("soak")
@pytest.mark.usefixtures("keras")
def test_ten_jobs_leave_no_descriptor(workspace: Workspace) -> None:
    assert workspace.train(*JOBS, "seed=0,1").status == 0
    before = descriptors()
    assert workspace.train(*JOBS, "seed=range(10)").status == 0
    assert descriptors() <= before


STARVED = """
import resource, sys
from pathlib import Path
from pipeline import train
from pipeline.cli import console
from pipeline.models import devices

devices.start(devices.choose("cpu", "tensorflow", "float32", False, "engine", 1, 0))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1400 * 2**20, resource.RLIM_INFINITY))
console.run(train.main)
"""


@pytest.mark.fault("out of memory")
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_that_gets_no_memory_fails_with_its_reason_and_the_others_complete(workspace: Workspace) -> None:
    """A real limit: 1.4 GB beyond what the libraries take, and a network that needs 2.6."""
    words = ["-m", *workspace.words, "device.xla=false", "device.workers=1", "question=tests", "training.epochs=1"]
    words += ["model.hidden=[4],[8192,16384],[5]", "optimizer=adam"]
    done = subprocess.run(
        [sys.executable, "-c", STARVED, *words], cwd=PROJECT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    statuses = [workspace.store.read(key).status for key in workspace.record.keys]
    assert statuses.count(FINISHED) == 2
    assert any(word in done.stdout for word in ("OOM", "ResourceExhausted", "MemoryError", "allocat")), done.stdout
