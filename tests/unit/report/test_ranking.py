"""Places that intervals tell apart."""

from __future__ import annotations

import math

import pandas as pd

from pipeline.report.ranking import places


def intervals_table(*ends) -> pd.DataFrame:
    return pd.DataFrame(ends, columns=["x_low", "x_high"], dtype=float)


def test_places_of_intervals_that_lie_apart():
    assert places(intervals_table((3, 4), (1, 2)), "x").to_numpy().tolist() == [[1, 1], [2, 2]]


def test_without_an_interval_no_place_and_no_rival():
    found = places(intervals_table((3, 4), (math.nan, math.nan), (1, 2)), "x")
    assert found.iloc[1].isna().all()
    assert found.iloc[[0, 2]].to_numpy().tolist() == [[1, 1], [2, 2]]
