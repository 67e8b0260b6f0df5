"""Default and tuned rates side by side: what the page says of edges, divergence, and a default that was chosen."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.report import tuned
from pipeline.report.prose.tuned import brief
from pipeline.training.result import DIVERGED
from tests.support.clone import CHECKOUT
from tests.unit.statistics.test_tuning import tuned as tuning_of


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    better, kept, edge = (
        tuning_of("sgd", 0.003),
        tuning_of("adam", 0.0, chosen=0.0),
        tuning_of("nadam", 0.001, chosen=2.0),
    )
    better.tried[2.0][0].status = DIVERGED
    tuned.write([better, kept, edge], folder)
    return folder


def test_a_line_per_optimizer_with_what_tuning_changed(out: Path) -> None:
    head, _, sgd, adam, _ = [line for line in (out / "tuned.md").read_text().splitlines() if line.startswith("|")]
    assert head.startswith("| optimizer | default → tuned rate |")
    assert sgd.startswith("| sgd | 0.01 → 0.1 | ")
    assert "| +0.29 (0.28 to 0.30) |" in sgd
    assert adam.split(" | ")[1:2] == ["0.01 → 0.01"]
    assert adam.split(" | ")[4] == "–"


def test_the_terminal_shows_the_same_table(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(out / "tuned.csv")
    tuned.show(table)
    said = capsys.readouterr().out.splitlines()
    for row in brief(table).to_numpy():
        [line] = [line for line in said if line.startswith(f" {row[0]} ")]
        assert [cell for cell in row if cell.split(" (")[0] not in line] == []


def test_the_page_says_what_lies_at_an_edge_and_what_diverged(out: Path) -> None:
    told = {line.split(":")[0]: line for line in (out / "tuned.md").read_text().splitlines() if line.startswith("- ")}
    assert "1 run of 8 diverged and counted as 0." in told["- sgd"]
    assert "still lies at an edge" in told["- nadam"]
    assert "extended by 1 rate" in told["- nadam"]
    assert "edge:" not in told["- adam"]
    assert "diverged" not in told["- adam"]


def test_each_run_that_chose_is_in_the_table(out: Path) -> None:
    tried = pd.read_csv(out / "tuned_rates.csv")
    assert tried.groupby("optimizer").size().to_dict() == {"sgd": 8, "adam": 8, "nadam": 8}
    assert tried.loc[tried["status"].eq(DIVERGED), "val_accuracy"].tolist() == [0]
    assert set(tried.loc[tried["chosen"] & tried["optimizer"].eq("sgd"), "learning_rate"]) == {0.1}


def test_the_guide_has_the_table_of_the_results() -> None:
    table, guide = pd.read_csv(CHECKOUT / "docs/results/tuned.csv"), (CHECKOUT / "docs/sweeps.md").read_text("utf-8")
    assert all(f"| {' | '.join(row)} |" in guide for row in brief(table).to_numpy())
    assert table["verdict"].eq("tuned more accurate").all()
    assert table["difference_gap_accuracy_low"].min() > 0
