"""Limits of the runs: what they cannot show, and why."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.cli import console
from pipeline.cli.formatting import listed, percent, plural
from pipeline.report.evidence import Evidence, Question
from pipeline.statistics import summary
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.design import text_of
from pipeline.statistics.summary import origin, shared_code
from pipeline.training.result import DIVERGED, FAILED, RunResult

PARTS = {"data": "data", "source": "training code", "numerics": "device or precision"}
"""Parts of a run's identity (`summary.DECIDES_NUMBERS`), and how the report names them."""

ENVIRONMENT = ("python", "tensorflow", "jax", "keras", "numpy", "lock", "cpu")
"""Parts of the environment that the runs of a comparison should share."""

LEAK = 0.991
"""MNIST test accuracy that no dense network exceeds without augmentation or test data in training."""


def limits(analysis: Analysis) -> list[str]:
    """The limits of one comparison with at least one finished run."""
    table, declared = analysis.configurations, analysis.declared
    finished = table[table["n"] > 0]
    found = []
    if lost := [f"{count} {status}" for status in (DIVERGED, FAILED) if (count := int(table[status].sum()))]:
        found.append(f"Some runs did not finish ({listed(lost)}): means are over the seeds that did.")
    fewest = int(finished["n"].min())
    if fewest < declared.seeds_to_explore:
        found.append(
            f"Some configurations have only {plural(fewest, 'seed')}. It takes {declared.seeds_to_explore} to explore a difference "
            f"and {declared.seeds_to_confirm} to confirm one; fewer are a smoke test."
        )
    if finished["val_accuracy_mean"].isna().all():
        found.append("No samples were held out for validation: gaps are against the test file, and no best is named.")
    found += [
        f"{reference.factor}: the declared reference {text_of(reference.declared)} was not trained; {text_of(reference.used)} replaces it."
        for reference in analysis.design.references
        if reference.replaced
    ]
    found += [
        f"{factor}: no two configurations agree in all other values, so it is not compared."
        for factor in analysis.design.absent
    ]
    return found


def more_seeds(evidence: Evidence, question: Question) -> list[str]:
    """What more seeds would decide, and the command that trains them; empty if they would decide nothing."""
    if not (more := evidence.more_seeds.get(question)):
        return []
    why = f"It takes {more.seeds} seeds to explore these differences"
    if more.decides:
        of = len(evidence.analyses[question].contrasts)
        why = f"{more.seeds} seeds would decide {plural(more.decides, 'contrast')} of {of:,}"
    folders = map(console.in_checkout, evidence.source(question[1]).folders)
    command = shlex.join(["python", "-m", "pipeline.seeds", *folders])
    runs = sum(own.runs for (_, experiment), own in evidence.more_seeds.items() if experiment == question[1])
    return [f"{why}. This command trains {plural(runs, 'more run')}:", command]


def mixed(results: Sequence[RunResult], who: str) -> list[str]:
    """A sentence for each part of the identity or environment that the finished runs do not share.

    `who` is the subject of each sentence, such as `The runs on mnist (sweep)`.
    """
    finished = [result for result in results if result.finished]
    code = shared_code(finished)
    found = [
        f"{who} differ in {name}: a mean is over all of them, but only runs with the same {name} are paired."
        for part, name in PARTS.items()
        if len({origin(result, part, code=code) for result in finished}) > 1
    ]
    different = different_environments([result.environment for result in finished])
    return [*found, f"{who} come from {different}."] if different else found


def different_environments(environments: Sequence[Mapping[str, str]]) -> str:
    """The differences between the machines and libraries of runs, as a phrase; empty if there are none."""
    classes = Counter(known.get("numerics_class", "unknown") for known in environments)
    if len(classes) > 1:
        shown = ", ".join(f"{count} of {name[:8]}" for name, count in classes.most_common())
        return f"machines that compute differently ({len(classes)} numerics classes: {shown}): their bits are not comparable"
    values = {name: sorted({str(known.get(name, "unknown"))[:16] for known in environments}) for name in ENVIRONMENT}
    found = [
        f"{name.replace('lock', 'requirements.lock')} {listed(own)}" for name, own in values.items() if len(own) > 1
    ]
    return f"different environments ({'; '.join(found)}), which are not known to compute differently" if found else ""


def nothing_finished(evidence: Evidence) -> str:
    """The error message when the folders hold no run that can be compared."""
    places = ", ".join(console.in_checkout(folder) for source in evidence.sources for folder in source.folders)
    if others := [line for source in evidence.sources for line in source.others]:
        runs = "the only run was" if len(others) == 1 else f"all {len(others):,} runs were"
        return f"{places}: {runs} written by another release of this project ({others[0]}); compare with that release"
    return f"{places}: no finished run to compare; train first: dvc repro, or python -m pipeline.train"


def alarm(evidence: Evidence) -> list[str]:
    """A warning about dense networks on MNIST that are too accurate to be true."""
    runs = evidence.finished[evidence.finished["dataset"].eq("mnist") & evidence.finished["test_accuracy"].gt(LEAK)]
    leaks = sorted({*runs.loc[runs["hidden"].str.fullmatch("[0-9x]+"), "name"]})
    if not leaks:
        return []
    named = f"{listed(leaks[:5])}{' and more' if len(leaks) > 5 else ''}"
    why = "A dense network only gets there if it was trained on test images."
    return [f"Leak alarm: {plural(len(leaks), 'run')} above {percent(LEAK, 1)} test accuracy ({named}). {why}"]


def notes(evidence: Evidence) -> list[str]:
    """Warnings about the runs as a whole."""
    found = alarm(evidence)
    if others := [line for source in evidence.sources for line in source.others]:
        were = "1 run was" if len(others) == 1 else f"{len(others):,} runs were"
        found.append(f"{were} written by another release of this project and left out ({others[0]}).")
    if repeated := len(evidence.runs) - len(summary.once_per_seed(evidence.runs)):
        again = "run repeats" if repeated == 1 else "runs repeat"
        found.append(
            f"{repeated} {again} the configuration and seed of another run; only the latest of each counts in the means."
        )
    for dataset, experiment in evidence.questions:
        found += mixed(evidence.results_of((dataset, experiment)), f"The runs on {dataset} ({experiment})")
    return found
