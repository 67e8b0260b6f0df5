"""Whether a repetition is consistent, in a sentence."""

from __future__ import annotations

from pipeline.cli.formatting import p_value
from pipeline.statistics.consistency import ALPHA, Consistency


def sentence(found: Consistency) -> str:
    """How far a training that was repeated differs, and how far two that are alike may."""
    if found.seeds:
        return (
            f"test accuracy changed by {100 * found.change:+.2f} points; between two of {found.seeds} seeds it changes by less "
            f"than {100 * found.bound:.2f} in {1 - ALPHA:.1%} of cases"
        )
    return (
        f"{found.only_then} samples are right only then, {found.only_now} only now (McNemar's exact test, "
        f"{p_value(found.p)}); there are no three seeds of this configuration here to say more"
    )
