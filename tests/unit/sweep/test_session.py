"""Sessions: stacks halved to fit the memory, commits made during training, and commands in a notebook."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig
from pipeline.models import devices
from pipeline.storage import identity, numerics
from pipeline.train import main
from pipeline.training import trainer
from tests.support.factory import stored as result
from tests.unit.training.command import Place, Said, as_before, command

METRICS = dict.fromkeys(
    ("val/accuracy", "train/accuracy", "test/accuracy", "overfitting_gap/accuracy", "time/train_s"), 0.5
)


@pytest.fixture
def place(tmp_path: Path, processed: Path) -> Place:
    return Place(tmp_path, processed)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs trained by a fake stacked engine whose memory holds stacks of at most two."""
    names: list[str] = []

    def train(jobs: Sequence[RunConfig], *_: Any) -> Iterator[trainer.Done]:
        for index, job in enumerate(jobs):
            names.append(job.name)
            made = result(job=job, metrics=METRICS)
            made.identity = {"numerics": {"stack": 2}}
            yield trainer.Done(index, made)

    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(devices, "start", lambda device: None)
    monkeypatch.setattr(numerics, "numerics_class", lambda device: "c" * 64)
    return names


def sweep(place: Place, *words: str) -> Said:
    jax = ("device.backend=jax", "optimizer=adam", "model.width=4", "question=tests")
    return command("-m", *place.words, *jax, "seed=1,1,2", *words)


def test_halved_stacks_are_found_again_by_who_asks_for_the_whole_alone(place: Place, trained: list[str]) -> None:
    assert sweep(place, "device.stack=8").status == 0
    assert sorted(trained) == ["adam-w4-d1-s1", "adam-w4-d1-s2"], "what stands twice is one run"
    assert {run.identity["numerics"]["stack"] for run in place.store} == {2}
    for stack, said in ((8, "2 finished; nothing to train"), (4, "2 new"), (2, "2 finished; nothing to train")):
        assert sweep(place, f"device.stack={stack}").out.splitlines()[0] == f"2 runs: {said}"
    assert len(trained) == 4


@pytest.mark.parametrize(
    ("word", "got"),
    [
        ("device.kind=cpu,gpu", "cpu tensorflow engine, gpu tensorflow engine"),
        ("device.backend=tensorflow,jax", "cpu tensorflow engine, cpu jax engine"),
        ("device.trainer=reference,engine", "cpu tensorflow reference, cpu tensorflow engine"),
    ],
)
def test_what_a_process_sets_up_once_is_not_swept(
    place: Place, monkeypatch: pytest.MonkeyPatch, word: str, got: str
) -> None:
    monkeypatch.setattr(devices, "gpu_available", lambda backend: True)
    said = command("-m", *place.words, word, "plan=true")
    line = f"error: device: expected one kind, backend and trainer per command, got {got}; use a command for each\n"
    assert (said.status, said.err) == (2, line)


def test_the_precision_is_swept(place: Place) -> None:
    said = command("-m", *place.words, "device.precision=float32,float64", "plan=true")
    assert (said.status, said.out.splitlines()[0]) == (0, "plan of 2 runs: 2 new; 2 to train")


def test_commit_and_edits_are_noted_before_a_run_trains(
    place: Place, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit made during training is not the one that the run was trained from."""
    before, after = "b" * 40, "a" * 40
    now = [before]
    real, train = identity._git, trainer.train
    monkeypatch.setattr(identity, "_git", lambda *words: now[0] if words == ("rev-parse", "HEAD") else real(*words))

    def committed(*given: Any) -> Iterator[Any]:
        now[0] = after
        yield from train(*given)

    monkeypatch.setattr(trainer, "train", committed)
    identity.environment.cache_clear()
    try:
        words = ["device.backend=jax", "device.stack=2", "optimizer=adam", "question=tests"]
        assert command(*place.words, *words).status == 0
    finally:
        identity.environment.cache_clear()
    [run] = place.store
    assert run.environment["git_commit"] == before


def test_hydra_s_own_word_for_a_sweep(place: Place) -> None:
    words = [word for word in place.words if word != "-m"]
    said = command(*words, "hydra.mode=MULTIRUN", "seed=0,1", "plan=true")
    assert (said.status, said.out.splitlines()[0]) == (0, "plan of 2 runs: 2 new; 2 to train")


def test_a_command_in_a_notebook_leaves_the_process_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["notebook", "-f", "kernel.json"])
    argv, environment = sys.argv, dict(os.environ)
    uri = "tracking.uri=http://me:secret@127.0.0.1:1"
    with as_before():
        assert main([*place.words, "plan=true", uri]) == 0
    assert sys.argv is argv
    assert dict(os.environ) == environment
    assert argv == ["notebook", "-f", "kernel.json"]
