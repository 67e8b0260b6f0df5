"""Tests in sentences: the interaction of optimizer and width, McNemar's test, and whether a repetition is consistent."""

from __future__ import annotations

from pipeline.cli.formatting import listed, p_value, plural
from pipeline.statistics.consistency import ALPHA, Consistency
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.figures import FIGURES
from pipeline.statistics.interaction import Interaction, Missing
from pipeline.statistics.mcnemar import McNemar


def interaction(found: Interaction, declared: Declaration) -> str:
    """Whether the effect of the optimizer depends on the width."""
    name = FIGURES[found.figure].name
    if found.missing:
        return (
            f"Whether the optimizer's effect on the {name} depends on the width cannot be computed: {_missing(found)}."
        )
    few = found.seeds < declared.seeds_to_explore
    shown = "depends" if found.p_corrected < declared.alpha and not few else "is not shown to depend"
    return (
        f"The optimizer's effect on the {name} {shown} on the width: F({found.epsilon * found.df1:.1f}, "
        f"{found.epsilon * found.df2:.1f}) = {found.f:.2f}, {p_value(found.p_corrected)}, partial η² = "
        f"{found.partial_eta_squared:.2f}, {plural(found.seeds, 'seed')} as blocks."
        + (f" {plural(found.seeds, 'seed')} carry no claim." if few else "")
    )


def _missing(found: Interaction) -> str:
    if found.missing is Missing.LEVELS:
        return f"it takes {Missing.LEVELS}; there are {found.optimizers} and {found.widths}"
    if found.missing is Missing.CELLS:
        verb = "has" if found.empty_cells == 1 else "have"
        return f"the design is incomplete: {plural(found.empty_cells, 'pair')} of optimizer and width {verb} no run"
    if found.missing is Missing.SCATTER:
        return "all seeds have the same differences, so there is no scatter to compare with"
    unfinished = f"; no run of {listed(found.unfinished)} finished" if found.unfinished else ""
    return f"it takes {Missing.SEEDS}; there are {found.seeds}{unfinished}"


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
