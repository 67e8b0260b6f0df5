"""The command that trains the seeds that would decide composes to exactly the runs that are missing."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Iterator

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from pipeline.config.compose import composed, to_job
from pipeline.config.run_config import RunConfig
from pipeline.report.more_seeds import MoreSeeds, more_seeds
from pipeline.statistics import declaration
from pipeline.statistics.analysis import analysis
from tests.support import factory


def jobs_of(words: list[str]) -> list[RunConfig]:
    """The jobs of a multirun. Each configuration is composed once, for all seeds: that is what takes the time."""
    choices = {each.key_or_group: [*_values(each)] for each in map(OverridesParser.create().parse_override, words)}
    seeds = [int(value) for value in choices.pop("seed", ["0"])]
    chosen = [
        [f"{key}={value}" for key, value in zip(choices, values, strict=True)]
        for values in itertools.product(*choices.values())
    ]
    return [dataclasses.replace(to_job(values), seed=seed) for values in composed(chosen) for seed in seeds]


def _values(override: Override) -> Iterator[str]:
    if override.is_sweep_override():
        return override.sweep_string_iterator()
    return iter([override.get_value_element_as_str()])


def asked(results) -> MoreSeeds | None:
    return more_seeds(analysis(results, declaration.load()), results)


@pytest.mark.parametrize(
    "sweep",
    [
        ["optimizer=sgd,adam", "model.width=16,64"],
        ["model=dense,residual,logistic", "optimizer=adam", "training.metrics=[macro_f1]"],
        ["model.hidden=[300],[300,100]", "dataset=digits", "training.schedule=constant,cosine"],
        ["model.dropout=0,0.2,0.5", "dataset.standardize=true,false", "dataset.train_size=2000"],
        ["model=convolutional", "model.filters=[8],[8,16]", "optimizer.learning_rate=0.1,0.00001"],
        ["model.width=16,64", "model.depth=1,2"],
    ],
)
def test_it_composes_to_exactly_the_missing_runs(sweep):
    results = [factory.finished(job) for job in jobs_of([*sweep, "seed=0,1,2"])]
    found = asked(results)
    assert found is not None
    program, words = shlex.split(found.command)[:4], shlex.split(found.command)[4:]
    assert program == ["python", "-m", "pipeline.train", "-m"]
    trained = {result.job for result in results}
    assert {*jobs_of(words)} == {*jobs_of([*sweep, "seed=range(10)"])} - trained
    assert found.runs == len(jobs_of(words))


def noisy(jobs):
    """Runs of which adam and nadam differ by chance alone, and sgd by much."""
    shift = {"sgd": -0.05, "adam": 0.0, "nadam": 0.0002}
    return [
        factory.finished(
            job, test=0.95 + shift[job.optimizer.name] + 0.0015 * (-1) ** (job.seed + len(job.optimizer.name)), gap=0.01
        )
        for job in jobs
    ]


def test_explored_contrasts_get_the_seeds_to_confirm_if_these_would_decide():
    words = ["optimizer=adam,nadam,sgd", "seed=range(10)"]
    results = noisy(jobs_of(words))
    undecided = analysis(results, declaration.load()).contrasts.query("0 < more_seeds < inf")
    assert set(undecided["more_seeds"]) == {20}
    found = asked(results)
    assert "30 seeds would decide" in found.reason
    assert found.words[-1] == "seed=range(10,30)"
    names = {name.partition(",")[0] for side in ("a", "b") for name in undecided[side]}
    assert {job.optimizer.name for job in jobs_of(list(found.words))} == names


def test_configurations_that_are_no_grid_have_no_command():
    jobs = jobs_of(["optimizer=sgd,adam", "model.width=16,64"])[:3]
    found = asked([factory.finished(job) for job in jobs])
    assert found is not None
    assert found.words == ()
    assert "27 more runs" in found.sentence


def test_nothing_to_compare_has_no_seeds_that_decide():
    assert asked([factory.finished(job) for job in jobs_of(["optimizer=sgd", "seed=0,1"])]) is None
