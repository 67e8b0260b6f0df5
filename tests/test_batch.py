"""What a command does about runs whose stack did not fit, and about those that another launcher runs one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import batch, planned, training
from pipeline.config.job import Job
from pipeline.results import identity
from tests.results.test_store import result
from tests.training.command import Place, Said, command

FIGURES = dict.fromkeys(
    ("best/val_accuracy", "train/accuracy", "test/accuracy", "overfitting_gap/accuracy", "time/train_s"), 0.5
)


@pytest.fixture
def place(tmp_path: Path, processed: Path) -> Place:
    return Place(tmp_path, processed)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were trained, by a stacked engine whose memory holds stacks of two only."""
    names: list[str] = []

    def train(jobs: Sequence[Job], *_: Any) -> Iterator[training.Done]:
        for index, job in enumerate(jobs):
            names.append(job.name)
            made = result(job=job, figures=FIGURES)
            made.identity = {"numerics": {"stack": 2}}
            yield training.Done(index, made)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(batch.devices, "start", lambda device: None)
    monkeypatch.setattr(planned.numerics, "numerics_class", lambda device: "c" * 64)
    return names


def sweep(place: Place, *words: str) -> Said:
    jax = ("device.backend=jax", "optimizer=adam", "model.width=4", "question=tests")
    return command("-m", *place.words, *jax, "seed=1,1,2", *words)


def test_halved_stacks_are_found_again_by_who_asks_for_the_whole(place: Place, trained: list[str]) -> None:
    assert sweep(place, "device.stack=8").status == 0
    assert sorted(trained) == ["adam-w4-d1-s1", "adam-w4-d1-s2"], "what stands twice is trained once"
    assert {run.identity["numerics"]["stack"] for run in place.store} == {2}
    again = sweep(place, "device.stack=8")
    assert again.out.splitlines()[0] == "3 runs: 3 finished; nothing to train"
    assert len(trained) == 2


def test_and_not_by_who_asks_for_another_one(place: Place, trained: list[str]) -> None:
    sweep(place, "device.stack=8")
    assert "3 runs: 3 new; 2 to train" in sweep(place, "device.stack=4").out
    assert "3 runs: 3 finished" in sweep(place, "device.stack=2").out
    assert len(trained) == 4


def test_commit_and_edits_are_noted_before_a_run_trains(
    place: Place, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that names a commit that came while it trained was not made of it."""
    before, after = "b" * 40, "a" * 40
    now = [before]
    real, train = identity._git, training.train
    monkeypatch.setattr(identity, "_git", lambda *words: now[0] if words == ("rev-parse", "HEAD") else real(*words))

    def committed(*given: Any) -> Iterator[Any]:
        now[0] = after
        yield from train(*given)

    monkeypatch.setattr(training, "train", committed)
    identity.environment.cache_clear()
    try:
        words = ["device.backend=jax", "device.stack=2", "optimizer=adam", "question=tests"]
        assert command(*place.words, *words).status == 0
    finally:
        identity.environment.cache_clear()
    [run] = place.store
    assert run.environment["git_commit"] == before


def test_another_launcher_trains_no_finished_run_again(place: Place, trained: list[str]) -> None:
    assert sweep(place).status == 0
    said = sweep(place, "hydra/launcher=basic")
    assert said.status == 0, said.err
    assert len(trained) == 2
