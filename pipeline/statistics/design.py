"""Which configurations are compared: the declared contrasts, laid over the configurations that there are.

Nothing here looks at a test figure. Where one of several has to be chosen, it is the one of highest mean validation
accuracy; where nothing was held out for validation, nothing is chosen, and what would need a choice is said to be missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise

import pandas as pd

from pipeline.cli.formatting import layers, listed, plural
from pipeline.config.run_config import RunConfig
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS, Declaration
from pipeline.statistics.summary import dotted_columns, once_per_seed, tidy
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

CROSS_ENTROPY = ("categorical_crossentropy", "kl_divergence")
"""Losses in nats, of which the declared sizes are; against one-hot labels the two are equal."""


DECIDES_NUMBERS = ("data", "source", "numerics")
"""Parts of a run's identity besides its RunConfig. Runs that differ in one are no pair, though they share a seed."""


def origin(result: RunResult, *parts: str) -> str:
    """What decided the run's numbers besides its RunConfig, as a text; of all parts where none is named."""
    return json.dumps([result.identity.get(part) for part in parts or DECIDES_NUMBERS], sort_keys=True)


def with_identity(runs: pd.DataFrame, results: Sequence[RunResult]) -> pd.DataFrame:
    """`runs` with two columns more: `loss`, its name, and `identity`, what decided its numbers besides its RunConfig, as a text."""
    known = {result.key: origin(result) for result in results}
    losses = {result.key: result.job.training.loss for result in results}
    return runs.assign(identity=runs["key"].map(known).fillna(""), loss=runs["key"].map(losses))


@lru_cache(maxsize=8192)
def configuration_of(job: RunConfig) -> str:
    """The id of its configuration, which is a third of a millisecond's work and asked for again and again."""
    return job.configuration


def runs_of(results: Sequence[RunResult]) -> pd.DataFrame:
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
    table["setting"] = [_joined(values) for values in table[["epochs", *others]].itertuples(index=False)]
    table["label"] = _labels(table, dotted)
    return table


def _joined(values: tuple[object, ...]) -> str:
    return "; ".join(map(str, values))


def _labels(table: pd.DataFrame, dotted: list[str]) -> pd.Series:
    """`adam, width 512`, with the hyper-parameters that it takes to tell it from its like."""
    plain = table["optimizer"] + ", " + table["hidden"].map(layers)
    labels = plain.copy()
    for _, alike in table.groupby([table["dataset"], plain], sort=False):
        if len(alike) < 2:
            continue
        for configuration in map(str, alike.index):
            labels[configuration] = plain[configuration] + _differing(alike, ["epochs", *dotted], configuration)
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


@dataclass(frozen=True)
class Unchosen:
    """Where a declared contrast would need a choice, and there is no validation accuracy to choose by."""

    declared: str
    dataset: str
    at: tuple[str, ...]


@dataclass
class Design:
    contrasts: list[Contrast] = field(default_factory=list)
    comparisons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many comparisons Holm's correction counts, by data set and declared contrast.

    Each contrast counts for all the pairs that it was chosen from. The best of k optimizers stands in k − 1 contrasts, but
    it was the same seeds that made it the best, and k (k − 1) / 2 pairs could have been the ones that are tested. Counting
    k − 1 only, simulated sweeps without any difference claim one in up to 11 % instead of 5 %.
    """
    unchosen: list[Unchosen] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Declared contrasts of which no configurations form a pair."""


def design(table: pd.DataFrame, declared: Declaration) -> Design:
    """The declared contrasts among `table`, as `configurations` gives it."""
    found = Design()
    for name in declared.contrasts:
        lay = {OPTIMIZERS: _optimizers, WIDTHS: _widths}[name]
        for dataset, group in table.groupby("dataset", sort=False):
            lay(str(dataset), group, declared, found)
        formed = {contrast.declared for contrast in found.contrasts} | {lacking.declared for lacking in found.unchosen}
        if name not in formed:
            found.absent.append(name)
    return found


def _optimizers(dataset: str, group: pd.DataFrame, declared: Declaration, found: Design) -> None:
    unchosen = []
    for (hidden, _), stratum in group.groupby(["hidden", "setting"], sort=False):
        candidates = [rows for _, rows in stratum.groupby("optimizer", sort=False)]
        if len(candidates) < 2:
            continue
        at = layers(str(hidden)) + _differing_setting(group, stratum)
        chosen = [chosen_of(rows, declared) for rows in candidates]
        known = [configuration for configuration in chosen if configuration is not None]
        best = chosen_of(stratum.loc[known], declared) if len(known) == len(chosen) else None
        if best is None or stratum.loc[best, "n"] == 0:
            unchosen.append(at)
            continue
        found.comparisons[dataset, OPTIMIZERS] += sum(len(a) * len(b) for a, b in combinations(candidates, 2))
        found.contrasts += [Contrast(OPTIMIZERS, dataset, at, a, best) for a in known if a != best]
    if unchosen:
        found.unchosen.append(Unchosen(OPTIMIZERS, dataset, tuple(unchosen)))


def _widths(dataset: str, group: pd.DataFrame, declared: Declaration, found: Design) -> None:
    even = group[group["width"].notna()]
    unchosen = []
    for (optimizer, depth, _), stratum in even.groupby(["optimizer", "depth", "setting"], sort=False):
        candidates = [rows for _, rows in stratum.groupby("width", sort=True)]
        chosen = [chosen_of(rows, declared) for rows in candidates]
        deep = f", {plural(int(str(depth)), 'layer')}" if even["depth"].nunique() > 1 else ""
        at = f"{optimizer}{deep}{_differing_setting(even, stratum)}"
        for (narrow, wide), (fewer, more) in zip(pairwise(chosen), pairwise(candidates), strict=True):
            if narrow is None or wide is None:
                unchosen.append(at)
                continue
            found.comparisons[dataset, WIDTHS] += len(fewer) * len(more)
            found.contrasts.append(Contrast(WIDTHS, dataset, at, wide, narrow))
    if unchosen:
        found.unchosen.append(Unchosen(WIDTHS, dataset, tuple(dict.fromkeys(unchosen))))


def _differing_setting(group: pd.DataFrame, stratum: pd.DataFrame) -> str:
    """The settings of a stratum that differ among the group's strata."""
    columns = ["epochs", *(name for name in dotted_columns(group) if not name.startswith("optimizer."))]
    return _differing(group, columns, str(stratum.index[0]))


def _differing(group: pd.DataFrame, columns: list[str], configuration: str) -> str:
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


def main_dataset(table: pd.DataFrame) -> pd.DataFrame:
    """The configurations that finished, of the data set that has most of them."""
    finished = table[table["n"] > 0]
    most = finished["dataset"].mode()
    return finished[finished["dataset"].isin(most[:1])]


def best_of(table: pd.DataFrame, declared: Declaration) -> str | None:
    """Id of the configuration of highest mean validation accuracy; None where there is nothing to choose by."""
    main = main_dataset(table)
    return chosen_of(main, declared) if len(main) and main["validation"].notna().any() else None


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
