"""The training command as a user runs it: sweeps that continue where they stopped, errors in one line.

Tests that do not depend on the numbers use runs computed from a formula.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import reproduce
from pipeline.cli.console import PROJECT
from pipeline.data.arrays import Arrays
from pipeline.data.files import LOCK
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger
from pipeline.sweep.progress import Progress
from pipeline.training import trainer
from pipeline.training.result import DIVERGED, FAILED, FINISHED
from pipeline.training.splits import split
from tests.support.formula import Formula, installed
from tests.unit.training.command import Place, Said, command
from tests.unit.training.trainer import bits, device, train

GRID = ["-m", "optimizer=sgd,adam", "model.width=4", "seed=0,1,2,3", "training.epochs=2"]
LONG = ["-m", "optimizer=sgd", "model.width=8", "seed=range(12)", "training.epochs=60"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> Callable[[], Place]:
    return lambda: Place(tmp_path_factory.mktemp("project"), processed)


# --- a stopped sweep


@pytest.mark.slow
@pytest.mark.fault("SIGKILL")
def test_a_killed_sweep_goes_on_where_it_stopped_and_leaves_nothing(
    place: Callable[[], Place], digits: Arrays, tmp_path: Path
) -> None:
    """The record of the sweep exists before its first run. The next command removes temporary folders."""
    where = place()
    words = ["-m", *where.words, *LONG[1:], "question=tests", "device.xla=false"]
    program, environment = [sys.executable, "-m", "pipeline.train"], os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [*program, *words], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "[2/12]" in line:
                process.kill()
    finished = len(list(where.store))
    [record] = Ledger(where.store)
    assert (record.status, len(record.lost)) == ("running", 12)
    assert all(run.finished for run in where.store)
    assert 2 <= finished <= 12
    said = command(*words)
    new = f", {12 - finished} new; {12 - finished} to train" if finished < 12 else "; nothing to train"
    assert (said.status, f"12 runs: {finished} finished{new}\n" in said.out) == (0, True)
    alone = train([run.job for run in where.runs], split(digits, where.runs[0].job.dataset), device(xla=False))
    assert [bits(run) for run in where.runs] == [bits(run) for run in alone], "as if it had been left alone"
    assert {entry.name for entry in (where.root / "runs").iterdir()} == {LOCK, "sweeps", *where.record.keys}
    [sweep] = Ledger(where.store)
    assert (sweep.status, sweep.lost) == ("ended", [])
    assert list(tmp_path.iterdir()) == [], "nothing is written where the command was started"


@pytest.mark.fault("SIGTERM and Ctrl-C")
def test_ctrl_c_keeps_what_was_finished_and_ends_within_seconds_with_130_and_one_line(
    place: Callable[[], Place], keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, done, ended = place(), Progress.done, []

    def interrupted(progress: Progress, *run: Any) -> None:
        done(progress, *run)
        ended.append(time.monotonic())
        if len(ended) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "done", interrupted)
    said = where.train(*LONG)
    assert time.monotonic() - ended[1] < 20
    told = "stopped (Ctrl-C); what is finished is kept, and the same command does the rest\n"
    assert (said.status, said.err) == (130, told)
    finished = where.store.keys()
    assert 2 <= len(finished) < 12
    assert {run.status for run in where.store} == {FINISHED}
    [sweep] = Ledger(where.store)
    assert (sweep.status, sorted(sweep.keys)) == ("stopped", finished)
    assert [lost.status for lost in sweep.lost] == ["interrupted"] * (12 - len(finished))


# --- a sweep


@pytest.fixture(scope="module")
def swept(place: Callable[[], Place], keras: Any) -> tuple[Place, Said]:
    where = place()
    return where, where.train(*GRID)


def test_a_sweep_says_what_it_does_and_what_came_of_it(swept: tuple[Place, Said]) -> None:
    assert (swept[1].status, swept[1].err) == (0, "")
    lines = swept[1].out.splitlines()
    assert lines[0] == "8 runs: 8 new"
    assert lines[2] == "loading libraries and compiling; then a line for each run"
    assert [line[:5] for line in lines[3:11]] == [f"[{n}/8]" for n in range(1, 9)]
    assert re.fullmatch(r"8 of 8 runs finished in \d+ s", lines[11])
    assert re.fullmatch(r"best on the validation split: \w+-w4-d1-s\d, \d\d\.\d\d %", lines[12])
    assert len(lines) == 13


def test_every_run_is_stored_with_what_it_is_made_of(swept: tuple[Place, Said], digits: Arrays) -> None:
    names = [f"{optimizer}-w4-d1-s{seed}" for optimizer in ("sgd", "adam") for seed in range(4)]
    assert [run.name for run in swept[0].runs] == names
    for run in swept[0].runs:
        assert (run.status, run.identity["data"], run.identity["numerics"]["xla"]) == (FINISHED, digits.digest, False)
        assert len(run.history["val/accuracy"]) == 2


def test_only_the_winner_has_its_weights(swept: tuple[Place, Said]) -> None:
    for folder in ("runs", "results"):
        kept = [path.parent.name for path in (swept[0].root / folder).glob("*/weights.npz")]
        assert kept == [swept[0].record.winner]


def test_every_run_is_in_the_log_of_the_sweep(swept: tuple[Place, Said]) -> None:
    lines = swept[0].log.splitlines()
    for run in swept[0].runs:
        [first] = [place for place, line in enumerate(lines) if line.endswith(f"{run.name}, key {run.key}")]
        epochs = [re.search(r"epoch \d", line)[0] for line in lines[first + 1 : first + 3]]  # type: ignore[index]
        assert epochs == ["epoch 1", "epoch 2"]
        assert f"test {100 * run.metrics['test/accuracy']:.2f} %" in lines[first + 3]
    assert sorted(path.name for path in (swept[0].root / "sweep").iterdir()) == ["multirun.yaml", "train.log"]


def test_a_run_of_it_is_trained_again_to_the_same_bits(
    swept: tuple[Place, Said], capsys: pytest.CaptureFixture[str]
) -> None:
    place, run = swept[0], swept[0].runs[5]
    words = [run.key, f"runs={place.root / 'runs'}", f"data={place.processed}", "tracking=none"]
    assert reproduce.main(words) == 0
    assert "identical: every bit is the same" in capsys.readouterr().out


# --- the same command again


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train", lambda *_: pytest.fail("something was trained"))


@pytest.mark.usefixtures("no_training")
def test_the_same_command_trains_nothing(swept: tuple[Place, Said]) -> None:
    before = [bits(run) for run in swept[0].runs]
    said = swept[0].train(*GRID)
    assert said.status == 0
    assert said.out.splitlines()[0] == "8 runs: 8 finished; nothing to train"
    assert [bits(run) for run in swept[0].runs] == before


@pytest.mark.fault("stored result damaged")
def test_a_damaged_run_is_said_and_trained_again(swept: tuple[Place, Said]) -> None:
    place = swept[0]
    place.train(*GRID)
    run = place.runs[3]
    (place.store.folder(run.key) / "predictions.npy").write_bytes(b"")
    said = place.train(*GRID)
    assert f"{run.key}: damaged" in said.out
    assert "8 runs: 7 finished, 1 new; 1 to train" in said.out
    assert bits(place.runs[3]) == bits(run)


# --- lost runs


FEW = ["-m", "seed=0,1,2", "model.width=4", "training.epochs=1"]


@pytest.fixture
def breaking(formula: Formula) -> Formula:
    """Makes the run with seed 1 fail."""
    formula.fails = lambda job: job.seed == 1
    return formula


@pytest.fixture(scope="module")
def unlucky(place: Callable[[], Place]) -> tuple[Place, Said]:
    where = place()
    with pytest.MonkeyPatch.context() as patch:
        installed(patch).fails = lambda job: job.seed == 1
        return where, where.train(*FEW)


def test_a_run_that_fails_is_status_3_and_one_line_and_the_others_finish(unlucky: tuple[Place, Said]) -> None:
    status, err = unlucky[1].status, unlucky[1].err
    assert status == 3
    assert err == "error: some runs failed; each is named above, with the command that runs it again\n"
    assert [run.status for run in unlucky[0].runs] == [FINISHED, FAILED, FINISHED]
    assert "2 of 3 runs finished" in unlucky[1].out


def test_its_traceback_is_in_the_log(unlucky: tuple[Place, Said]) -> None:
    name = unlucky[0].runs[1].name
    _, _, own = unlucky[0].log.partition(f"{name} failed: RuntimeError: no luck today\nTraceback")
    assert "RuntimeError: no luck today" in own
    assert "formula.py" in own
    assert "Traceback" not in unlucky[1].out + unlucky[1].err


def test_the_record_has_the_command_that_runs_it_again(unlucky: tuple[Place, Said]) -> None:
    [lost] = unlucky[0].record.lost
    assert (lost.name, lost.status, lost.reason) == ("rmsprop-w4-d1-s1", FAILED, "RuntimeError: no luck today")
    assert f"rmsprop-w4-d1-s1 failed: RuntimeError: no luck today\n  again: {lost.command}\n" in unlucky[1].out


@pytest.mark.usefixtures("breaking")
def test_fail_fast_ends_the_sweep_at_the_first_failed_run(place: Callable[[], Place]) -> None:
    where = place()
    said = where.train(*FEW, "fail_fast=true")
    assert said.status == 3
    assert [(lost.name, lost.status) for lost in where.record.lost] == [
        ("rmsprop-w4-d1-s1", FAILED),
        ("rmsprop-w4-d1-s2", "interrupted"),
    ]
    assert "1 run was not trained to the end (rmsprop-w4-d1-s2); the same command trains it" in said.out


@pytest.mark.usefixtures("formula")
def test_the_sweep_again_trains_the_lost_run_alone(unlucky: tuple[Place, Said], tmp_path: Path) -> None:
    shutil.copytree(unlucky[0].root, tmp_path / "copy")
    copy = Place(tmp_path / "copy", unlucky[0].processed)
    said = copy.train(*FEW)
    assert (said.status, said.out.splitlines()[0]) == (0, "3 runs: 2 finished, 1 failed; 1 to train")
    assert {run.status for run in copy.runs} == {FINISHED}


@pytest.mark.usefixtures("formula")
def test_that_command_runs_it_again(unlucky: tuple[Place, Said]) -> None:
    where = unlucky[0]
    [lost] = where.record.lost
    python, m, module, *words = shlex.split(lost.command)
    assert [python, m, module] == ["python", "-m", "pipeline.train"]
    assert command(*words, f"hydra.run.dir={where.root}/run").status == 0
    assert where.store.read(lost.key).status == FINISHED
    assert len(where.record.keys) == 3, "the results of the sweep are not those of this run alone"


@pytest.mark.usefixtures("breaking")
def test_a_single_run_that_fails_says_why_and_how_to_run_it_again(place: Callable[[], Place]) -> None:
    said = place().train("seed=1", "model.width=4")
    assert said.status == 3
    [line] = said.err.splitlines()
    assert line.startswith(
        "error: rmsprop-w4-d1-s1 failed: RuntimeError: no luck today; again: python -m pipeline.train "
    )


@pytest.mark.fault("NaN and infinity")
def test_a_diverged_run_is_told_and_kept(place: Callable[[], Place], formula: Formula) -> None:
    formula.diverges = lambda job: job.seed == 1
    where = place()
    said = where.train("-m", "optimizer=sgd", "model.width=4", "seed=0,1", "training.epochs=2")
    assert [run.status for run in where.runs] == [FINISHED, DIVERGED]
    assert "sgd-w4-d1-s1 diverged: running/loss is nan after epoch 1\n  again: python -m pipeline.train" in said.out
    assert [lost.status for lost in where.record.lost] == [DIVERGED]
    assert "sgd-w4-d1-s1 diverged: running/loss is nan" in where.log


# --- a single run


@pytest.mark.usefixtures("formula")
def test_a_single_run_shows_its_epochs(place: Callable[[], Place]) -> None:
    said = place().train("optimizer=adam", "model.width=4", "training.epochs=2")
    lines = said.out.splitlines()
    assert said.status == 0
    epoch = r"epoch %d/2  loss \d\.\d{4}  training .+ %%  validation .+ %%  gap .+ points"
    assert all(re.fullmatch(epoch % number, lines[number]) for number in (1, 2))
    assert re.fullmatch(r"adam-w4-d1-s0: validation .+ %, test .+ %, gap .+ points, .+ s", lines[3])


# --- what is refused once the whole configuration is known


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.width=65536", "model.depth=32"], " GiB while it trains, this machine has "),
        (["device=gpu"], "device=gpu: no GPU that tensorflow can use was found"),
        (["device.backend=jax", "device.xla=false"], "device.xla=false: JAX always compiles with XLA"),
        (["-m", "tracking=none,sqlite"], "tracking: cannot be swept; expected one value per command, got none"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.usefixtures("no_training")
def test_refused_in_one_line(
    place: Callable[[], Place], monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    where = place()
    options = [word for word in words if word == "-m"]
    said = command(*options, *where.words, *words[len(options) :])
    [line] = said.err.splitlines()
    assert (said.status, said.out) == (2, "")
    assert line.startswith("error: ")
    assert expected in line
    assert list(where.root.iterdir()) == [], "neither runs nor Hydra's folders"


@pytest.mark.usefixtures("formula")
def test_a_store_of_runs_is_no_folder_of_results(place: Callable[[], Place]) -> None:
    where, other = place(), place()
    for each in (where, other):
        each.train(*GRID)
    for store in (where.store, other.store):
        said = where.train("-m", "optimizer=sgd", "seed=0,1", f"paths.results={store.root}")
        line = f"error: paths.results={store.root}: a store of runs, which would lose the runs of other sweeps; expected another folder\n"
        assert (said.status, said.err) == (2, line)
        assert len(store.keys()) == 8


# --- what is stored, and what would be trained


@pytest.fixture(scope="module")
def some(place: Callable[[], Place]) -> Iterator[Place]:
    """A sweep of two finished runs, one diverged and one failed."""
    where = place()
    with pytest.MonkeyPatch.context() as patch:
        formula = installed(patch)
        formula.fails, formula.diverges = (lambda job: job.seed == 3), (lambda job: job.seed == 2)
        where.train("-m", "optimizer=sgd", "seed=range(4)", "model.width=4", "training.epochs=1")
        yield where


MIXED = ["-m", "optimizer=sgd", "seed=range(5)", "model.width=4", "training.epochs=1"]


def test_a_plan_says_what_is_there_and_what_it_would_take(some: Place) -> None:
    before = sorted(some.root.rglob("*"))
    said = some.train(*MIXED, "plan=true")
    lines = said.out.splitlines()
    assert (said.status, said.err) == (0, "")
    assert lines[0] == "plan of 5 runs: 2 finished, 1 failed, 1 diverged, 1 new; 2 to train"
    assert lines[1] == "  sgd-w4-d1  train seeds 3 and 4; there: seeds 0 to 2"
    assert [line.split(":")[0] for line in lines[2:]] == ["time"]
    assert sorted(some.root.rglob("*")) == before, "nothing is written"


def test_what_diverged_is_trained_again_on_demand_only(some: Place) -> None:
    words = ["optimizer=sgd", "seed=2", "model.width=4", "training.epochs=1"]
    assert "is diverged already" in some.train(*words).out
    assert "is diverged already" in some.train(*words, "retry=failed").out
    for retry in ("diverged", "all"):
        said = some.train(*words, f"retry={retry}")
        assert "is diverged already" not in said.out
        assert "diverged: " in said.out


@pytest.mark.slow
@pytest.mark.fault("SIGKILL")
def test_a_long_run_that_is_killed_goes_on_from_its_checkpoint(tmp_path: Path, processed: Path) -> None:
    words = ["dataset=digits", "optimizer=adam", "training.epochs=1500", "training.evaluate_every=500", "tracking=none"]
    words += ["model.width=64", "device.checkpoint_minutes=0.01", f"paths.data={processed}"]

    def start(runs: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline.train", *words, f"paths.runs={tmp_path / runs}"]
        return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)

    killed = start("runs")
    while not list((tmp_path / "runs").glob(".checkpoints/*.npz")):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    said, _ = start("runs").communicate()
    assert "1 run of these goes on from a checkpoint" in said
    start("undisturbed").communicate()
    again, undisturbed = (RunStore(tmp_path / name) for name in ("runs", "undisturbed"))
    [key] = undisturbed.keys()
    assert bits(again.read(key)) == bits(undisturbed.read(key))
    assert not list((tmp_path / "runs" / ".checkpoints").iterdir())
