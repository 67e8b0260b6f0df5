"""Select the configurations to show when a comparison has more than a table or chart can hold."""

from __future__ import annotations

from itertools import chain
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pipeline.statistics.analysis import Analysis
from pipeline.statistics.declaration import DEPTH, NETWORK, TRAIN_SIZE, WIDTH

COLUMN_OF = {WIDTH: "width", DEPTH: "depth"}
"""Column of each factor whose name differs from its column's."""


def best(table: pd.DataFrame, by: str = "width") -> pd.DataFrame:
    """Return the best configuration of each optimizer, width and other setting.

    The column `setting` describes what varies besides the optimizer, its hyperparameters and `by`, such as
    `2 layers, 2,000 samples`; empty if nothing does. `table` is sorted best first, as by `summary.summarise`.
    """
    rows = table[table[by].notna() & table["n"].gt(0)]
    others = varied(rows, NETWORK if by == "hidden" else by)
    rows = rows.assign(setting=[", ".join(settings.values()) for settings in others])
    order = [*(name for name in dict.fromkeys(chain.from_iterable(others)) if name in rows), "optimizer", by]
    return rows.drop_duplicates(["optimizer", by, "setting"]).sort_values(order, key=_in_order)


def varied(table: pd.DataFrame, but: str) -> list[dict[str, str]]:
    """Return, per row, what varies besides the optimizer, its hyperparameters, the width and `but`: text by name."""
    return [
        {name: text for name, text in settings.items() if name != but and not name.startswith("optimizer.")}
        for settings in table["settings"]
    ]


def number_of(analysis: Analysis) -> str | None:
    """Return the numeric factor for a plot's axis: the width, else the factor with the most values.

    None if no numeric factor is defined for every configuration: a network without a width is plotted by name.
    """
    found = {}
    for factor in {contrast.factor: None for contrast in analysis.design.contrasts}:
        column = COLUMN_OF.get(factor, factor)
        values = analysis.configurations.get(column)  # a function or class, as in `model.build`, has no column
        if values is not None and values.notna().all() and values.map(_is_number).all():
            found[column] = values.nunique()
    return "width" if "width" in found else max(found, key=lambda column: found[column], default=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _in_order(column: pd.Series) -> pd.Series:
    """Return sort keys: numbers by size, all samples last; anything else as text."""
    if column.name == TRAIN_SIZE:
        return column.replace(0, np.inf)
    return column if pd.api.types.is_numeric_dtype(column) else column.map(str)
