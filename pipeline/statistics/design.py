"""Which configurations are compared: the declared contrasts, laid over the configurations that there are.

Nothing here looks at a test figure. Where one of several has to be chosen, it is the one of highest mean validation
accuracy; where nothing was held out for validation, nothing is chosen, and what would need a choice is said to be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise

import pandas as pd

from pipeline.config.job import Job
from pipeline.results.result import DIVERGED, FAILED, FINISHED, Result
from pipeline.statistics import mixed
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS, Declaration
from pipeline.statistics.summary import dotted_columns, once_per_seed, tidy
from pipeline.statistics.wording import layers, listed, plural

CROSS_ENTROPY = ("categorical_crossentropy", "kl_divergence")
"""Losses in nats, of which the declared sizes are; against one-hot labels the two are equal."""


def with_identity(runs: pd.DataFrame, results: Sequence[Result]) -> pd.DataFrame:
    """`runs` with two columns more: `loss`, its name, and `identity`, what decided its numbers besides its Job, as a text."""
    known = {result.key: mixed.origin(result) for result in results}
    losses = {result.key: result.job.training.loss for result in results}
    return runs.assign(identity=runs["key"].map(known).fillna(""), loss=runs["key"].map(losses))


@lru_cache(maxsize=8192)
def configuration_of(job: Job) -> str:
    """The id of its configuration, which is a third of a millisecond's work and asked for again and again."""
    return job.configuration


def runs_of(results: Sequence[Result]) -> pd.DataFrame:
    """A row per run of one comparison, each configuration and seed once."""
    return once_per_seed(with_identity(tidy({"": list(results)}), results)).reset_index(drop=True)


def completed(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with the columns that `reports/runs.csv` leaves out: its configurations are told apart by name alone.

    Losses are taken for cross-entropies. Raises ValueError where the runs are of more than one experiment.
    """
    # A column of single widths is numbers to who reads the file.
    runs = runs.reset_index(drop=True).astype({"hidden": str, "width": "Int64", "depth": "Int64"})
    if "experiment" in runs and runs["experiment"].nunique() > 1:
        raise ValueError(f"runs of {listed(sorted(set(runs['experiment'])))}: expected those of one experiment")
    plain = runs["name"].astype(str).str.replace(r"-s\d+$", "", regex=True)
    absent: dict[str, str | pd.Series] = {"started": "", "identity": "", "loss": CROSS_ENTROPY[0], "experiment": ""}
    absent["configuration"] = runs["dataset"].astype(str) + " " + plain
    for name, value in absent.items():
        if name not in runs:
            runs[name] = value
    return once_per_seed(runs)


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration, by its id: what it is, how many of its runs ended how, its mean validation accuracy.

    `setting` is all that tells it from others besides data set, optimizer and layers: runs that differ there are never
    contrasted. `label` is what a person calls it.
    """
    groups = runs.groupby("configuration", sort=False)
    dotted = dotted_columns(runs)
    table = groups[["dataset", "optimizer", "hidden", "width", "depth", "epochs", "loss", *dotted]].first()
    for column, status in {"n": FINISHED, "diverged": DIVERGED, "failed": FAILED}.items():
        table[column] = runs["status"].eq(status).groupby(runs["configuration"], sort=False).sum()
    finished = runs[runs["status"].eq(FINISHED)]
    table["validation"] = finished.groupby("configuration")["best_val_accuracy"].mean().reindex(table.index)
    others = [column for column in dotted if not column.startswith("optimizer.")]
    table["setting"] = [_in_words(values) for values in table[["epochs", *others]].itertuples(index=False)]
    table["label"] = _labels(table, dotted)
    return table


def _in_words(values: tuple[object, ...]) -> str:
    return "; ".join(map(str, values))


def _labels(table: pd.DataFrame, dotted: list[str]) -> pd.Series:
    """`adam, width 512`, with the hyper-parameters that it takes to tell it from its like."""
    plain = table["optimizer"] + ", " + table["hidden"].map(layers)
    labels = plain.copy()
    for _, alike in table.groupby([table["dataset"], plain], sort=False):
        if len(alike) < 2:
            continue
        for configuration in map(str, alike.index):
            labels[configuration] = plain[configuration] + _apart(alike, ["epochs", *dotted], configuration)
    return labels


@dataclass(frozen=True)
class Contrast:
    """Two configurations, by id, of which A minus B is looked at."""

    declared: str
    dataset: str
    at: str
    """What the two share, in words: `width 512` or `adam`."""
    a: str
    b: str


@dataclass
class Design:
    contrasts: list[Contrast] = field(default_factory=list)
    comparisons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many comparisons Holm's correction counts, by data set and declared contrast.

    Each contrast counts for all the pairs that it was chosen from. The best of k optimizers stands in k − 1 contrasts, but
    it was the same seeds that made it the best, and k (k − 1) / 2 pairs could have been the ones that are tested. Counting
    k − 1 only, simulated sweeps without any difference claim one in up to 11 % instead of 5 %.
    """
    limits: list[str] = field(default_factory=list)
    """What was declared and cannot be compared, and why."""


def design(table: pd.DataFrame, declared: Declaration) -> Design:
    """The declared contrasts among `table`, as `configurations` gives it."""
    found = Design()
    for name in declared.contrasts:
        before = len(found.contrasts)
        lay = {OPTIMIZERS: _optimizers, WIDTHS: _widths}[name]
        for dataset, group in table.groupby("dataset", sort=False):
            lay(str(dataset), group, declared, found)
        if len(found.contrasts) == before and not any(limit.startswith(_named(name)) for limit in found.limits):
            found.limits.append(f"{_named(name)}: {_lacking(name, table)}, so there is nothing to contrast.")
    return found


def _named(contrast: str) -> str:
    return contrast[0].upper() + contrast[1:]


def _lacking(name: str, table: pd.DataFrame) -> str:
    if len(table) == 1:
        return "there is one configuration only"
    if name == OPTIMIZERS:
        return "no two optimizers share a width and all other settings"
    return "no optimizer has two widths with all other settings equal"


def _optimizers(dataset: str, group: pd.DataFrame, declared: Declaration, found: Design) -> None:
    unchosen = []
    for (hidden, _), stratum in group.groupby(["hidden", "setting"], sort=False):
        candidates = [rows for _, rows in stratum.groupby("optimizer", sort=False)]
        if len(candidates) < 2:
            continue
        at = layers(str(hidden)) + _setting_apart(group, stratum)
        chosen = [chosen_of(rows, declared) for rows in candidates]
        known = [configuration for configuration in chosen if configuration is not None]
        best = chosen_of(stratum.loc[known], declared) if len(known) == len(chosen) else None
        if best is None or stratum.loc[best, "n"] == 0:
            unchosen.append(at)
            continue
        found.comparisons[dataset, OPTIMIZERS] += sum(len(a) * len(b) for a, b in combinations(candidates, 2))
        found.contrasts += [Contrast(OPTIMIZERS, dataset, at, a, best) for a in known if a != best]
    if unchosen:
        found.limits.append(
            f"{_named(OPTIMIZERS)}: on {dataset}, at {'; '.join(unchosen)}, there is no validation accuracy to choose the "
            "best by, and the test split is not for choosing."
        )


def _widths(dataset: str, group: pd.DataFrame, declared: Declaration, found: Design) -> None:
    even = group[group["width"].notna()]
    unchosen = []
    for (optimizer, depth, _), stratum in even.groupby(["optimizer", "depth", "setting"], sort=False):
        candidates = [rows for _, rows in stratum.groupby("width", sort=True)]
        chosen = [chosen_of(rows, declared) for rows in candidates]
        deep = f", {plural(int(str(depth)), 'layer')}" if even["depth"].nunique() > 1 else ""
        at = f"{optimizer}{deep}{_setting_apart(even, stratum)}"
        for (narrow, wide), (fewer, more) in zip(pairwise(chosen), pairwise(candidates), strict=True):
            if narrow is None or wide is None:
                unchosen.append(at)
                continue
            found.comparisons[dataset, WIDTHS] += len(fewer) * len(more)
            found.contrasts.append(Contrast(WIDTHS, dataset, at, wide, narrow))
    if unchosen:
        found.limits.append(
            f"{_named(WIDTHS)}: on {dataset}, {'; '.join(dict.fromkeys(unchosen))} has several configurations of one width "
            "and no validation accuracy to choose one by."
        )


def _setting_apart(group: pd.DataFrame, stratum: pd.DataFrame) -> str:
    """The settings of a stratum that differ among the group's strata."""
    columns = ["epochs", *(name for name in dotted_columns(group) if not name.startswith("optimizer."))]
    return _apart(group, columns, str(stratum.index[0]))


def _apart(group: pd.DataFrame, columns: list[str], configuration: str) -> str:
    """`, epochs 20, dropout 0.5`: what of `columns` a configuration has and not all of its group."""
    differing = [name for name in columns if group[name].astype(str).nunique() > 1]
    # By its last word: `epochs` and `training.epochs` are one.
    shown = {name.rpartition(".")[2].replace("_", " "): group.at[configuration, name] for name in differing}
    return "".join(f", {name} {value!s}" for name, value in shown.items())


def chosen_of(candidates: pd.DataFrame, declared: Declaration) -> str | None:
    """Id of the candidate of highest mean validation accuracy; None where it is not known.

    A single one needs none, and of those without a finished run the first stands for all. A mean over few seeds is high by
    luck more often: no candidate is chosen with less than half the seeds of the one with most, nor need it have more than
    half of the seeds to explore.
    """
    if len(candidates) == 1 or candidates["n"].max() == 0:
        return str(candidates.index[0])
    enough = candidates[2 * candidates["n"] >= min(declared.seeds_to_explore, candidates["n"].max())]
    known = enough["validation"].dropna()
    return str(known.idxmax()) if len(known) else None


def cells(table: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """One configuration for each optimizer and width of the part of `table` that has most of them.

    A part shares data set, depth and all other settings. Rows are as in `table`.
    """
    even = table[table["width"].notna()]
    parts = [part for _, part in even.groupby(["dataset", "depth", "setting"], sort=False)]
    if not parts:
        return even
    largest = max(parts, key=lambda part: len(part.drop_duplicates(["optimizer", "width"])))
    chosen = [chosen_of(rows, declared) for _, rows in largest.groupby(["optimizer", "width"], sort=False)]
    return largest.loc[[configuration for configuration in chosen if configuration is not None]]


def limits(table: pd.DataFrame, runs: pd.DataFrame, results: Sequence[Result], declared: Declaration) -> list[str]:
    """What stands in the way of reading these runs as one comparison; a sentence each."""
    said = []
    lost = {status: int(table[status].sum()) for status in (DIVERGED, FAILED)}
    if table["n"].sum() == 0:
        told = listed([f"{count} {status}" for status, count in lost.items() if count]) or "there are none"
        return [f"No run finished ({told}): nothing can be compared."]
    if any(lost.values()):
        some = table[table[[DIVERGED, FAILED]].sum(axis=1) > 0]
        told = listed([f"{count} {status}" for status, count in lost.items() if count])
        named = listed([f"{row['label']} ({row['n']} finished)" for _, row in some.head(3).iterrows()])
        more = f" and {plural(len(some) - 3, 'more configuration')}" if len(some) > 3 else ""
        said.append(f"{told} of {len(runs)} runs did not finish, of {named}{more}: figures are of the seeds that did.")
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
    by_dataset: dict[str, list[Result]] = {}
    for result in results:
        by_dataset.setdefault(result.job.dataset.name, []).append(result)
    return said + [line for name, group in by_dataset.items() for line in mixed.sentences(group, f"The runs on {name}")]
