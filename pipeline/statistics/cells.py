"""Which configurations stand for a comparison where there are more of them than a table or a chart has places for."""

from __future__ import annotations

from itertools import chain
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pipeline.statistics.analysis import Analysis
from pipeline.statistics.declaration import DEPTH, NETWORK, TRAIN_SIZE, WIDTH

COLUMN_OF = {WIDTH: "width", DEPTH: "depth"}
"""Of a factor whose name is not that of its column."""


def best(table: pd.DataFrame, by: str = "width") -> pd.DataFrame:
    """The best configuration of each optimizer, width and other setting.

    With `setting`: in words what varies besides optimizer, its hyper-parameters and `by`, `2 layers, 2,000 samples`; empty
    where nothing else does. `table` has the best first, as `summary.summarise` sorts.
    """
    rows = table[table[by].notna() & table["n"].gt(0)]
    others = varied(rows, NETWORK if by == "hidden" else by)
    rows = rows.assign(setting=[", ".join(settings.values()) for settings in others])
    order = [*dict.fromkeys(chain.from_iterable(others)), "optimizer", by]
    return rows.drop_duplicates(["optimizer", by, "setting"]).sort_values(order, key=_in_order)


def varied(table: pd.DataFrame, but: str) -> list[dict[str, str]]:
    """What varies besides optimizer, its hyper-parameters, the width and the factor `but`: words by name, for each row."""
    return [
        {name: text for name, text in settings.items() if name != but and not name.startswith("optimizer.")}
        for settings in table["settings"]
    ]


def number_of(analysis: Analysis) -> str | None:
    """The factor of numbers that a plot has on its axis: the width, else the one of most values.

    None where there is none that every configuration has: a network without a width has its place among names.
    """
    found = {}
    for factor in {contrast.factor: None for contrast in analysis.design.contrasts}:
        column = COLUMN_OF.get(factor, factor)
        values = analysis.configurations[column]
        if values.notna().all() and values.map(_is_number).all():
            found[column] = values.nunique()
    return "width" if "width" in found else max(found, key=lambda column: found[column], default=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _in_order(column: pd.Series) -> pd.Series:
    """Numbers by size, all samples last; anything else as a text."""
    if column.name == TRAIN_SIZE:
        return column.replace(0, np.inf)
    return column if pd.api.types.is_numeric_dtype(column) else column.map(str)
