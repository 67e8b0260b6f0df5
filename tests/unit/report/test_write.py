"""The part of a report that git tracks: the summary that `dvc exp show` and `dvc plots show` read."""

import json
from pathlib import Path

import pandas as pd

from pipeline.report import write


def test_a_summary_has_the_headline_and_curves_of_fixed_length(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    metrics = {"configuration": "adam-w64-d1", "test_accuracy": 0.97, "gap_accuracy": 0.01}
    book = {"test_accuracy": {"mean": 0.9, "sd": 0.1}, "gap_accuracy": {"mean": 0.02, "sd": 0.1}}
    (reports / "metrics.json").write_text(json.dumps({"book": book, "best": metrics, "seconds": 3.5}))
    for name in write.SUMMARY:
        pd.DataFrame({"x": [1 / 3]}).to_csv(reports / f"{name}.csv", index=False)
    epochs = {"experiment": ["to a loss"] * 3 + ["five"] * 2, "name": list("abbcd"), "epoch": [1, 1, 2, 1, 1]}
    pd.DataFrame(epochs).to_csv(reports / "curves.csv", index=False)
    write.summarize(reports, tmp_path / "summary")
    assert json.loads((tmp_path / "summary/metrics.json").read_text()) == {
        "best": {"test_accuracy": 0.97, "gap_accuracy": 0.01},
        "book": {"test_accuracy": 0.9, "gap_accuracy": 0.02},
    }
    assert list(pd.read_csv(tmp_path / "summary/curves.csv")["name"]) == ["c", "d"]
    assert (tmp_path / "summary/confusion.csv").read_text() == "x\n0.3333333\n"
