"""Tables of other commands, on the page where they and their runs are there."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import console, ui_address
from pipeline.report import other_tables, page, published_figures, tuned
from pipeline.report.evidence import RUN_PAGE, Evidence
from pipeline.report.plots import Plots
from pipeline.storage.find import beginning
from pipeline.storage.identity import key_of
from pipeline.storage.store import RunStore
from tests.support import factory
from tests.support.clone import CHECKOUT
from tests.support.factory import stored

GUIDE = (CHECKOUT / "docs/sweeps.md").read_text("utf-8")
HEAD = [
    "id",
    "source",
    "measure",
    "published",
    "band",
    "ours",
    "seeds",
    "verdict",
    *published_figures.NUMBERS,
    other_tables.KEYS,
    "on",
]
JOBS = {letter: factory.job("adam", 8, seed, dataset="digits") for seed, letter in enumerate("abc")}
IDENTITY = {"data": "d" * 64, "source": "5" * 64, "numerics": {"device": "cpu"}}
A, B, C = (key_of(job, IDENTITY) for job in JOBS.values())
FLOOR = ["95.3", "", "96.0", "95.9", "96.1", f"{beginning(A)} {beginning(B)}", "CPU A"]
BAND = ["1.38", "1.88", "2.0", "1.9", "2.1", beginning(C), "CPU A"]
ROWS = [
    ["a", "A 1998", "test accuracy", "95.3", "over 95.3", "96.00 (95.90 to 96.10) %", "3", "over the floor", *FLOOR],
    ["b", "B 2017", "gap", "1.63", "1.38 to 1.88", "2.00 points", "1", "outside", *BAND],
    ["c", "C 2015", "test error", "", "within 0.15", "", "0", "not run", *[""] * 7],
]


def write(folder: Path, name: str, *lines: list[str]) -> Path:
    with open(folder / name, "w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, "published.csv", HEAD, *ROWS)


@pytest.fixture
def evidence_with(
    of_runs: Callable[..., Evidence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Evidence]:
    """Evidence on MNIST, beside a store of runs on the digits, each known by a letter and trained on a processor."""

    monkeypatch.setattr(console, "PROJECT", tmp_path / "checkout")

    def made(dataset: str = "mnist", **processors: str) -> Evidence:
        jobs = [factory.job("adam", 64, seed, validation=9, dataset=dataset) for seed in range(2)]
        evidence = of_runs([factory.finished(job) for job in jobs])
        evidence.tables_folder, evidence.store = tmp_path, RunStore(tmp_path / "runs")
        for letter, cpu in processors.items():
            evidence.store.write(stored(job=JOBS[letter], identity=IDENTITY, environment={"cpu": cpu}))
        return evidence

    return made


def rendered(evidence: Evidence) -> tuple[str, Plots]:
    plots = Plots(evidence, None)
    return page.render(evidence, plots, None), plots


def test_published_figures_are_on_the_page(evidence_with: Callable[..., Evidence], folder: Path) -> None:
    """Of two runs of a row one is in MLflow: it is the one that a link leads to."""
    evidence = evidence_with(a="A", b="A", c="A")
    assert evidence.store is not None
    evidence.store.note_published(B, {"run_id": "bb", "experiment_id": "4", "store": "mlflow.db"})
    text, plots = rendered(evidence)
    section = text.partition('<section id="published">')[2].partition("</section>")[0]
    assert [row[1] in section for row in ROWS] == [True] * 3
    assert "97.2 to 98.4" not in section
    assert re.findall('href="(http[^"]*)"', section) == [
        RUN_PAGE.format(ui=ui_address.DEFAULT, experiment="4", run="bb")
    ]
    assert '<a href="#published">' in text
    assert plots.published is not None
    [drawing] = plots.published.groups[""]
    assert "A 1998: 96.00 (95.90 to 96.10) %, over the floor; B 2017: 2.00 points, outside." in drawing
    assert "published_figures.png" in plots.files()


def test_a_table_names_its_data_and_what_trained_it(evidence_with: Callable[..., Evidence], folder: Path) -> None:
    [shown] = other_tables.tables(evidence_with(a="A", b="A", c="A"))
    assert shown.lead.endswith("over seeds. Data: digits. Trained on CPU A.")
    assert not {"on", "trained"} & set(shown.columns)
    [shown] = other_tables.tables(evidence_with(a="A", b="A", c="B"))
    assert shown.lead.endswith("Trained on CPU A; CPU B.")
    assert "on" in shown.columns
    assert {len(row) for row in shown.rows} == {len(shown.columns)}


@pytest.mark.fault("tables without their runs")
def test_a_row_that_was_not_trained_here_says_so(evidence_with: Callable[..., Evidence], folder: Path) -> None:
    [shown] = other_tables.tables(evidence_with(a="A", c="A"))
    assert [row[shown.columns.index("trained")] for row in shown.rows] == ["elsewhere", "here", "–"]


@pytest.mark.fault("tables without their runs")
def test_a_table_that_comes_with_the_project_says_so(evidence_with: Callable[..., Evidence], folder: Path) -> None:
    documented = console.PROJECT / "docs/results"
    documented.mkdir(parents=True)
    (folder / "published.csv").rename(documented / "published.csv")
    [shown] = other_tables.tables(evidence_with())
    assert shown.lead.endswith("Not trained in this checkout: the table comes with the project.")
    assert shown.runs is None


@pytest.mark.fault("tables without their runs")
def test_a_table_of_another_data_set_is_not_on_the_page(evidence_with: Callable[..., Evidence], folder: Path) -> None:
    """None of its runs is here: on a page of digits it would be about MNIST."""
    write(folder, "tuned.csv", ["optimizer", "dataset", "keys"], ["adam", "mnist", "abc"])
    text, plots = rendered(evidence_with("digits"))
    assert 'id="published"' not in text
    assert 'id="tuned"' not in text
    assert plots.published is None


@pytest.mark.parametrize("content", ["", "keys\n", 'a,keys\n1,2,"3\n'], ids=["empty", "no rows", "broken"])
def test_a_table_that_cannot_be_read_is_not_shown(
    evidence_with: Callable[..., Evidence], tmp_path: Path, content: str
) -> None:
    (tmp_path / "published.csv").write_text(content)
    assert other_tables.read("published.csv", evidence_with()) is None


def test_tuned_rates_are_shown_as_the_guide_has_them() -> None:
    table = pd.read_csv(CHECKOUT / "docs/results/tuned.csv")
    assert all(f"| {' | '.join(row)} |" in GUIDE for row in tuned.brief(table))
    assert table["verdict"].eq("tuned more accurate").all()
    assert table["difference_gap_accuracy_low"].min() > 0
