"""hydra/launcher=batched_slurm on a real Slurm of one node: the bits of `batched`, and what becomes of a share that is lost.

The node is started by tests/support/slurm_node.py, without accounting.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import slurm_node
from tests.support.slurm import Cluster, Command, numbers
from tests.unit.training.command import Place

GRID = ["optimizer=sgd,adam,rmsprop", "model.width=8", "seed=0,1,2", "training.epochs=40"]
"""Three shares of three runs: one shape each."""

SLOW = ["optimizer=sgd,adam", "model.width=8", "seed=0,1,2", "training.epochs=1500", "hydra.launcher.shares=2"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node that the script starts and stops."""
    if why := slurm_node.missing():
        pytest.skip(f"no Slurm here: {why}")
    # Not in pytest's own folders, which nobody else may enter: munged wants a socket for all.
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


@dataclass
class Resumed:
    """A sweep in three shares, of which one had its worker killed and one was cancelled; and the same command again."""

    place: Place
    first: Command
    status: int
    kept: list[str]
    """Keys that the cancelled share had trained by then."""
    lost: dict[str, str]
    """The reason for each run that was missing, by its name."""
    winner: str | None
    again: Command
    status_again: int


@pytest.fixture(scope="module")
def resumed(cluster: Cluster, processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    place = Place(tmp_path_factory.mktemp("sweep"), processed)
    command = cluster.start(place, *GRID, "hydra.launcher.shares=3")
    command.wait(lambda: command.pid(0))
    cancelled = command.jobs()[1]
    os.kill(command.pid(0), signal.SIGKILL)
    command.wait(lambda: command.trained(1))
    cluster.says("scancel", cancelled)
    status = command.ends()
    kept = command.trained(1)
    lost, winner = {one.name: one.reason for one in place.record.lost}, place.record.winner
    again = cluster.start(place, *GRID, "hydra.launcher.shares=1")
    return Resumed(place, command, status, kept, lost, winner, again, again.ends())


@pytest.mark.slow
def test_the_bits_are_those_of_one_machine(resumed: Resumed, processed: Path, tmp_path: Path) -> None:
    here = Place(tmp_path, processed)
    assert here.train("-m", *GRID).status == 0
    assert [numbers(run) for run in resumed.place.runs] == [numbers(run) for run in here.runs]
    assert resumed.place.record.winner == here.record.winner


@pytest.mark.slow
def test_a_lost_share_loses_only_its_own(resumed: Resumed) -> None:
    assert resumed.status == 3, resumed.first.out
    assert {name for name in resumed.lost if name.startswith("sgd")} == {f"sgd-w8-d1-s{seed}" for seed in range(3)}
    assert 1 <= len(resumed.kept) < 3, "what a cancelled share had finished is kept"
    assert len(resumed.lost) == 6 - len(resumed.kept)
    assert not any(name.startswith("rmsprop") for name in resumed.lost)


@pytest.mark.slow
def test_each_missing_run_has_its_reason_and_its_command(resumed: Resumed) -> None:
    killed, cancelled = resumed.lost["sgd-w8-d1-s0"], resumed.lost["adam-w8-d1-s2"]
    assert killed.startswith("its share ended before it (Slurm says FAILED")
    assert cancelled.startswith("its share ended before it (it was told to end (SIGTERM); Slurm says CANCELLED")
    lines = resumed.first.out.splitlines()
    [line] = [number for number, line in enumerate(lines) if line.startswith("sgd-w8-d1-s0 interrupted: its share")]
    assert lines[line + 1].startswith("  again: python -m pipeline.train dataset=digits")
    assert "optimizer=sgd model.width=8 seed=0 training.epochs=40" in lines[line + 1]


@pytest.mark.slow
def test_the_same_command_trains_what_is_missing(resumed: Resumed) -> None:
    assert resumed.status_again == 0
    finished, missing = 9 - len(resumed.lost), len(resumed.lost)
    assert resumed.again.out.startswith(f"9 runs: {finished} finished, {missing} new; {missing} to train\n")
    assert resumed.again.out.count("/9] ") == missing
    assert not (resumed.place.root / "runs" / "shares").exists()


# --- more of what may happen


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_before_its_time_limit_a_share_ends_by_itself(cluster: Cluster, place: Place) -> None:
    words = ["optimizer=sgd", "model.width=8", "seed=0,1,2", "training.epochs=3000", "hydra.launcher.timeout_min=1"]
    command = cluster.start(place, *words, "hydra.launcher.signal_seconds=35")
    assert command.ends() == 3, command.out
    assert "its time limit was near" in command.out
    assert len(place.runs) < 3
