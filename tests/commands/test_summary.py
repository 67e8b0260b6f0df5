"""What `python -m pipeline.summary` takes from the report for git."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline import summary
from pipeline.cli import console
from pipeline.cli.errors import UserError


def test_a_summary_has_the_headline_and_curves_of_fixed_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    reports = tmp_path / "reports"
    reports.mkdir()
    with pytest.raises(
        UserError, match=r"^reports: no metrics.json, curves.csv, .* python -m pipeline.compare writes it$"
    ):
        summary.main([])
    figures = {"configuration": "adam-w64-d1", "test_accuracy": 0.97, "gap_accuracy": 0.01}
    book = {"test_accuracy": {"mean": 0.9, "sd": 0.1}, "gap_accuracy": {"mean": 0.02, "sd": 0.1}}
    (reports / "metrics.json").write_text(json.dumps({"book": book, "best": figures, "seconds": 3.5}))
    for name in summary.TABLES:
        pd.DataFrame({"x": [1 / 3]}).to_csv(reports / f"{name}.csv", index=False)
    epochs = {
        "experiment": ["to a loss"] * 3 + ["five"] * 2,
        "name": ["a", "b", "b", "c", "d"],
        "epoch": [1, 1, 2, 1, 1],
    }
    pd.DataFrame(epochs).to_csv(reports / "curves.csv", index=False)
    summary.main([])
    assert json.loads((tmp_path / "summary/metrics.json").read_text()) == {
        "best": {"test_accuracy": 0.97, "gap_accuracy": 0.01},
        "book": {"test_accuracy": 0.9, "gap_accuracy": 0.02},
    }
    assert list(pd.read_csv(tmp_path / "summary/curves.csv")["name"]) == ["c", "d"]
    assert (tmp_path / "summary/confusion.csv").read_text() == "x\n0.3333333\n"
