"""A verdict on a contrast in a sentence, and what its row of contrasts.csv notes."""

from __future__ import annotations

import math

import pandas as pd

from pipeline.cli.formatting import p_value, plural
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.figures import FIGURES
from pipeline.statistics.verdicts import MOST_SEEDS, Grounds, Kind, Lack, Verdict, grounds, lasting, verdict


def sentence(given: Grounds, found: Verdict, declared: Declaration) -> str:
    """What is claimed, or why nothing is, and how many seeds would decide."""
    larger = given.larger_first()
    if found.kind in (Kind.OVERFITS_MORE, Kind.MORE_ACCURATE):
        return _claim(found.kind, larger, declared)
    if found.kind is Kind.EQUIVALENT:
        return _equivalent(given)
    return f"{_undecided(larger, found.lacks, declared)} {_seeds(larger, found)}"


def _claim(kind: Kind, found: Grounds, declared: Declaration) -> str:
    about = FIGURES[found.figure]
    if kind is Kind.MORE_ACCURATE:
        return (
            f"{found.a} is more accurate than {found.b}: by {about.size(found.difference)} on the test split "
            f"({_strength(found, declared)})."
        )
    return (
        f"{found.a} overfits more than {found.b}: its {about.name} is larger by {about.size(found.difference)} "
        f"({_strength(found, declared)}), and by {about.size(found.matched_difference)} at equal training loss."
    )


def _strength(found: Grounds, declared: Declaration) -> str:
    confirmed = "confirmed" if found.n >= declared.seeds_to_confirm else "exploratory"
    return f"{plural(found.n, 'seed')}, {confirmed}; Holm {p_value(found.holm)}"


def _equivalent(grounds: Grounds) -> str:
    about = FIGURES[grounds.figure]
    return (
        f"{grounds.a} and {grounds.b} are equivalent within ± {about.declared(grounds.margin)} in {about.name}: "
        f"they differ by {about.size(abs(grounds.difference))} ({plural(grounds.n, 'seed')}; Holm "
        f"{p_value(grounds.holm_equivalent)} of a difference beyond the margin)."
    )


def _undecided(found: Grounds, lacks: tuple[Lack, ...], declared: Declaration) -> str:
    about = FIGURES[found.figure]
    reasons = [_reason(lack, found, declared) for lack in lacks]
    measured = f", {about.size(found.difference)} apart" if math.isfinite(found.difference) else ""
    return (
        f"No difference shown between {found.a} and {found.b} in {about.name} ({plural(found.n, 'seed')}{measured}): "
        f"{'; '.join(reasons)}."
    )


def _reason(lack: Lack, found: Grounds, declared: Declaration) -> str:
    about = FIGURES[found.figure]
    if lack is Lack.DECLARATION:
        return "the contrast was not declared"
    if lack is Lack.SEEDS:
        return f"so few carry no claim, it takes {declared.seeds_to_explore}"
    if lack is Lack.SIGNIFICANCE:
        return f"Holm {p_value(found.holm)}"
    if lack is Lack.SIZE:
        if not math.isfinite(found.minimum_effect):
            return "no minimum effect is declared for this loss"
        if not math.isfinite(found.difference):
            return "nothing is paired"
        return f"it is not over the minimum of {about.declared(found.minimum_effect)}"
    if lack is Lack.TEST:
        if math.isnan(found.test_difference) or math.isnan(found.test_p):
            return f"whether {found.a} is simply better on the test split is unknown"
        better = FIGURES["test_accuracy"].size(found.test_difference)
        return f"{found.a} is the better one on the test split, by {better} ({p_value(found.test_p)})"
    if found.matched_n == 0:
        return "there is no training loss that both reached to compare them at"
    there = about.size(found.matched_difference, signed=True)
    return f"not shown at equal training loss ({there}, {plural(found.matched_n, 'seed')}, Holm {p_value(found.matched_holm)})"


def _seeds(larger: Grounds, found: Verdict) -> str:
    """How many more seeds it takes, where seeds are what it takes."""
    lacks, needed = set(found.lacks), larger.seeds_still_needed
    unmendable = lasting(larger)
    if unmendable & lacks:
        alone = lacks <= {*unmendable, Lack.MATCHED}
        return (
            "More seeds alone would not change that."
            if alone
            else "More seeds could at most show them to be equivalent."
        )
    if math.isnan(needed):
        return f"How many seeds would decide is not known from {plural(larger.n, 'seed')}."
    if math.isinf(found.more_seeds):
        return f"It is not decidable by seeds: more than {MOST_SEEDS:,} would have to be added."
    if needed > 0:
        return f"About {plural(int(needed), 'more seed')} would {decide(larger.figure, larger.effect_to_find)}."
    if lacks == {Lack.MATCHED}:
        return "The gaps differ; whether they do at equal training loss, these seeds do not tell."
    return (
        "So many seeds would find the declared effect or show that there is none; what there is lies between the two."
    )


def decide(figure: str, effect: float) -> str:
    """What `so many seeds would` do: they settle a true difference of the declared effect, and none at all."""
    return f"find a difference of {FIGURES[figure].declared(effect)}, or that there is none"


def note(row: pd.Series, configurations: pd.DataFrame) -> str:
    """Why a row of contrasts.csv lacks something; empty where nothing is missing."""
    if row["figure"] == "gap_loss" and math.isnan(row["margin"]):
        return "the sizes declared in nats are not of this loss"
    said = []
    for name in (row["a_configuration"], row["b_configuration"]):
        label, diverged, failed = configurations.loc[name, ["label", "diverged", "failed"]]
        if diverged + failed:
            said.append(f"{plural(diverged + failed, 'run')} of {label} did not finish ({diverged} diverged)")
    if row["unlike"]:
        said.append(f"{plural(row['unlike'], 'seed')} left out: other data, code or device")
    if row["n"] == 0 and row["only_a"] and row["only_b"]:
        said.append("no seed in common, so nothing is paired")
    elif row["n"] < 2:
        said.append(f"{plural(row['n'], 'common seed')}: no test, no interval")
    return "; ".join(said)


def with_sentences(analysis: Analysis) -> pd.DataFrame:
    """The contrasts with a `note` and the `sentence` of each, in the order of the columns of contrasts.csv."""
    rows, declared = analysis.contrasts, analysis.declared
    given = grounds(rows, declared)
    table = rows.assign(
        note=[note(row, analysis.configurations) for _, row in rows.iterrows()],
        sentence=[sentence(row, verdict(row, declared), declared) for row in given],
    )
    columns = list(rows.columns)
    columns.insert(columns.index("a_configuration"), "note")
    columns.insert(columns.index("lacks"), "sentence")
    return table[columns]
