"""No interval leaves the range of its metric: accuracies lie in [0, 1], gaps in [-1, 1], losses from 0 up."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from pipeline.report import page
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Pictures
from pipeline.statistics import declaration, tuning
from pipeline.storage.sources import Source
from tests.support import factory

pytestmark = pytest.mark.fault("impossible intervals")

ACCURACIES = {"sgd": (0.02, 0.60), "adam": (0.90, 0.999)}
"""Accuracies of two seeds, so far apart that Student's interval would leave [0, 1] at both ends."""


@pytest.fixture(scope="module")
def scattered() -> Evidence:
    results = [
        factory.finished(factory.job(name, width, seed, validation=100), test=value, gap=0.9 - 0.4 * seed)
        for name, values in ACCURACIES.items()
        for width in (64, 512)
        for seed, value in enumerate(values)
    ]
    for run in results:  # gaps so large would take negative losses
        run.metrics["train/loss"] = abs(run.metrics["train/loss"])
        run.history["train/loss"] = [*map(abs, run.history["train/loss"])]
    return Evidence([Source("sweep", (Path("runs"),), (), results)])


def impossible(table: pd.DataFrame, names: Sequence[str], low: float, high: float) -> pd.DataFrame:
    ends = table[[f"{name}_{end}" for name in names for end in ("low", "high")]]
    return ends[(ends < low) | (ends > high)].dropna(how="all")


def test_accuracies_and_gaps_of_configurations(scattered: Evidence) -> None:
    table = scattered.table
    accuracies = ["test_accuracy", "val_accuracy", "best_val_accuracy", "train_accuracy"]
    assert impossible(table, accuracies, 0, 1).empty
    assert impossible(table, ["gap_accuracy"], -1, 1).empty
    assert impossible(table, ["test_loss", "train_loss", "seconds"], 0, math.inf).empty
    assert table["test_accuracy_high"].max() == 1


def test_no_text_of_the_page_has_an_impossible_interval(scattered: Evidence) -> None:
    text = page.render(scattered, Pictures(scattered))
    ends = [
        float(number.replace("−", "-")) for pair in re.findall(r"(−?[\d.]+) to (−?[\d.]+)", text) for number in pair
    ]
    assert len(ends) > 20
    assert max(map(abs, ends)) <= 200  # a difference of two gaps, in points
    assert not re.search(r"\d to 1(?!00\.00)\d{2}\.\d\d\s%", text)


def test_tuned_rates() -> None:
    sides = [
        [factory.finished(factory.job("adam", 64, seed, 100), test=value) for seed, value in enumerate(values)]
        for values in ((0.3, 0.9), (0.9, 0.35))
    ]
    row = tuning.compared(*sides, declaration.load()).iloc[0]
    assert (row["default_test_accuracy_low"], row["default_test_accuracy_high"]) == (0, 1)
    assert (row["difference_test_accuracy_low"], row["difference_test_accuracy_high"]) == (-1, 1)
