"""The limits of a comparison: seeds that are missing, and references that were not trained."""

import dataclasses

from pipeline.report.prose import limits
from tests.support import factory


def test_more_runs_are_those_of_all_data_sets_that_the_command_trains(of_runs):
    jobs = [
        factory.job(name, 16, dataset=data, validation=9) for name in ("adam", "sgd") for data in ("mnist", "digits")
    ]
    evidence = of_runs([factory.finished(job) for job in jobs], "runs")
    for question in evidence.comparisons:
        assert limits.more_seeds(evidence, question) == [
            "It takes 10 seeds to explore these differences. This command trains 36 more runs:",
            "python -m pipeline.seeds runs",
        ]


def test_a_reference_is_written_as_a_person_types_it(of_runs):
    jobs = [factory.job("adam", 16, validation=9) for _ in range(2)]
    jobs = [
        dataclasses.replace(job, training=dataclasses.replace(job.training, clip_norm=norm))
        for job, norm in zip(jobs, (0.5, 1.0), strict=True)
    ]
    [analysis] = of_runs([factory.finished(job) for job in jobs]).analyses.values()
    said = "training.clip_norm: the declared reference null was not trained; 0.5 replaces it."
    assert said in limits.limits(analysis)
