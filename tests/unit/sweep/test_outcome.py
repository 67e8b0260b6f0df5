"""Which run of a sweep is the best, and which weights are kept until that is known."""

import numpy as np
import pytest

from pipeline.sweep.outcome import Outcome, best_of
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.weights import Candidates
from pipeline.training.result import DIVERGED, FINISHED, RunResult
from tests.support.factory import make_job
from tests.unit.training.trainer import device


def outcome(name: str, seed: int, accuracy: float | None, status: str = FINISHED) -> Outcome:
    job = make_job(name, seed=seed)
    metrics = {"train/accuracy": 1.0} | ({} if accuracy is None else {"val/accuracy": accuracy})
    result = RunResult(key=f"{name}{seed}", job=job, status=status, metrics=metrics)
    return Outcome(PlannedRun(job, device(), None, result.key, {}, []), result)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runs", "winner"),
    [
        ([("sgd", 0, 0.9), ("sgd", 1, 0.5), ("adam", 0, 0.8), ("adam", 1, 0.7)], "adam0"),
        ([("sgd", 0, 0.5), ("sgd", 1, 0.9)], "sgd1"),
        ([("sgd", 0, None), ("sgd", 1, None)], "sgd0"),
        ([], None),
    ],
    ids=["best mean, then best seed", "best seed", "nothing to choose by", "nothing"],
)
def test_the_winner(runs: list[tuple[str, int, float | None]], winner: str | None) -> None:
    best = best_of([outcome(*run) for run in runs])
    assert (best.key if best else None) == winner


def test_a_lost_run_does_not_win() -> None:
    best = best_of([outcome("sgd", 0, 0.9, DIVERGED), outcome("adam", 0, 0.5)])
    assert best is not None
    assert best.key == "adam0"


def test_candidates_keep_the_best_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Candidates()
    monkeypatch.setattr(held, "MOST", 20)
    for seed, accuracy in enumerate((0.5, 0.9, 0.7)):
        result = outcome("sgd", seed, accuracy).result
        assert result is not None
        result.weights = {"kernel": np.zeros(10, np.uint8)}
        held.add(result)
    assert [held.get(f"sgd{seed}") is not None for seed in range(3)] == [False, True, True]
