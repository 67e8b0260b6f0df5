"""Published figures against ours: what is read, what is judged, and a recipe trained within a budget of minutes."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import figures
from pipeline.config import rules
from pipeline.console import PROJECT
from pipeline.errors import UserError
from pipeline.figures import Row
from pipeline.results.result import FINISHED, Result
from pipeline.tracking import TrackingUnavailable
from tests.results.test_store import result
from tests.training.command import as_before
from tests.training.factory import make_job

ROWS = figures.rows()


@pytest.fixture(autouse=True)
def _hydra_as_before() -> Iterator[None]:
    """Composing sets Hydra's version for the whole process, which the tests of the launcher would see."""
    with as_before():
        yield


BAND = Row("x", "source", ("experiment=book",), "test accuracy", 97.8, low=97.2, high=98.4)


def runs(values: Sequence[float], name: str = "test/accuracy", **changes: Any) -> list[Result]:
    figures_of = [{name: value} for value in values]
    return [
        Result("", make_job(seed=seed, **changes), FINISHED, None, {}, own, {}, "2026-01-01")
        for seed, own in enumerate(figures_of)
    ]


def test_every_recipe_is_among_them() -> None:
    named = {
        name for row in ROWS for word in row.runs if word.startswith("experiment=") for name in word[11:].split(",")
    }
    assert named == set(rules.options("experiment"))
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_each_row_can_be_judged_in_one_way(row: Row) -> None:
    ways = [row.low is not None and row.high is not None, row.over, row.lowest, row.flat, row.peak]
    assert sum(way is not None and way is not False for way in ways) == 1
    assert row.measure in figures.MEASURES
    assert figures.wanted(row)


@pytest.mark.parametrize(
    ("values", "verdict"), [([0.978, 0.98], "inside"), ([0.96, 0.97], "outside"), ([], "not run")], ids=str
)
def test_a_mean_lies_in_the_band_or_not(values: list[float], verdict: str) -> None:
    found = figures.judge(BAND, runs(values))
    assert (found.verdict, found.seeds) == (verdict, len(values))


def test_ours_is_the_mean_with_its_interval() -> None:
    # Student's t with one degree of freedom: 12.706 times the standard error, 0.1.
    assert figures.judge(BAND, runs([0.978, 0.980])).ours == "97.90 (96.63 to 99.17) %"


def test_of_each_seed_it_is_said_how_many() -> None:
    assert figures.judge(replace(BAND, each=True), runs([0.978, 0.96])).verdict == "1 of 2 seeds inside"


def test_a_floor_is_beaten_or_not() -> None:
    row = replace(BAND, low=None, high=None, over=97.0)
    assert figures.judge(row, runs([0.98])).verdict == "over the floor"
    assert figures.judge(row, runs([0.96])).verdict == "below the floor"


def test_an_order_is_that_of_the_means() -> None:
    row = Row("x", "source", ("experiment=kingma_ba", "optimizer=adam,sgd"), "training loss", lowest="adam")
    some = [*runs([0.1, 0.2], "train/loss", optimizer="adam"), *runs([0.3, 0.3], "train/loss", optimizer="sgd")]
    found = figures.judge(row, some)
    assert (found.ours, found.verdict) == ("adam 0.1500, sgd 0.3000 nats", "as published")
    assert figures.judge(replace(row, lowest="sgd"), some).verdict == "the lowest is adam"
    assert figures.judge(row, some[:2]).verdict == "not run in full"


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ([0.3, 0.1, 0.2, 0.05], "as published"),
        ([0.3, 0.2, 0.1, 0.05], "no peak: it only falls"),
        ([0.3, 0.1, 0.12, 0.2], "the peak is at 64"),
    ],
    ids=str,
)
def test_a_peak_is_right_of_the_first_minimum(errors: list[float], verdict: str) -> None:
    widths = (4, 16, 32, 64)
    row = Row("x", "source", ("experiment=belkin", "model.width=4,16,32,64"), "test error", peak=(20, 50))
    some = [run for width, error in zip(widths, errors, strict=True) for run in runs([1 - error], width=width)]
    assert figures.judge(row, some).verdict == verdict


def test_flat_is_within_so_many_points() -> None:
    row = Row("x", "source", ("experiment=blundell_400,blundell_800",), "test error", flat=0.15)
    some = [*runs([0.98], width=8), *runs([0.981], width=16)]
    assert figures.judge(row, some).verdict == "flat"
    assert figures.judge(replace(row, flat=0.05), some).verdict == "not flat"


@pytest.mark.parametrize("words", [["minutes=-1"], ["minutes=nan"], ["seeds=0"], ["seeds=x"], ["only=bok"]], ids=str)
def test_a_wrong_word_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=words[0].partition("=")[0]):
        figures.main(words)


def test_seeds_are_as_many_as_there_is_time_for(
    processed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(figures.batch, "store_root", lambda path: tmp_path / path)
    monkeypatch.setattr(figures, "seconds", lambda new, past, sweeps: 10.0 * len(new))
    row = Row("x", "source", ("experiment=book", "dataset=digits"), "test accuracy", low=0, high=1)
    store = figures.RunStore(tmp_path / "runs")
    some = figures.planned(row, str(processed), 10)
    assert [one.job.seed for one in some] == list(range(10))
    assert figures.affordable(some, 10, 1000, store) == (10, 100.0)
    assert figures.affordable(some, 10, 55, store) == (5, 50.0)
    assert figures.affordable(some, 10, 25, store) == (0, 30.0)


def test_what_mlflow_has_not_got_is_published_by_the_same_command(
    processed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where a server that is down kept it back: that ends no row but the command, at its end."""
    row = replace(BAND, runs=("experiment=book", "dataset=digits"))
    monkeypatch.setattr(figures, "rows", lambda: [row])
    monkeypatch.setattr(figures, "REPORTS", tmp_path / "reports")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store, some = figures.RunStore(tmp_path / "runs"), figures.planned(row, str(processed), 3)
    for one in some:
        store.write(result(key=one.key, job=one.job))
    commands, ends = [], [5, 0]

    def trained(command: list[str], **_: Any) -> Any:
        commands.append(command)
        if not (status := ends.pop(0)):
            for one in some:
                store.note_published(one.key, {"run_id": "id", "experiment_id": "1", "store": "mlflow.db"})
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(figures, "subprocess", SimpleNamespace(run=trained, DEVNULL=subprocess.DEVNULL))
    words = ["seeds=3", f"data={processed}"]
    assert figures.main(["minutes=0", *words]) == 0
    assert commands == [], "minutes=0 only tabulates"
    with pytest.raises(TrackingUnavailable, match="x: not all in MLflow yet"):
        figures.main(["minutes=1", *words])
    assert (tmp_path / "reports" / "published.csv").is_file()
    for _ in range(2):
        assert figures.main(["minutes=1", *words]) == 0
    assert ["seed=range(3)" in command for command in commands] == [True, True]


@pytest.mark.slow
def test_a_recipe_is_trained_and_tabulated(
    processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command on digits, with the training itself in a process of its own."""
    monkeypatch.setattr(
        figures, "rows", lambda: [replace(BAND, runs=("experiment=book", "dataset=digits", "device.xla=false"))]
    )
    monkeypatch.setattr(figures, "REPORTS", tmp_path / "reports")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # whose runs/ and mlflow.db they are
    assert figures.main(["minutes=5", "seeds=2", f"data={processed}"]) == 0
    said = capsys.readouterr().out
    assert "x: 2 seeds, about " in said
    with open(tmp_path / "reports" / "published.csv") as file:
        [line] = csv.DictReader(file)
    assert (line["seeds"], line["verdict"]) == ("2", "outside")
    assert line["ours"].endswith(" %")
    assert float(line["mean_low"]) < float(line["mean"]) < float(line["mean_high"])
    assert (float(line["low"]), float(line["high"])) == (BAND.low, BAND.high)
    assert [word.partition("/")[0].isdigit() for word in line["mlflow"].split()] == [True, True]
    assert (tmp_path / "reports" / "published.md").read_text().count("\n") == 3
    assert figures.main(["minutes=0", "seeds=2", f"data={processed}"]) == 0
    assert "x: " not in capsys.readouterr().out


def test_the_page_of_published_figures_has_a_line_for_every_row() -> None:
    """Whether it was run, and what came out; the page says what the table says."""
    with open(PROJECT / "reports" / "published.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == [row.id for row in figures.rows()]
    assert all(line["verdict"].startswith("not run") == (int(line["seeds"]) == 0) for line in lines)
    page = (PROJECT / "reports" / "published.md").read_text("utf-8").splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in page[2:]] == [line["id"] for line in lines]
    assert all(
        line["ours"] in row and row.endswith(f"| {line['verdict']} |")
        for line, row in zip(lines, page[2:], strict=True)
    )
