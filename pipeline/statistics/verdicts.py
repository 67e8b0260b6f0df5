"""What may be said of a contrast: one pure function from the grounds to a verdict.

"A overfits more than B" is said only of a declared contrast with enough seeds, with Holm's p under alpha and a mean
difference over the declared minimum, if all of that also holds at matched training loss and A is not simply better on the
test split. "A is more accurate than B" takes the same, less the last two. Where no claim can be made the verdict is
"equivalent" within the declared margin, or "no difference shown", with the number of seeds still needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum

import pandas as pd

from pipeline.statistics.declaration import Declaration
from pipeline.statistics.figures import GAPS
from pipeline.statistics.paired import claim_column

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
    lacks: tuple[Lack, ...]
    """Why there is no claim; empty where there is one."""
    more_seeds: float = math.nan
    """How many would decide; infinite over MOST_SEEDS; NaN where something is decided, or more seeds would not decide, or their
    number is not known."""


def verdict(given: Grounds, declared: Declaration) -> Verdict:
    """The one verdict that the rules allow."""
    found = given.larger_first()
    lacks = _lacks(found, declared)
    if not lacks:
        kind = Kind.OVERFITS_MORE if found.figure in GAPS else Kind.MORE_ACCURATE
        return Verdict(kind, ())
    # A claim too: it takes a declared contrast, and as many seeds.
    carries = not {Lack.DECLARATION, Lack.SEEDS} & set(lacks)
    if carries and found.holm_equivalent < declared.alpha:
        return Verdict(Kind.EQUIVALENT, lacks)
    return Verdict(Kind.NO_DIFFERENCE, lacks, _more_seeds(found, lacks))


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


def _more_seeds(found: Grounds, lacks: tuple[Lack, ...]) -> float:
    needed = found.seeds_still_needed
    if lasting(found) & set(lacks) or needed == 0:
        return math.nan
    return math.inf if needed > MOST_SEEDS else needed


def lasting(found: Grounds) -> set[Lack]:
    """What more seeds would not mend."""
    return {Lack.DECLARATION, Lack.TEST} | ({Lack.MATCHED} if found.matched_n == 0 else set())


def grounds(contrasts: pd.DataFrame, declared: Declaration) -> list[Grounds]:
    """What the verdict on each row of `contrasts.contrasts` rests on."""
    pair = ["dataset", "contrast", "a_configuration", "b_configuration"]
    test = contrasts[contrasts["figure"].eq("test_accuracy")].set_index(pair)[["difference", claim_column(declared)]]
    rows = contrasts.join(test.set_axis(["test_difference", "test_p"], axis=1), on=pair)
    rows["matched_n"] = rows["matched_n"].fillna(0).astype(int)
    names = [field.name for field in fields(Grounds) if field.name in rows]
    columns = [rows[name].tolist() for name in names]
    return [Grounds(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def judged(contrasts: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """The table of `contrasts.contrasts` with each row's verdict.

    Columns `verdict`, `lacks` (why there is no claim; empty if there is) and `more_seeds` (`Verdict`).
    """
    found = [verdict(row, declared) for row in grounds(contrasts, declared)]
    return contrasts.assign(
        verdict=[str(row.kind) for row in found],
        lacks=["; ".join(row.lacks) for row in found],
        more_seeds=[row.more_seeds for row in found],
    )
