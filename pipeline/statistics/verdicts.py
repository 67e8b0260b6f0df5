"""The verdict on a contrast.

A metric of A is larger or smaller than B's if Holm's p is under alpha, the mean difference exceeds the declared margin,
and there are enough seeds for a claim. Otherwise the two are `equivalent` if that was shown, else no difference was
shown. Verdicts on different questions (`metrics.Question`) are independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.statistics.declaration import Declaration


class Kind(StrEnum):
    LARGER = "larger"
    """A's metric is larger than B's."""
    SMALLER = "smaller"
    EQUIVALENT = "equivalent"
    NO_DIFFERENCE = "no difference shown"


class Lack(StrEnum):
    """Why a contrast claims no difference."""

    SEEDS = "too few seeds"
    SIGNIFICANCE = "p not under alpha"
    SIZE = "not over the margin"


class Standing(StrEnum):
    """How firm a verdict is, given its number of seeds."""

    NONE = ""
    EXPLORED = "explored"
    CONFIRMED = "confirmed"


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    lacks: tuple[Lack, ...]
    """Why no difference is claimed; empty if one is."""
    standing: Standing


def verdict(
    n: int, difference: float, holm: float, holm_equivalent: float, margin: float, declared: Declaration
) -> Verdict:
    """Return the verdict on A minus B. `difference` and `margin` share a unit; NaN is unknown and claims nothing."""
    has = {
        Lack.SEEDS: n >= declared.seeds_to_explore,
        Lack.SIGNIFICANCE: holm < declared.alpha,
        Lack.SIZE: abs(difference) > margin,
    }
    lacks = tuple(lack for lack, met in has.items() if not met)
    enough = Standing.CONFIRMED if n >= declared.seeds_to_confirm else Standing.EXPLORED
    standing = enough if has[Lack.SEEDS] else Standing.NONE
    if not lacks:
        return Verdict(Kind.LARGER if difference > 0 else Kind.SMALLER, (), standing)
    equivalent = has[Lack.SEEDS] and holm_equivalent < declared.alpha
    return Verdict(Kind.EQUIVALENT if equivalent else Kind.NO_DIFFERENCE, lacks, standing)
