"""Tests in sentences: McNemar's test, and whether a repetition is consistent."""

from __future__ import annotations

from pipeline.cli.formatting import p_value
from pipeline.statistics.consistency import ALPHA, Consistency
from pipeline.statistics.mcnemar import McNemar


def mcnemar(found: McNemar, first: str, second: str) -> str:
    return (
        f"Of {found.images:,} test images {found.only_first:,} are right with {first} only, {found.only_second:,} with "
        f"{second} only (McNemar's exact test, {p_value(found.p)}); it is about these two networks, not their kinds."
    )


def consistency(found: Consistency) -> str:
    """How far a training that was repeated differs, and how far two that are alike may."""
    if found.mcnemar is None:
        return (
            f"test accuracy changed by {100 * found.change:+.2f} points; between two of {found.seeds} seeds it changes by less "
            f"than {100 * found.bound:.2f} in {1 - ALPHA:.1%} of cases"
        )
    return (
        f"{found.mcnemar.only_first} images are right only then, {found.mcnemar.only_second} only now (McNemar's exact test, "
        f"{p_value(found.mcnemar.p)}); there are no three seeds of this configuration here to say more"
    )
