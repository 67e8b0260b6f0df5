"""What git holds of the results, for `dvc exp show` and `dvc plots show`: the headline and the tables that DVC draws.

It leaves out what differs from one run of the same pipeline to the next (seconds). Numbers are rounded to what float32
carries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.data.files import whole

HEADLINE = {"best": ("test_accuracy", "gap_accuracy"), "book": ("test_accuracy", "gap_accuracy")}
"""Of the best configuration of the sweep and of the book's network: what is a column of `dvc exp show`."""

TABLES = ("curves", "gap_by_width", "gap_by_training_loss", "confusion")


def write(reports: Path, out: Path) -> None:
    """Write what git holds of the report in `reports` into `out`."""
    texts = {"metrics.json": json.dumps(headline(json.loads((reports / "metrics.json").read_text())), indent=1) + "\n"}
    for name in TABLES:
        table = pd.read_csv(reports / f"{name}.csv")
        texts[f"{name}.csv"] = (of_fixed_length(table) if name == "curves" else table).to_csv(
            index=False, float_format="%.7g"
        )
    for name, text in texts.items():
        with whole(out / name) as temporary:
            temporary.write_text(text)


def headline(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Means over seeds; what there is not is left out."""
    found = {who: {name: metrics[who][name] for name in names} for who, names in HEADLINE.items() if who in metrics}
    return {who: {n: v["mean"] if isinstance(v, dict) else v for n, v in each.items()} for who, each in found.items()}


def of_fixed_length(curves: pd.DataFrame) -> pd.DataFrame:
    """Curves of experiments whose runs all end with the same epoch: a mean over seeds of others is of ever fewer."""
    last = curves.groupby(["experiment", "name"])["epoch"].max().groupby("experiment").nunique()
    return curves[curves["experiment"].isin(last.index[last.eq(1)])]
