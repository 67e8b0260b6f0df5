"""hydra/launcher=batched_slurm on a real one-node Slurm: the same bits as `batched`, and recovery from lost shares.

tests/support/slurm_node.py starts the node, without accounting.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import slurm_node
from tests.support.slurm import Cluster
from tests.unit.training.command import Place
from tests.unit.training.trainer import bits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

GRID = ["optimizer=sgd,adam,rmsprop", "model.width=8", "seed=0,1,2", "training.epochs=40"]
"""Three shares of three runs, one shape per share."""

SLOW = ["optimizer=sgd,adam", "model.width=8", "seed=0,1,2", "training.epochs=1500", "hydra.launcher.shares=2"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Start a Slurm node with the script, and stop it at the end."""
    if why := slurm_node.missing():
        pytest.skip(f"no Slurm here: {why}")
    # Not in tmp_path, which other users cannot enter: munged needs a socket that all users can reach.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    script = [sys.executable, slurm_node.__file__]
    try:
        said = subprocess.run([*script, "start", str(folder)], capture_output=True, text=True, check=True, timeout=60)
        assert said.stdout == f"export SLURM_CONF={folder}/slurm.conf\n"
        made = Cluster({"SLURM_CONF": f"{folder}/slurm.conf"})
        yield made
        made.end()
    finally:
        subprocess.run([*script, "stop", str(folder)], check=True, timeout=60)
        assert list((folder / "run").glob("*.pid")) == []
        shutil.rmtree(folder)


@pytest.fixture
def place(tmp_path: Path, processed: Path) -> Place:
    return Place(tmp_path, processed)


def test_what_lost_shares_leave_out_is_named_and_trained_by_the_same_command_to_the_bits_of_one_machine(
    cluster: Cluster, place: Place, processed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of three shares, one has its worker killed and one is cancelled."""
    command = cluster.start(place, *GRID, "hydra.launcher.shares=3")
    command.wait(lambda: command.pid(0))
    cancelled = command.jobs()[1]
    os.kill(command.pid(0), signal.SIGKILL)
    command.wait(lambda: command.trained(1))
    cluster.says("scancel", cancelled)
    assert command.ends() == 3, command.out
    kept, lost = command.trained(1), {run.name: run.reason for run in place.record.lost}
    assert {name for name in lost if name.startswith("sgd")} == {f"sgd-w8-d1-s{seed}" for seed in range(3)}
    assert 1 <= len(kept) < 3, "what a cancelled share had finished is kept"
    assert len(lost) == 6 - len(kept)
    assert not any(name.startswith("rmsprop") for name in lost)

    assert lost["sgd-w8-d1-s0"].startswith("its share ended before it (Slurm says FAILED")
    told = "its share ended before it (it was told to end (SIGTERM); Slurm says CANCELLED"
    assert lost["adam-w8-d1-s2"].startswith(told)
    lines = command.out.splitlines()
    [line] = [number for number, line in enumerate(lines) if line.startswith("sgd-w8-d1-s0 interrupted: its share")]
    assert lines[line + 1].startswith("  again: python -m pipeline.train dataset=digits")
    assert "optimizer=sgd model.width=8 seed=0 training.epochs=40" in lines[line + 1]

    again, missing = cluster.start(place, *GRID, "hydra.launcher.shares=1"), len(lost)
    assert again.ends() == 0
    assert again.out.startswith(f"9 runs: {9 - missing} finished, {missing} new; {missing} to train\n")
    assert again.out.count("/9] ") == missing
    assert not (place.root / "runs" / "shares").exists()

    here = Place(tmp_path_factory.mktemp("here"), processed)
    assert here.train("-m", *GRID).status == 0
    assert [(run.key, bits(run)) for run in place.runs] == [(run.key, bits(run)) for run in here.runs]
    assert place.record.winner == here.record.winner


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_command_cancels_what_it_submitted(
    cluster: Cluster, place: Place, number: signal.Signals, status: int
) -> None:
    command = cluster.start(place, *SLOW)
    command.wait(lambda: command.trained(0))
    command.process.send_signal(number)
    assert command.ends() == status
    assert cluster.left() == []
    assert "cancelling 2 shares" in command.out
    assert "stopped (" in command.out
    assert len(list(place.store.keys())) >= 1
    assert cluster.start(place, *SLOW).ends() == 0
    assert len(place.runs) == 6


def test_shares_outlive_a_command_that_is_killed_and_the_next_one_waits_for_them(
    cluster: Cluster, place: Place
) -> None:
    command = cluster.start(place, *SLOW)
    command.wait(lambda: command.trained(0))
    command.process.kill()
    command.process.wait()
    assert len(cluster.left()) == 2
    again = cluster.start(place, *SLOW)
    assert again.ends() == 0, again.out
    assert "waiting for 2 shares of an earlier command" in again.out or "waiting for 1 share of an" in again.out
    assert "by slurm" not in again.out
    assert len(place.runs) == 6


def test_a_share_that_slurm_requeues_goes_on_where_it_was(cluster: Cluster, place: Place) -> None:
    command = cluster.start(place, *SLOW)
    command.wait(lambda: command.trained(0))
    kept = command.trained(0)
    cluster.says("scontrol", "requeue", command.jobs()[0])
    command.wait(lambda: len(command.trained(0)) == 3)
    journal = command.journal(0)
    assert command.ends() == 0, command.out
    assert sum("started" in line for line in journal) == 2
    assert len({line["key"] for line in journal if "key" in line}) == 3, "nothing twice"
    assert [line["key"] for line in journal if "key" in line][: len(kept)] == kept


def test_before_its_time_limit_a_share_ends_by_itself(cluster: Cluster, place: Place) -> None:
    words = ["optimizer=sgd", "model.width=8", "seed=0,1,2", "training.epochs=3000", "hydra.launcher.timeout_min=1"]
    command = cluster.start(place, *words, "hydra.launcher.signal_seconds=35")
    assert command.ends() == 3, command.out
    assert "its time limit was near" in command.out
    assert len(place.runs) < 3
