"""Default and tuned learning rates side by side: two tables, a page to read and a picture."""

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


def write(tunings: Sequence[Tuning], out: Path) -> list[str]:
    """Write tuned.csv, tuned_rates.csv, tuned.md and tuned.png; returns what a person reads at the terminal."""
    table, tried = tuning.side_by_side(tunings, declaration.load()), tuning.rates(tunings)
    job = tunings[0].default[0].job
    out.mkdir(parents=True, exist_ok=True)
    runs = [" ".join(beginning(run.key) for run in (*found.default, *found.tuned)) for found in tunings]
    table = table.assign(dataset=job.dataset.name, hidden=job.shape, epochs=job.training.epochs, **{KEYS: runs})
    (out / "tuned.csv").write_bytes(tables.csv(table))
    (out / "tuned_rates.csv").write_bytes(tables.csv(tried))
    (out / "tuned.md").write_text(page(table, tried), encoding="utf-8")
    (out / "tuned.png").write_bytes(charts.png(charts.spec(curves(tried))))
    console, short = terminal.standard_output(), brief(table)
    least = {str(heading): 12 for heading in short}
    shown = terminal.table(short, console, least, [*least][:4:-1])
    return [*terminal.lines(shown, console), f"the report is {out / 'tuned.md'}"]


def curves(tried: pd.DataFrame) -> alt.FacetChart:
    """A panel per optimizer: mean validation accuracy by learning rate. Circle: the default; diamond: the rate chosen."""
    by = ["optimizer", "decade"]
    found = tried.groupby(by, sort=False).agg({"learning_rate": "first", "default": "first", "chosen": "first"})
    rows = summary.intervals(tried, by, ["val_accuracy"]).merge(found.reset_index(), on=by)
    ends = {part: 100 * rows[f"val_accuracy_{part}"] for part in ("mean", "low", "high")}
    mark = np.select([rows["chosen"], rows["default"]], ["chosen", "default"], "")
    names = dict.fromkeys(("panel", "series", "label"), rows["optimizer"])
    points = pd.DataFrame({**names, "x": rows["learning_rate"], **ends, "mark": mark})
    return charts.curves(charts.records(points), "learning rate", "validation accuracy, %", log="x", marked=True)
