"""Write the files of a report, and of its summary in git for `dvc exp show` and `dvc plots show`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.report import charts, page, tables
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Pictures
from pipeline.report.prose import verdicts
from pipeline.report.prose.captions import CAPTIONS
from pipeline.statistics.design import LABELS

FIGURES = "figures"
HEADLINE = {"best": ("test_accuracy", "gap_accuracy"), "book": ("test_accuracy", "gap_accuracy")}
"""Columns of `dvc exp show`, for the best configuration of the sweep and the book's network."""
SUMMARY = ("curves", "gap_by_width", "gap_by_training_loss", "confusion")
"""Tables that DVC draws."""


def write(evidence: Evidence, out: Path) -> dict[str, Path]:
    """Write the report into `out`; return its files by their path within `out`."""
    # Bundling the scripts takes seconds and releases the GIL.
    executor = ThreadPoolExecutor(max_workers=1)
    scripts = executor.submit(charts.scripts) if evidence.questions else None
    executor.shutdown(wait=False)
    plots = Pictures(evidence) if evidence.questions else None
    frames = {
        "runs.csv": tables.runs(evidence),
        "comparison.csv": evidence.table.drop(columns=["configuration", *LABELS]),
        "contrasts.csv": verdicts.of_comparisons(evidence.analyses),
        "failures.csv": pd.DataFrame([vars(lost) for lost in evidence.lost], columns=tables.FAILURES),
        "curves.csv": evidence.curves[tables.CURVES],
        "gap_by_width.csv": tables.gap_by_width(evidence),
        "gap_by_training_loss.csv": tables.gap_by_training_loss(evidence),
        "confusion.csv": tables.confusion(evidence),
    }
    content: dict[str, bytes | str] = {name: tables.csv(frame) for name, frame in frames.items()}
    content["metrics.json"] = json.dumps(tables.metrics(evidence), indent=1, allow_nan=False) + "\n"
    content |= {f"{FIGURES}/{name}": data for name, data in (plots.files() if plots else {}).items()}
    content["index.html"] = page.render(evidence, plots, scripts.result() if scripts else b"")
    (out / FIGURES).mkdir(parents=True, exist_ok=True)  # an output of DVC's stage, even without figures
    for name in CAPTIONS:  # keep other files in this folder
        for path in (out / FIGURES).glob(f"{name}.*"):
            if f"{FIGURES}/{path.name}" not in content:
                path.unlink(missing_ok=True)
    tables.save(out, content)
    return {name: out / name for name in content}


def summarize(reports: Path, out: Path) -> None:
    """Write the headline and SUMMARY of the report in `reports` into `out`, rounded to float32 precision.

    Values that differ between runs of the same pipeline (seconds) are left out.
    """
    files = {"metrics.json": json.dumps(headline(json.loads((reports / "metrics.json").read_text())), indent=1) + "\n"}
    for name in SUMMARY:
        table = pd.read_csv(reports / f"{name}.csv")
        table = of_fixed_length(table) if name == "curves" else table
        files[f"{name}.csv"] = table.to_csv(index=False, float_format="%.7g")
    tables.save(out, files)


def headline(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The means over seeds of HEADLINE, as far as `metrics` has them."""
    found = {who: {name: metrics[who][name] for name in names} for who, names in HEADLINE.items() if who in metrics}
    return {who: {n: v["mean"] if isinstance(v, dict) else v for n, v in each.items()} for who, each in found.items()}


def of_fixed_length(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of experiments whose runs all end at the same epoch; elsewhere a mean would be over ever fewer seeds."""
    last = curves.groupby(["experiment", "name"])["epoch"].max().groupby("experiment").nunique()
    return curves[curves["experiment"].isin(last.index[last.eq(1)])]
