"""The confusion matrix of a run on the test samples, as an HTML artifact."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays, load

if TYPE_CHECKING:
    from pipeline.training.result import RunResult

FILE = "confusion_matrix.html"
MOST_CLASSES = 50
HEAD = "<!doctype html><meta charset=utf-8><style>body{font:14px sans-serif}td,th{padding:6px;text-align:right}</style>"


def page(result: RunResult) -> str:
    """Return the matrix as HTML; empty if the run has no predictions, its preprocessed data is missing or there are too many classes."""
    arrays = None if result.predictions is None else _arrays(result.job.dataset.name)
    if arrays is None or arrays.digest != result.identity.get("data") or arrays.classes > MOST_CLASSES:
        return ""
    labels, predicted = np.asarray(arrays.test_labels), np.asarray(result.predictions)
    counts = np.zeros((arrays.classes, arrays.classes), int)
    np.add.at(counts, (labels, predicted), 1)
    said = f"{result.name}: {(labels != predicted).sum():,} errors on {len(labels):,} test {arrays.what}"
    return HEAD + f"<p>{escape(said)}. Rows: the class of a sample; columns: what the network says." + _table(counts)


def _table(counts: np.ndarray) -> str:
    """Return the HTML table; cells with more errors are redder."""
    errors = counts - np.diag(np.diag(counts))
    rows = ["<tr><th>" + "".join(f"<th>{column}" for column in range(len(counts)))]
    for row, shades in enumerate(errors / max(1, errors.max())):
        cells = zip(counts[row], shades, strict=True)
        colored = "".join(f"<td style='background:rgba(213,94,0,{shade:.2f})'>{count}" for count, shade in cells)
        rows.append(f"<tr><th>{row}{colored}")
    return f"<table>{''.join(rows)}</table>\n"


@cache
def _arrays(name: str) -> Arrays | None:
    try:
        return load(PROJECT / "data" / "processed" / name)
    except UserError:
        return None
