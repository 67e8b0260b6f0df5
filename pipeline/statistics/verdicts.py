"""What may be said of a contrast: one pure function from the grounds to a verdict.

A figure of A is called larger or smaller than B's where Holm's p is under alpha and the mean difference over the declared
margin, at a number of seeds at which claims are made. Else the two are `equivalent` where that was shown, or no difference
was shown. What the figure asks (`figures.Question`) has no part in it: no answer forbids another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.statistics.declaration import Declaration


class Kind(StrEnum):
    LARGER = "larger"
    """A's figure is larger than B's."""
    SMALLER = "smaller"
    EQUIVALENT = "equivalent"
    NO_DIFFERENCE = "no difference shown"


class Lack(StrEnum):
    """What stands between a contrast and a claim."""

    SEEDS = "too few seeds"
    SIGNIFICANCE = "p not under alpha"
    SIZE = "not over the margin"


class Standing(StrEnum):
    """What the number of seeds makes of a verdict."""

    NONE = ""
    EXPLORED = "explored"
    CONFIRMED = "confirmed"


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    lacks: tuple[Lack, ...]
    """Why no difference is claimed; empty where one is."""
    standing: Standing


def verdict(
    n: int, difference: float, holm: float, holm_equivalent: float, margin: float, declared: Declaration
) -> Verdict:
    """The verdict on A minus B, `difference` and `margin` in one unit; NaN is unknown and claims nothing."""
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
