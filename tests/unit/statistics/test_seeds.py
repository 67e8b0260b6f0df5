"""Which configurations lack which seeds."""

from pipeline.statistics.analysis import analysis
from pipeline.statistics.seeds import more_seeds
from pipeline.training.result import FAILED
from tests.support import factory


def missing(results, declared):
    """Return the number of seeds aimed at, and the missing seeds by optimizer and width."""
    names = {run.job.configuration: (run.job.optimizer.name, run.job.width) for run in results}
    found = more_seeds(analysis(results, declared), results)
    return found and (found.seeds, {names[name]: [*seeds] for name, seeds in found.missing.items()})


def test_each_configuration_gets_the_seeds_to_explore_though_they_are_no_grid(declared):
    seeds = {("sgd", 16): (0, 1, 2), ("sgd", 64): (0, 1), ("adam", 64): range(10)}
    jobs = [factory.job(*name, seed) for name, own in seeds.items() for seed in own]
    results = [*map(factory.finished, jobs), factory.lost(factory.job("sgd", 64, 2), FAILED, "out of memory")]
    assert missing(results, declared) == (10, {("sgd", 16): [*range(3, 10)], ("sgd", 64): [*range(2, 10)]})
    assert missing(results[:3], declared) is None, "one configuration is no comparison"


def test_explored_contrasts_get_the_seeds_to_confirm_if_these_would_decide(declared):
    """adam and nadam hardly differ; sgd is far below both."""
    shift = {"sgd": -0.05, "adam": 0.0, "nadam": 0.0002}
    results = [
        factory.finished(
            factory.job(name, seed=seed, validation=10_000),
            test=0.95 + own + 0.0015 * (-1) ** (seed + len(name)),
            gap=0.01,
        )
        for name, own in shift.items()
        for seed in range(10)
    ]
    undecided = analysis(results, declared).contrasts.query("0 < more_seeds < inf")
    names = {name.partition(",")[0] for side in ("a", "b") for name in undecided[side]}
    assert set(undecided["more_seeds"]) == {20}
    assert missing(results, declared) == (30, {(name, 512): [*range(10, 30)] for name in shift if name in names})
    found = more_seeds(analysis(results, declared), results)
    assert (found.decides, found.runs) == (len(undecided), 20 * len(names))
