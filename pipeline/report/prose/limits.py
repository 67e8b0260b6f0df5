"""What runs cannot say, and why: a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.cli import console
from pipeline.cli.formatting import listed, plural
from pipeline.report.evidence import Evidence
from pipeline.report.prose.verdicts import note
from pipeline.statistics import summary
from pipeline.statistics.analysis import Analysis, Unsampled
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS, Declaration
from pipeline.statistics.design import Design, origin
from pipeline.training.result import DIVERGED, FAILED, RunResult

PARTS = {"data": "data", "source": "training code", "numerics": "devices or precisions"}
"""Parts of a run's identity (`design.DECIDES_NUMBERS`) in words."""

ENVIRONMENT = ("python", "tensorflow", "jax", "keras", "numpy", "lock", "cpu")
"""What of a run's environment a comparison should share."""


def limits(analysis: Analysis) -> list[str]:
    """What stands in the way of a comparison, what was declared and cannot be contrasted, and what could not be computed."""
    table = analysis.configurations
    found = of_runs(table, analysis.results, analysis.declared)
    if table["n"].sum() == 0:
        return found
    return [*found, *of_design(analysis.design, table), *_unpaired(analysis), *_unsampled(analysis.unsampled)]


def of_runs(table: pd.DataFrame, results: Sequence[RunResult], declared: Declaration) -> list[str]:
    """What stands in the way of reading these runs as one comparison; a sentence each."""
    said = []
    total = table[["n", DIVERGED, FAILED]].to_numpy().sum()
    lost = {status: int(table[status].sum()) for status in (DIVERGED, FAILED)}
    if table["n"].sum() == 0:
        told = listed([f"{count} {status}" for status, count in lost.items() if count]) or "there are none"
        return [f"No run finished ({told}): nothing can be compared."]
    if any(lost.values()):
        some = table[table[[DIVERGED, FAILED]].sum(axis=1) > 0]
        told = listed([f"{count} {status}" for status, count in lost.items() if count])
        named = listed([f"{row['label']} ({row['n']} finished)" for _, row in some.head(3).iterrows()])
        more = f" and {plural(len(some) - 3, 'more configuration')}" if len(some) > 3 else ""
        said.append(f"{told} of {int(total)} runs did not finish, of {named}{more}: figures are of the seeds that did.")
    finished = table[table["n"] > 0]
    fewest = int(finished["n"].min())
    if fewest < declared.seeds_to_explore:
        said.append(
            f"Some configurations have {plural(fewest, 'seed')} only: it takes {declared.seeds_to_explore} to explore a difference "
            f"and {declared.seeds_to_confirm} to confirm one, fewer are a smoke test and carry no claim."
        )
    if len(finished) == 1:
        said.append("One configuration finished: its figures can be given, and nothing compared.")
    if finished["validation"].isna().all():
        said.append("No validation split was held out: nothing is chosen, and no best named.")
    if table["dataset"].nunique() > 1:
        said.append(f"The runs are of {listed(sorted(set(table['dataset'])))}: each data set is compared by itself.")
    if finished["epochs"].eq(1).all():
        said.append("With one epoch each there is no curve: no onset, and no gap at matched training loss.")
    by_dataset: dict[str, list[RunResult]] = {}
    for result in results:
        by_dataset.setdefault(result.job.dataset.name, []).append(result)
    return said + [line for name, group in by_dataset.items() for line in mixed(group, f"The runs on {name}")]


def of_design(design: Design, table: pd.DataFrame) -> list[str]:
    """What was declared and cannot be contrasted."""
    said = [f"{_capital(name)}: {_lacking(name, table)}, so there is nothing to contrast." for name in design.absent]
    for found in design.unchosen:
        what = {
            OPTIMIZERS: f"at {'; '.join(found.at)}, there is no validation accuracy to choose the best by, and the test split is "
            "not for choosing.",
            WIDTHS: f"{'; '.join(found.at)} has several configurations of one width and no validation accuracy to choose one by.",
        }
        said.append(f"{_capital(found.declared)}: on {found.dataset}, {what[found.declared]}")
    return said


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _lacking(name: str, table: pd.DataFrame) -> str:
    if len(table) == 1:
        return "there is one configuration only"
    if name == OPTIMIZERS:
        return "no two optimizers share a width and all other settings"
    return "no optimizer has two widths with all other settings equal"


def _unpaired(analysis: Analysis) -> list[str]:
    """Contrasts of which fewer than two seeds are pairs."""
    rows = analysis.contrasts.drop_duplicates(["contrast", "a_configuration", "b_configuration"])
    rows = rows[rows["n"] < 2]
    if rows.empty:
        return []
    first = rows.iloc[0]
    named = f"{first['a']} and {first['b']} ({note(first, analysis.configurations)})"
    others = f", nor of {plural(len(rows) - 1, 'contrast')} more" if len(rows) > 1 else ""
    return [f"Seeds do not pair the runs of {named}{others}: there is no test and no interval."]


def _unsampled(why: Unsampled | None) -> list[str]:
    so = "nothing is said of the uncertainty over images."
    return {
        None: [],
        Unsampled.LABELS: [f"The labels of the test images are not at hand: {so}"],
        Unsampled.PREDICTIONS: [f"No run has predictions of these test images: {so}"],
    }[why]


def mixed(results: Sequence[RunResult], who: str) -> list[str]:
    """A sentence for each thing that the finished ones of these runs do not share. `who`: `The runs of sweep on mnist`."""
    finished = [result for result in results if result.finished]
    said = [
        f"{who} come from different {words}: a mean is over all of them, and only runs that share it are paired."
        for part, words in PARTS.items()
        if len({origin(result, part) for result in finished}) > 1
    ]
    different = different_environments([result.environment for result in finished])
    return [*said, f"{who} come from {different}."] if different else said


def different_environments(environments: Sequence[Mapping[str, str]]) -> str:
    """In words, what of their machines and libraries is not the same for all runs; empty where all is."""
    classes = Counter(known.get("numerics_class", "unknown") for known in environments)
    if len(classes) > 1:
        shown = ", ".join(f"{count} of {name[:8]}" for name, count in classes.most_common())
        return f"machines that compute differently ({len(classes)} numerics classes: {shown}): their bits are not comparable"
    parts = [name for name in ENVIRONMENT if len({known.get(name) for known in environments}) > 1]
    if not parts:
        return ""
    told = []
    for name in parts:
        values = sorted({str(known.get(name, "unknown")) for known in environments})
        told.append(f"{name.replace('lock', 'requirements.lock')} {' and '.join(value[:16] for value in values[:3])}")
    return f"different environments ({'; '.join(told)}), which compute alike as far as is known"


def nothing_finished(evidence: Evidence) -> str:
    """Why no run of the folders can be compared."""
    places = ", ".join(console.in_checkout(source.folder) for source in evidence.sources)
    if others := [line for source in evidence.sources for line in source.others]:
        runs = "the 1 run is" if len(others) == 1 else f"all {len(others):,} runs are"
        return f"{places}: {runs} of another release of this project ({others[0]}); compare them with that release"
    return f"{places}: no finished run to compare; train first: dvc repro, or python -m pipeline.train"


def notes(evidence: Evidence) -> list[str]:
    """What stands in the way of reading all runs as one comparison."""
    said = []
    if others := [line for source in evidence.sources for line in source.others]:
        were = "1 run was" if len(others) == 1 else f"{len(others):,} runs were"
        said.append(f"{were} written by another release of this project and left out ({others[0]}).")
    repeated = len(evidence.runs) - len(summary.once_per_seed(evidence.runs))
    if repeated:
        again = "run repeats" if repeated == 1 else "runs repeat"
        said.append(
            f"{repeated} {again} a configuration and a seed of another; the latest of each counts in the means."
        )
    for (dataset, experiment), keys in evidence.runs.groupby(["dataset", "experiment"], sort=False)["key"]:
        known = set(keys)
        results = [run for run in evidence.experiments[str(experiment)] if run.key in known]
        said += mixed(results, f"The runs of {experiment} on {dataset}")
    return said
