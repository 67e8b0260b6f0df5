"""A report's files: all of them, under their final names only when they are whole."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.data.arrays import Arrays
from pipeline.data.files import whole
from pipeline.report import page, tables
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Plots
from pipeline.report.prose import verdicts

FIGURES = "figures"
OWN_FIGURES = (
    "gap_at_best_width", "gap_accuracy_by_width", "gap_loss_by_width", "gap_by_training_loss", "held_out_loss",
    "learning_curves", "baseline", "confusion", "hardest_digits", "first_layer", "published_figures",
)  # fmt: skip
"""How the names of the figures begin that a report may have; the folder may hold others' besides."""


def write(evidence: Evidence, arrays: Arrays | None, out: Path) -> dict[str, Path]:
    """Write the report into `out`; returns its files by their path in it. `arrays` are the winner's data."""
    evidence.tables_folder = out
    with ThreadPoolExecutor(1) as executor:
        if evidence.questions:
            _ = evidence.main, evidence.comparisons  # what both begin with
        # Statistics are numpy's work for the most part, which leaves Python's lock to matplotlib meanwhile.
        analysis = executor.submit(lambda: evidence.analyses)
        plots = Plots(evidence, arrays) if evidence.questions else None
        pictures = plots.files() if plots else {}
        analysis.result()
    frames = {
        "runs.csv": tables.runs(evidence),
        "comparison.csv": tables.comparison(evidence),
        "contrasts.csv": verdicts.of_comparisons(evidence.analyses),
        "failures.csv": tables.failures(evidence),
        "curves.csv": tables.curves(evidence),
        "gap_by_width.csv": tables.gap_by_width(evidence),
        "gap_by_training_loss.csv": tables.gap_by_training_loss(evidence),
        "confusion.csv": tables.confusion(evidence, arrays),
    }
    content = {name: tables.csv(frame) for name, frame in frames.items()}
    content["metrics.json"] = (json.dumps(tables.metrics(evidence), indent=1, allow_nan=False) + "\n").encode()
    content |= {f"{FIGURES}/{name}": png for name, png in pictures.items()}
    content["index.html"] = page.render(evidence, plots, arrays).encode()
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    _remove_old_figures(out / FIGURES, keep={Path(name).name for name in content})
    return {name: _replace(out / name, data) for name, data in content.items()}


def _remove_old_figures(folder: Path, keep: set[str]) -> None:
    for pattern in OWN_FIGURES:
        for path in folder.glob(f"{pattern}*.png"):
            if path.name not in keep:
                path.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> Path:
    with whole(path) as temporary:
        temporary.write_bytes(content)
    return path
