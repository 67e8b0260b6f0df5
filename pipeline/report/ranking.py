"""Which places configurations may take, as far as their intervals tell them apart."""

from __future__ import annotations

import numpy as np
import pandas as pd


def places(table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The places that a row may take, `place` (best) to `place_to` (worst), as far as intervals tell rows apart.

    `place` counts the rows whose interval lies wholly above this one's, `place_to` leaves out those whose lies wholly
    below. A row without an interval has no place. Overlap is a coarse test: it claims nothing.
    """
    low, high = (table[f"{figure}_{end}"].to_numpy(float) for end in ("low", "high"))
    known = ~np.isnan(high)
    above = (low[None, :] > high[:, None]).sum(axis=1)
    below = (high[None, :] < low[:, None]).sum(axis=1)
    found = pd.DataFrame({"place": above + 1, "place_to": known.sum() - below}, index=table.index, dtype="Int64")
    return found.where(pd.Series(known, index=table.index), axis=0)
