"""Runs of different code: which are paired, and when versions are compared with each other."""

import dataclasses
from pathlib import Path

from pipeline.config.names import names
from pipeline.statistics import analysis, summary, versions
from pipeline.storage.sources import Source
from pipeline.storage.sweeps import Sweep
from tests.support import factory

SEEDS = 12


def source(name: str, code: str, keras: str = "3.15.1", shift: float = 0.0) -> Source:
    runs = [
        factory.finished(factory.job("adam", 64, seed, 10), test=0.9 + 0.001 * (seed % 3) + shift, gap=0.01)
        for seed in range(SEEDS)
    ]
    for run in runs:
        numerics = {**run.identity["numerics"], "keras_version": keras}
        factory.made_otherwise(run, source=code, numerics=numerics)
        run.environment = {"git_commit": "c" * 40}
    return Source(name, (Path(name),), (), runs)


def test_code_is_a_factor_paired_by_seed(declared):
    [joint] = versions.joined([source("old", "a" * 64), source("new", "b" * 64, shift=0.02)])
    assert joint.name == "old and new"
    found = analysis.analysis(joint.results, declared)
    row = found.contrasts.set_index("figure").loc["test_accuracy"]
    assert (row["contrast"], row["n"], row["seeds"], row["unlike"]) == ("code", 10, SEEDS, 0)
    assert row["a"] == "adam, width 64, code bbbbbbbb@cccccccc"
    assert row["b"] == "adam, width 64, code aaaaaaaa@cccccccc"
    assert abs(row["difference"] - 0.02) < 1e-12
    assert not any(reference.replaced for reference in found.design.references)


def test_packages_are_a_version_too():
    [joint] = versions.joined([source("old", "a" * 64, "3.14.1"), source("new", "a" * 64, "3.15.1")])
    codes = {run.job.flat()["code"] for run in joint.results}
    assert codes == {"aaaaaaaa@cccccccc/keras3.14.1", "aaaaaaaa@cccccccc/keras3.15.1"}
    called = set(names(run.job for run in joint.results).values())
    assert len(called) == 2 * SEEDS
    assert "adam-w64-d1-aaaaaaaa@cccccccc/keras3.14.1-s0" in called


def test_runs_of_the_same_code_stay_as_they_are():
    alike = [source("old", "a" * 64), source("new", "a" * 64)]
    assert versions.joined(alike) == alike


def test_sweeps_of_one_question_are_one_comparison():
    early, late = source("q", "a" * 64), source("q (more)", "a" * 64)
    sweep = Sweep("q", [])
    early, late = (dataclasses.replace(each, sweeps=(sweep,)) for each in (early, late))
    first, rest = (
        dataclasses.replace(early, results=early.results[:7]),
        dataclasses.replace(late, results=late.results[5:]),
    )
    [joint] = versions.joined([first, rest])
    assert (joint.name, joint.folders) == ("q", (Path("q"), Path("q (more)")))
    assert [run.job.seed for run in joint.results] == [*range(SEEDS)]
    for run in rest.results:
        factory.made_otherwise(run, data="d" * 64)
    assert versions.joined([first, rest]) == [first, rest], "two results of one run are no further seeds"


def test_a_file_that_only_one_network_has_parts_no_pair():
    ours, theirs = (factory.finished(factory.job("adam", width, 0, 10)) for width in (16, 64))
    ours, theirs = (
        dataclasses.replace(
            factory.made_otherwise(run, source=own * 64),
            sources={"training/engine.py": "1" * 64, f"{own}.py": own * 64},
        )
        for run, own in ((ours, "a"), (theirs, "b"))
    )
    assert summary.tidy({"": [ours, theirs]})["identity"].nunique() == 1
    theirs.sources["training/engine.py"] = "2" * 64
    assert summary.tidy({"": [ours, theirs]})["identity"].nunique() == 2
