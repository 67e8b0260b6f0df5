"""Published figures against ours: reading and judging them, and training a recipe within a number of minutes."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import published as command
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import RunsLost, UserError
from pipeline.statistics import published
from pipeline.statistics.published import Row
from pipeline.storage.store import RunStore
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import Plan
from pipeline.tracking import TrackingUnavailable
from pipeline.training.result import FAILED
from tests.support.factory import lost, stored

ROWS = published.rows()


pytestmark = pytest.mark.usefixtures("hydra_as_before")
BAND = Row("x", "source", ("experiment=book",), "test accuracy", 97.8, low=97.2, high=98.4)


@pytest.mark.parametrize("words", [["minutes=-1"], ["minutes=nan"], ["seeds=0"], ["seeds=x"], ["only=bok"]], ids=str)
def test_a_wrong_word_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=words[0].partition("=")[0]):
        command.main(words)


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Row:
    """The only row, of a project that holds runs/, mlflow.db and reports/."""
    only = replace(BAND, runs=("experiment=book", "dataset=digits", "device.xla=false"))
    monkeypatch.setattr(published, "rows", lambda: [only])
    monkeypatch.setattr(command, "REPORTS", tmp_path / "reports")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return only


def test_what_mlflow_has_not_got_is_published_by_the_same_command(
    row: Row, processed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that is down stops no row. The command fails at its end, and repeating it publishes the rest."""
    store, (some, _) = RunStore(tmp_path / "runs"), command.planned(row, str(processed), 3)
    for each in some:
        store.write(stored(job=each.job, identity=each.identity))
    asked: list[list[int]] = []

    def session(plan: Plan, _: object) -> SimpleNamespace:
        asked.append([run.job.seed for run in plan])
        ended = SimpleNamespace(unsent=TrackingUnavailable("away") if len(asked) == 1 else None, outcomes={})
        return SimpleNamespace(run=lambda: ended)

    monkeypatch.setattr(command, "Session", session)
    words = ["seeds=3", f"data={processed}"]
    assert command.main(["minutes=0", *words]) == 0
    assert asked == [], "minutes=0 only tabulates"
    with pytest.raises(TrackingUnavailable, match="x: not all in MLflow yet"):
        command.main(["minutes=1", *words])
    assert (tmp_path / "reports" / "published.csv").is_file()
    assert command.main(["minutes=1", *words]) == 0
    assert asked == [[0, 1, 2]] * 2, "those that are there are handed over, too"


@pytest.mark.usefixtures("row")
def test_a_failed_run_is_an_error_that_says_why(
    processed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def session(plan: Plan, _: object) -> SimpleNamespace:
        outcomes = {run.key: Outcome(run, lost(run.job, FAILED, "MemoryError: too large")) for run in plan}
        return SimpleNamespace(run=lambda: SimpleNamespace(unsent=None, outcomes=outcomes))

    monkeypatch.setattr(command, "Session", session)
    said = r"1 run failed, first rmsprop-w512-d1-s0: MemoryError: too large; the same command trains it again"
    with pytest.raises(RunsLost, match=said):
        command.main(["minutes=1", "seeds=1", f"data={processed}"])
    assert (tmp_path / "reports" / "published.csv").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("row")
def test_a_recipe_is_trained_and_tabulated(processed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command on digits."""
    assert command.main(["minutes=5", "seeds=2", f"data={processed}"]) == 0
    said = capsys.readouterr().out
    assert "x: 2 seeds, takes about " in said
    with open(tmp_path / "reports" / "published.csv") as file:
        [line] = csv.DictReader(file)
    assert (line["seeds"], line["verdict"]) == ("2", "outside")
    assert line["ours"].endswith(" %")
    assert "(tensorflow " in line["on"], "which machine and libraries"
    assert float(line["mean_low"]) < float(line["mean"]) < float(line["mean_high"])
    assert (float(line["low"]), float(line["high"])) == (BAND.low, BAND.high)
    store = RunStore(tmp_path / "runs")
    assert sorted(line["keys"].split()) == sorted(key[:12] for key in store.keys())  # noqa: SIM118
    assert (tmp_path / "reports" / "published.md").read_text().count("\n") == 3
    assert command.main(["minutes=0", "seeds=2", f"data={processed}"]) == 0
    assert "x: " not in capsys.readouterr().out


def test_the_page_of_published_figures_has_a_line_for_every_row() -> None:
    """Each line says whether the row was run and with what result. The page agrees with the CSV file."""
    with open(PROJECT / "docs" / "results" / "published.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == [row.id for row in ROWS]
    assert all(line["verdict"].startswith("not run") == (int(line["seeds"]) == 0) for line in lines)
    assert all(line["on"] for line in lines if int(line["seeds"])), "what trained it"
    page = (PROJECT / "docs" / "results" / "published.md").read_text("utf-8").splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in page[2:]] == [line["id"] for line in lines]
    assert all(
        line["ours"] in row and row.endswith(f"| {line['verdict']} | {line['on']} |")
        for line, row in zip(lines, page[2:], strict=True)
    )
