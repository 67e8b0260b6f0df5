"""What may be said of a contrast: one pure function from the grounds to a verdict in words.

"A overfits more than B" is said only of a declared contrast with enough seeds, with Holm's p under alpha and a mean
difference over the declared minimum, if all of that also holds at matched training loss and A is not simply better on the
test split. "A is more accurate than B" takes the same, less the last two. Where no claim can be made the verdict is
"equivalent" within the declared margin, or "no difference shown", with the number of seeds still needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import pandas as pd

from pipeline.statistics.declaration import Declaration
from pipeline.statistics.paired import claim_column
from pipeline.statistics.wording import FIGURES, GAPS, p_value, plural

MOST_SEEDS = 1_000
"""Where more seeds than these would have to be added, a contrast is not decidable by seeds."""


class Kind(StrEnum):
    OVERFITS_MORE = "overfits more"
    MORE_ACCURATE = "more accurate"
    EQUIVALENT = "equivalent"
    NO_DIFFERENCE = "no difference shown"


class Lack(StrEnum):
    """What stands between a contrast and a claim."""

    DECLARATION = "not declared"
    SEEDS = "too few seeds"
    SIGNIFICANCE = "p not under alpha"
    SIZE = "not over the minimum effect"
    MATCHED = "not at matched training loss"
    TEST = "better on the test split"


@dataclass(frozen=True)
class Grounds:
    """What a verdict rests on. Differences are A minus B in the figure's own unit; NaN is unknown and claims nothing."""

    figure: str
    a: str
    b: str
    n: int
    difference: float
    holm: float
    holm_equivalent: float
    minimum_effect: float
    margin: float
    seeds_still_needed: float = math.nan
    effect_to_find: float = math.nan
    """The true difference that seeds are counted for."""
    declared: bool = True
    matched_n: int = 0
    matched_difference: float = math.nan
    matched_holm: float = math.nan
    test_difference: float = math.nan
    """Of the test accuracy, for a gap."""
    test_p: float = math.nan
    """Unadjusted: here a small p forbids the claim, and correcting it would be the less careful way."""

    def larger_first(self) -> Grounds:
        """The same with A and B changed about where B has the larger figure."""
        if not self.difference < 0:
            return self
        turned = {name: -getattr(self, name) for name in ("difference", "matched_difference", "test_difference")}
        return replace(self, a=self.b, b=self.a, **turned)


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    sentence: str
    lacks: tuple[Lack, ...]
    """Why there is no claim; empty where there is one."""
    more_seeds: float = math.nan
    """How many would decide, as the sentence says; infinite over MOST_SEEDS; NaN where something is decided, or more seeds would
    not decide, or their number is not known."""


def verdict(grounds: Grounds, declared: Declaration) -> Verdict:
    """The one verdict that the rules allow."""
    found = grounds.larger_first()
    lacks = _lacks(found, declared)
    if not lacks:
        kind = Kind.OVERFITS_MORE if found.figure in GAPS else Kind.MORE_ACCURATE
        return Verdict(kind, _claim(kind, found, declared), ())
    # A claim too: it takes a declared contrast, and as many seeds.
    carries = not {Lack.DECLARATION, Lack.SEEDS} & set(lacks)
    if carries and found.holm_equivalent < declared.alpha:
        return Verdict(Kind.EQUIVALENT, _equivalent(grounds), lacks)
    more, said = _seeds(found, lacks)
    return Verdict(Kind.NO_DIFFERENCE, _undecided(found, lacks, declared) + said, lacks, more)


def _lacks(found: Grounds, declared: Declaration) -> tuple[Lack, ...]:
    has = {
        Lack.DECLARATION: found.declared,
        Lack.SEEDS: found.n >= declared.seeds_to_explore,
        Lack.SIGNIFICANCE: found.holm < declared.alpha,
        Lack.SIZE: found.difference > found.minimum_effect,
    }
    if found.figure in GAPS:
        has[Lack.MATCHED] = (
            found.matched_n >= declared.seeds_to_explore
            and found.matched_holm < declared.alpha
            and found.matched_difference > found.minimum_effect
        )
        has[Lack.TEST] = found.test_difference <= 0 or (found.test_difference > 0 and found.test_p >= declared.alpha)
    return tuple(lack for lack, met in has.items() if not met)


def _claim(kind: Kind, found: Grounds, declared: Declaration) -> str:
    about = FIGURES[found.figure]
    if kind is Kind.MORE_ACCURATE:
        return (
            f"{found.a} is more accurate than {found.b}: by {about.size(found.difference)} on the test split "
            f"({_strength(found, declared)})."
        )
    return (
        f"{found.a} overfits more than {found.b}: its {about.words} is larger by {about.size(found.difference)} "
        f"({_strength(found, declared)}), and by {about.size(found.matched_difference)} at equal training loss."
    )


def _strength(found: Grounds, declared: Declaration) -> str:
    confirmed = "confirmed" if found.n >= declared.seeds_to_confirm else "exploratory"
    return f"{plural(found.n, 'seed')}, {confirmed}; Holm {p_value(found.holm)}"


def _equivalent(grounds: Grounds) -> str:
    about = FIGURES[grounds.figure]
    return (
        f"{grounds.a} and {grounds.b} are equivalent within {about.margin(grounds.margin)} in {about.words}: "
        f"they differ by {about.size(abs(grounds.difference))} ({plural(grounds.n, 'seed')}; Holm "
        f"{p_value(grounds.holm_equivalent)} of a difference beyond the margin)."
    )


def _undecided(found: Grounds, lacks: tuple[Lack, ...], declared: Declaration) -> str:
    about = FIGURES[found.figure]
    reasons = [_reason(lack, found, declared) for lack in lacks]
    measured = f", {about.size(found.difference)} apart" if math.isfinite(found.difference) else ""
    return (
        f"No difference shown between {found.a} and {found.b} in {about.words} ({plural(found.n, 'seed')}{measured}): "
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
        return f"it is not over the minimum of {about.scale * found.minimum_effect:g} {about.unit}"
    if lack is Lack.TEST:
        if math.isnan(found.test_difference) or math.isnan(found.test_p):
            return f"whether {found.a} is simply better on the test split is unknown"
        better = FIGURES["test_accuracy"].size(found.test_difference)
        return f"{found.a} is the better one on the test split, by {better} ({p_value(found.test_p)})"
    if found.matched_n == 0:
        return "there is no training loss that both reached to compare them at"
    there = about.size(found.matched_difference, signed=True)
    return f"not shown at equal training loss ({there}, {plural(found.matched_n, 'seed')}, Holm {p_value(found.matched_holm)})"


def _seeds(found: Grounds, lacks: tuple[Lack, ...]) -> tuple[float, str]:
    """How many more seeds it takes, where seeds are what it takes, and a sentence on it."""
    for_good = {Lack.DECLARATION, Lack.TEST} | ({Lack.MATCHED} if found.matched_n == 0 else set())
    if for_good & set(lacks):
        if set(lacks) <= {*for_good, Lack.MATCHED}:
            return math.nan, " More seeds alone would not change that."
        return math.nan, " More seeds could at most show them to be equivalent."
    needed = found.seeds_still_needed
    if math.isnan(needed):
        return math.nan, f" How many seeds would decide is not known from {plural(found.n, 'seed')}."
    if needed > MOST_SEEDS:
        return math.inf, f" It is not decidable by seeds: more than {MOST_SEEDS:,} would have to be added."
    if needed == 0:
        if set(lacks) == {Lack.MATCHED}:
            return math.nan, " The gaps differ; whether they do at equal training loss, these seeds do not tell."
        return math.nan, (
            " So many seeds would find the declared effect or show that there is none; what there is lies between the two."
        )
    return needed, f" About {plural(int(needed), 'more seed')} would {decide(found.figure, found.effect_to_find)}."


def decide(figure: str, effect: float) -> str:
    """What `so many seeds would` do: they settle a true difference of the declared effect, and none at all."""
    about = FIGURES[figure]
    return f"find a difference of {about.scale * effect:g} {about.unit}, or that there is none"


def judged(contrasts: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """The table of `contrasts.contrasts` with each row's verdict.

    Columns `verdict`, `sentence`, `lacks` (why there is no claim; empty if there is) and `more_seeds` (`Verdict`).
    """
    between = ["dataset", "contrast", "a_configuration", "b_configuration"]
    p = claim_column(declared)
    test = contrasts[contrasts["figure"].eq("test_accuracy")].set_index(between)[["difference", p]]
    test = test.set_axis(["test_difference", "test_p"], axis=1)
    rows = contrasts.join(test, on=between)
    names = [
        "figure",
        "a",
        "b",
        "n",
        "difference",
        "holm",
        "holm_equivalent",
        "minimum_effect",
        "margin",
        "effect_to_find",
    ]
    names += ["seeds_still_needed", "matched_n", "matched_difference", "matched_holm", "test_difference", "test_p"]
    rows["matched_n"] = rows["matched_n"].fillna(0).astype(int)
    columns = {name: rows[name].tolist() for name in names}
    grounds = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    found = [verdict(Grounds(**one), declared) for one in grounds]
    return contrasts.assign(
        verdict=[str(one.kind) for one in found],
        sentence=[one.sentence for one in found],
        lacks=["; ".join(one.lacks) for one in found],
        more_seeds=[one.more_seeds for one in found],
    )
