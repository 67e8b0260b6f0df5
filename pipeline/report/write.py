"""A report's files: all of them, under their final names only when they are whole."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.data.arrays import Arrays
from pipeline.data.files import whole
from pipeline.report import charts, page, tables
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Pictures
from pipeline.report.prose import verdicts

FIGURES = "figures"
OWN_FIGURES = (
    "gap.", "gap_at_best_width", "gap_accuracy_by", "gap_loss_by", "gap_by_training_loss", "held_out_loss", "explorer",
    "learning_curves", "baseline", "confusion", "hardest_digits", "first_layer", "published_figures",
)  # fmt: skip
"""How the names of the figures begin that a report may have, or had in an earlier release; the folder may hold others' besides."""


def write(evidence: Evidence, arrays: Arrays | None, out: Path) -> dict[str, Path]:
    """Write the report into `out`; returns its files by their path in it. `arrays` are the winner's data."""
    # Bundling the scripts takes seconds, and leaves Python's lock to the rest.
    executor = ThreadPoolExecutor(max_workers=1)
    scripts = executor.submit(charts.scripts) if evidence.questions else None
    executor.shutdown(wait=False)
    plots = Pictures(evidence, arrays) if evidence.questions else None
    frames = {
        "runs.csv": tables.runs(evidence),
        "comparison.csv": tables.comparison(evidence),
        "contrasts.csv": verdicts.of_comparisons(evidence.analyses),
        "failures.csv": tables.failures(evidence),
        "curves.csv": evidence.curves[tables.CURVES],
        "gap_by_width.csv": tables.gap_by_width(evidence),
        "gap_by_training_loss.csv": tables.gap_by_training_loss(evidence),
        "confusion.csv": tables.confusion(evidence, arrays),
    }
    content = {name: tables.csv(frame) for name, frame in frames.items()}
    content["metrics.json"] = (json.dumps(tables.metrics(evidence), indent=1, allow_nan=False) + "\n").encode()
    content |= {f"{FIGURES}/{name}": data for name, data in (plots.files() if plots else {}).items()}
    content["index.html"] = page.render(evidence, plots, arrays, scripts.result() if scripts else b"").encode()
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    for path in (out / FIGURES).iterdir():
        if path.name.startswith(OWN_FIGURES) and f"{FIGURES}/{path.name}" not in content:
            path.unlink(missing_ok=True)
    for name, data in content.items():
        with whole(out / name) as temporary:
            temporary.write_bytes(data)
    return {name: out / name for name in content}
