"""Tables of other commands, on the page where they are there."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from pipeline.report import beside, page
from pipeline.report.evidence import RUN_PAGE
from pipeline.report.exhibits import Exhibits
from pipeline.results.find import beginning
from pipeline.results.store import RunStore
from tests.clone import CHECKOUT
from tests.report import factory
from tests.results.test_store import result

README = (CHECKOUT / "README.md").read_text("utf-8")
HEAD = ["id", "source", "measure", "published", "band", "ours", "seeds", "verdict", *beside.NUMBERS, beside.KEYS]
FLOOR = ["95.3", "", "96.0", "95.9", "96.1", "aaaaaaaaaaaa bbbbbbbbbbbb"]
BAND = ["1.38", "1.88", "2.0", "", "", ""]
ROWS = [
    ["a", "A 1998", "test accuracy", "95.3", "over 95.3", "96.00 (95.90 to 96.10) %", "3", "over the floor", *FLOOR],
    ["b", "B 2017", "gap", "1.63", "1.38 to 1.88", "2.00 points", "1", "outside", *BAND],
    ["c", "C 2015", "test error", "", "within 0.15", "", "0", "not run", *[""] * 6],
]


def nowhere(_: str) -> None:
    """No run is here."""


def write(folder: Path, name: str, *lines: list[str]) -> Path:
    with open(folder / name, "w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, "published.csv", HEAD, *ROWS)


def rendered(of_runs, folder: Path, store: RunStore | None = None) -> tuple[str, Exhibits]:
    evidence = of_runs([factory.finished(factory.job("adam", 64, seed, validation=9)) for seed in range(2)])
    evidence.beside, evidence.store = folder, store
    exhibits = Exhibits(evidence, None)
    return page.render(evidence, exhibits, None), exhibits


def test_published_figures_are_on_the_page(of_runs, folder: Path, tmp_path: Path) -> None:
    """Of two runs one is here and in MLflow: it is the one that a link leads to."""
    store = RunStore(tmp_path / "runs")
    run = result()
    store.write(run)
    store.note_published(run.key, {"run_id": "bb", "experiment_id": "4", "store": "mlflow.db"})
    published = folder / "published.csv"
    published.write_text(published.read_text().replace("b" * 12, beginning(run.key)))
    text, exhibits = rendered(of_runs, folder, store)
    section = text.partition('<section id="published">')[2].partition("</section>")[0]
    assert [row[1] in section for row in ROWS] == [True] * 3
    assert "97.2 to 98.4" not in section
    assert re.findall('href="(http[^"]*)"', section) == [RUN_PAGE.format(experiment="4", run="bb")]
    # The numbers behind the picture lead to the table's rows, which have the runs.
    assert re.findall('<a href="#([^"]*)"', section) == ["published-a", "published-b"]
    assert '<tr id="published-a">' in section
    assert '<a href="#published">' in text
    assert exhibits.published is not None
    assert "A 1998: 96.00 (95.90 to 96.10) %, over the floor" in exhibits.published.alternative
    assert exhibits.published.table["source"].to_list() == ["A 1998", "B 2017"]
    assert "published_figures.png" in exhibits.files()


def test_any_table_of_tuned_rates_is_on_the_page(of_runs, tmp_path: Path) -> None:
    text, _ = rendered(of_runs, write(tmp_path, "tuned.csv", ["optimizer", "rate"], ["adam", "<0.002>"]))
    section = text.partition('<section id="tuned">')[2].partition("</section>")[0]
    assert '<th scope="row">adam</th><td>&lt;0.002&gt;</td>' in section


def test_what_is_not_there_is_not_on_the_page(of_runs, tmp_path: Path) -> None:
    text, exhibits = rendered(of_runs, tmp_path)
    assert 'id="published"' not in text
    assert exhibits.published is None


@pytest.mark.parametrize("content", ["", "a,b\n", 'a,b\n1,2,"3\n'], ids=["empty", "no rows", "broken"])
def test_a_table_that_cannot_be_read_is_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "published.csv").write_text(content)
    assert beside.tables(tmp_path, nowhere) == []


def test_a_table_of_before_has_no_bands(tmp_path: Path) -> None:
    write(tmp_path, "published.csv", HEAD[:8], *(row[:8] for row in ROWS))
    assert beside.bands(beside.read(tmp_path, "published.csv")) is None
    assert len(beside.tables(tmp_path, nowhere)) == 1


@pytest.mark.parametrize(
    ("on", "column", "said"),
    [
        (["CPU A", "CPU A", ""], False, "All of ours were trained on CPU A."),
        (["CPU A", "GPU B", ""], True, "over seeds."),
        (["", "", ""], False, "over seeds."),
    ],
    ids=["one machine", "two", "none"],
)
def test_what_trained_all_of_them_is_said_once(tmp_path: Path, on: list[str], column: bool, said: str) -> None:
    write(tmp_path, "published.csv", [*HEAD, "on"], *([*row, one] for row, one in zip(ROWS, on, strict=True)))
    [shown] = beside.tables(tmp_path, nowhere)
    assert ("on" in shown.columns) == column
    assert {len(row) for row in shown.rows} == {len(shown.columns)}
    assert shown.lead.endswith(said)


def test_ids_of_another_database_are_not_shown(tmp_path: Path) -> None:
    """What published.csv had in earlier releases in place of keys."""
    write(tmp_path, "published.csv", [*HEAD[:-1], "mlflow"], [*ROWS[0][:-1], "3/efe08bfa17d2488a93b91681b6eb54a6"])
    [shown] = beside.tables(tmp_path, nowhere)
    assert shown.columns == HEAD[:8]
    assert shown.runs is None


def test_tuned_rates_are_shown_in_brief() -> None:
    """The project's own table, as its README has it."""
    [shown] = [one for one in beside.tables(CHECKOUT / "reports", nowhere) if one.about.id == "tuned"]
    assert shown.columns[:2] == ["optimizer", "default → tuned rate"]
    assert all(f"| {' | '.join(row[:-1])} |" in README for row in shown.rows)
    assert {row[-1] for row in shown.rows} == {"64"}
