"""Training a run again: what is checked, where two trainings first differ, and each of the five verdicts."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import reproduce
from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays
from pipeline.storage import identity
from pipeline.storage.divergence import first_divergence
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from pipeline.sweep import reproduction
from pipeline.sweep.reproduction import Verdict
from pipeline.training.outcome import Run
from pipeline.training.result import DIVERGED, PRUNED, RunResult
from tests.support.formula import installed
from tests.unit.training.command import Place

Again = Callable[..., tuple[int, str]]
Changed = Callable[..., Path]
SWEEP = ["-m", "optimizer=sgd,adam", "model.width=4", "seed=0,1,2", "training.epochs=2"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> Iterator[Place]:
    """A sweep computed from a formula. That real training repeats every bit is tested in test_train.py."""
    place = Place(tmp_path_factory.mktemp("project"), processed)
    with pytest.MonkeyPatch.context() as patch:
        installed(patch)
        assert place.train(*SWEEP).status == 0
        yield place


@pytest.fixture
def again(swept: Place, capsys: pytest.CaptureFixture[str]) -> Again:
    """Runs `python -m pipeline.reproduce …` on the sweep's runs and returns its exit status and output."""

    def run(*words: str, runs: Path | None = None) -> tuple[int, str]:
        places = [f"runs={runs or swept.root / 'runs'}", f"data={swept.processed}", "tracking=none"]
        status = reproduce.main([*words, *places])
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def changed(swept: Place, tmp_path: Path) -> Changed:
    """Makes a store that holds the first run of the sweep with a changed record."""

    def change(**changes: object) -> Path:
        store = RunStore(tmp_path / "changed")
        run = dataclasses.replace(swept.runs[0], **changes)  # type: ignore[arg-type]
        store.write(dataclasses.replace(run, key=identity.key_of(run.job, run.identity)))
        return store.root

    return change


# --- the five verdicts


def test_the_same_bits_are_identical(swept: Place, again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    run = swept.runs[3]
    monkeypatch.chdir(swept.root)
    for word in (run.key, run.key[:10], run.name, f"runs/{run.key}"):
        status, said = again(word)
        assert status == 0
        assert said.startswith(f"{run.name} ({run.key[:12]}): identical: every bit is the same")


def test_other_bits_without_a_cause_are_a_defect(swept: Place, again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    add_epoch = Run.add_epoch

    def drift(self: Run, running: Sequence[float], curve: Any) -> object:
        loss, accuracy = map(float, running)
        return add_epoch(self, (np.nextafter(loss, 9), accuracy), curve)

    monkeypatch.setattr(Run, "add_epoch", drift)
    status, said = again(swept.runs[0].key)
    assert status == 10
    assert "nothing differs that decides: a defect: epoch 1: running/loss was 0x1." in said


def test_other_bits_of_another_numerics_class_are_held_against_the_seeds(
    swept: Place, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.storage import numerics

    measured = Run.finished_result

    def rounded_otherwise(self: Run, *rest: object) -> RunResult:
        result = measured(self, *rest)  # type: ignore[arg-type]
        result.metrics["test/accuracy"] += 1 / 360
        return result

    monkeypatch.setattr(Run, "finished_result", rounded_otherwise)
    monkeypatch.setattr(numerics, "numerics_class", lambda _: "f" * 64)
    status, said = again(swept.runs[0].key)
    assert status == 11
    assert "numerics class: " in said
    assert "ffffffffffff here" in said
    assert "statistically consistent: test/accuracy was" in said
    assert "two of 3 seeds differ by less than" in said


def test_too_large_a_change_is_inconsistent(swept: Place, again: Again, changed: Changed, digits: Arrays) -> None:
    run = swept.runs[0]
    wrong = (np.asarray(digits.test_labels) + 1) % 10
    metrics = run.metrics | {"test/accuracy": 0.05}
    digests = run.digests | {"predictions": "0" * 64}
    environment = run.environment | {"numerics_class": "e" * 64}
    runs = changed(predictions=wrong.astype(np.uint8), metrics=metrics, digests=digests, environment=environment)
    status, said = again(run.name, runs=runs)
    assert status == 12
    assert "inconsistent: test/accuracy was 0.05" in said
    assert "McNemar" in said


def test_what_needs_other_data_cannot_be_repeated(swept: Place, again: Again, changed: Changed) -> None:
    run = swept.runs[0]
    status, said = again(run.name, runs=changed(identity=run.identity | {"data": "d" * 64}))
    assert status == 13
    assert "cannot be repeated: its data are not here" in said


def test_custom_code_that_is_gone_ends_no_other_run(swept: Place) -> None:
    first, second, *_ = swept.runs
    optimizer = dataclasses.replace(first.job.optimizer, keras_class="my_gone_optimizers.Sgd")
    gone = dataclasses.replace(first, job=dataclasses.replace(first.job, optimizer=optimizer), key="0" * 64)
    found = reproduction.reproduce([gone, second], swept.processed, swept.store)
    assert [each.verdict for each in found] == [Verdict.IMPOSSIBLE, Verdict.IDENTICAL]
    assert "my_gone_optimizers" in found[0].explanation


def test_a_run_that_needs_another_set_up_is_repeated_by_a_command_of_its_own(swept: Place) -> None:
    first, second, *_ = swept.runs
    numerics = second.identity["numerics"] | {"trainer": "reference"}
    other = dataclasses.replace(second, identity=second.identity | {"numerics": numerics}, key="0" * 64)
    found = reproduction.reproduce([first, other], swept.processed, swept.store)
    assert [each.verdict for each in found] == [Verdict.IDENTICAL, Verdict.IMPOSSIBLE]
    assert "cpu tensorflow engine, cpu tensorflow reference; use a command for each" in found[1].explanation


def test_other_code_is_named_with_the_commit_that_has_it(swept: Place, again: Again, changed: Changed) -> None:
    run = swept.runs[0]
    sources = run.sources | {"training/engine.py": "0" * 64, "models/gone.py": "1" * 64}
    runs = changed(sources=sources, identity=run.identity | {"source": identity.digest(sources)})
    status, said = again(run.name, runs=runs)
    assert status == 0, "the bits are the same all the same"
    assert "  code: pipeline/models/gone.py, pipeline/training/engine.py; commit " in said


# --- several runs, and mistakes


def test_a_sample_of_a_sweep(swept: Place, again: Again) -> None:
    status, said = again("--all-of", str(swept.root / "results"), "--sample", "2")
    lines = said.splitlines()
    assert status == 0
    assert lines[0] == "2 of the 6 runs of tests"
    assert len([line for line in lines if line.endswith("): identical")]) == 2
    assert lines[-1] == "2 identical"


def test_pruned_runs_are_left_out(swept: Place, again: Again, changed: Changed) -> None:
    runs = changed(status=PRUNED, predictions=None)
    store = RunStore(runs)
    store.write(swept.runs[1])
    Ledger(store).write(Sweep("searched", store.keys(), id="a"))
    status, said = again("--all-of", "searched", runs=runs)
    assert status == 0
    assert said.startswith("2 of the 2 runs of searched, 1 of which failed or were pruned and are left out\n")
    with pytest.raises(UserError, match="no run was trained to its end"):
        again(swept.runs[0].name, runs=runs)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "expected one RUN, or --all-of SWEEP"),
        (["--all-of", "tests", "--sample", "none"], "--sample=none: expected a whole number from 0 to 10,000,000"),
        (["--sample", "--all-of", "tests"], "--sample: expected a value, got none; see --help"),
        (["--all-of", "nothing"], "nothing: no such sweep in "),
        (["sgd-w5-d1-s0"], "sgd-w5-d1-s0: no such run in "),
        (["tests", "sample=1"], "sample=1: expected KEY=VALUE with one of the keys"),
    ],
)
def test_mistakes(again: Again, words: list[str], expected: str) -> None:
    with pytest.raises(UserError) as refused:
        again(*words)
    assert expected in str(refused.value)


# --- where two trainings first differ


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"digests": {"initial_weights": "0"}}, "the initial weights differ"),
        ({"digests": {"batch_order": "0"}}, "the order of the batches differ"),
        ({"digests": {"final_weights": "0"}}, "the final weights differ"),
        ({"digests": {"predictions": "0"}}, "the predictions differ: 0 of 360 samples"),
        ({"status": DIVERGED, "reason": "loss is nan"}, "the status was finished, is diverged (loss is nan)"),
    ],
)
def test_the_first_divergence(swept: Place, changes: dict[str, object], expected: str | None) -> None:
    then = swept.runs[0]
    whole = {n: {**getattr(then, n), **v} if isinstance(v, dict) else v for n, v in changes.items()}
    assert first_divergence(then, dataclasses.replace(then, **whole)) == expected  # type: ignore[arg-type]
