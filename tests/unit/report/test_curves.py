"""Curves as tables."""

from __future__ import annotations

from pipeline.report.curves import curve_points
from tests.support import factory


def test_curves_have_a_row_for_each_point_and_split():
    run = factory.finished(factory.job(validation=10, epochs=4))
    run.epochs = [1, 2, 4, 8]
    frame = curve_points({"sweep": [run]})
    assert frame.groupby("split")["epoch"].apply(list).to_dict() == {"train": [1, 2, 4, 8], "val": [1, 2, 4, 8]}
