"""Default and tuned learning rates side by side: two tables, a Markdown page and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from pipeline.report import charts, tables, terminal
from pipeline.report.prose.tuned import brief, page
from pipeline.statistics import declaration, summary, tuning
from pipeline.statistics.tuning import Tuning
from pipeline.storage.find import KEYS, beginning


def write(tunings: Sequence[Tuning], out: Path) -> pd.DataFrame:
    """Write tuned.csv, tuned_rates.csv, tuned.md and tuned.png; return the table of tuned.csv."""
    table, tried = tuning.side_by_side(tunings, declaration.load()), tuning.rates(tunings)
    job = tunings[0].default[0].job
    runs = [" ".join(beginning(run.key) for run in (*found.default, *found.tuned)) for found in tunings]
    table = table.assign(dataset=job.dataset.name, hidden=job.shape, epochs=job.training.epochs, **{KEYS: runs})
    picture = charts.png(charts.spec(curves(tried)))
    files = {"tuned.csv": tables.csv(table), "tuned_rates.csv": tables.csv(tried), "tuned.png": picture}
    tables.save(out, {**files, "tuned.md": page(table, tried)})
    return table


def show(table: pd.DataFrame) -> None:
    """Print the table."""
    console, short = terminal.standard_output(), brief(table)
    least = {str(heading): 12 for heading in short}
    console.print(terminal.table(short, console, least, [*least][:4:-1]))


def curves(tried: pd.DataFrame) -> alt.FacetChart:
    """Mean validation accuracy by learning rate, a panel per optimizer; a circle marks the default, a diamond the chosen rate."""
    by = ["optimizer", "decade"]
    found = tried.groupby(by, sort=False).agg({"learning_rate": "first", "default": "first", "chosen": "first"})
    rows = summary.intervals(tried, by, ["val_accuracy"]).merge(found.reset_index(), on=by)
    ends = {part: 100 * rows[f"val_accuracy_{part}"] for part in ("mean", "low", "high")}
    mark = np.select([rows["chosen"], rows["default"]], ["chosen", "default"], "")
    names = dict.fromkeys(("panel", "series", "label"), rows["optimizer"])
    points = pd.DataFrame({**names, "x": rows["learning_rate"], **ends, "mark": mark})
    return charts.curves(charts.records(points), "learning rate", "validation accuracy, %", log="x", marked=True)
