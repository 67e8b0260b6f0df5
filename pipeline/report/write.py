"""A report's files: all of them, under their final names only when they are whole."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.data.files import whole
from pipeline.report import charts, page, tables
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Pictures
from pipeline.report.prose import verdicts
from pipeline.report.prose.captions import CAPTIONS

FIGURES = "figures"


def write(evidence: Evidence, out: Path) -> dict[str, Path]:
    """Write the report into `out`; returns its files by their path in it."""
    # Bundling the scripts takes seconds, and leaves Python's lock to the rest.
    executor = ThreadPoolExecutor(max_workers=1)
    scripts = executor.submit(charts.scripts) if evidence.questions else None
    executor.shutdown(wait=False)
    plots = Pictures(evidence) if evidence.questions else None
    frames = {
        "runs.csv": tables.runs(evidence),
        "comparison.csv": tables.comparison(evidence),
        "contrasts.csv": verdicts.of_comparisons(evidence.analyses),
        "failures.csv": tables.failures(evidence),
        "curves.csv": evidence.curves[tables.CURVES],
        "gap_by_width.csv": tables.gap_by_width(evidence),
        "gap_by_training_loss.csv": tables.gap_by_training_loss(evidence),
        "confusion.csv": tables.confusion(evidence),
    }
    content = {name: tables.csv(frame) for name, frame in frames.items()}
    content["metrics.json"] = (json.dumps(tables.metrics(evidence), indent=1, allow_nan=False) + "\n").encode()
    content |= {f"{FIGURES}/{name}": data for name, data in (plots.files() if plots else {}).items()}
    content["index.html"] = page.render(evidence, plots, scripts.result() if scripts else b"").encode()
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    for name in CAPTIONS:  # the folder may hold others' figures besides
        for path in (out / FIGURES).glob(f"{name}.*"):
            if f"{FIGURES}/{path.name}" not in content:
                path.unlink(missing_ok=True)
    for name, data in content.items():
        with whole(out / name) as temporary:
            temporary.write_bytes(data)
    return {name: out / name for name in content}
