"""Estimates in a plan: training time, the number of affordable seeds, and why stored runs do not count."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import published
from pipeline.config.run_config import RunConfig
from pipeline.statistics.published import Row
from pipeline.storage.store import RunStore
from pipeline.sweep import changes, estimate
from tests.support.factory import make_job, seeded
from tests.support.factory import stored as result


def work(**changes: Any) -> float:
    return estimate.work(make_job(**({"width": 512, "batch_size": 128} | changes)), 60_000, 784)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"width": 1024}, 2),
        ({"batch_size": 1}, 8.5),  # measured on MNIST with rmsprop: 7.0
        ({"batch_size": 1024}, 0.9),
    ],
    ids=str,
)
def test_it_grows_with(changes: dict[str, Any], factor: float) -> None:
    assert work(**changes) / work() == pytest.approx(factor, rel=0.1)


# --- why stored runs do not count


class New:
    """The attributes of a planned run that `why_new` reads."""

    def __init__(self, job: RunConfig, **identity: Any) -> None:
        self.job, self.identity = job, {**result().identity, **identity}


@pytest.mark.parametrize(
    ("identity", "sources", "why"),
    [
        ({"source": "0" * 64}, {"models/dense.py": "0" * 64}, "pipeline/models/dense.py"),
        ({"source": "0" * 64}, {"data/gone.py": "0" * 64}, "pipeline/data/gone.py"),
        ({"data": "0" * 64}, {}, "the data of digits"),
        ({"numerics": {"backend": "jax", "xla": True}}, {}, "backend: tensorflow then, jax now"),
        ({}, {}, "the configuration has other fields"),
    ],
)
def test_a_plan_says_why_stored_runs_do_not_count(
    identity: dict[str, Any], sources: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = result(sources={"data/idx.py": "1" * 64})
    monkeypatch.setattr(changes.identity, "changed_sources", lambda *_: list(sources))
    other = seeded(5)
    said = estimate.why_new([New(then.job, **identity), New(other.job)], [then])  # type: ignore[list-item]
    assert said == [f"1 of these is stored but cannot count, since this has changed: {why}"]


# --- the number of seeds that the available time allows


@pytest.mark.usefixtures("hydra_as_before")
def test_seeds_are_as_many_as_there_is_time_for(
    processed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate.History, "sweep_seconds", lambda _, new: 10.0 * len(new))
    row = Row("x", "source", ("experiment=book", "dataset=digits"), "test accuracy", low=0, high=1)
    store = RunStore(tmp_path / "runs")
    some, _ = published.planned(row, str(processed), 10)
    assert [run.job.seed for run in some] == list(range(10))
    assert estimate.affordable(some, 10, 1000, store) == (10, 100.0)
    assert estimate.affordable(some, 10, 55, store) == (5, 50.0)
    assert estimate.affordable(some, 10, 25, store) == (0, 30.0)
