"""What the statistics show, on the page, in contrasts.csv and at the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report import findings, page, tables
from pipeline.report.evidence import Evidence, Source
from pipeline.report.prose import answers
from tests.support import factory


@pytest.fixture(scope="module")
def ten() -> Evidence:
    """Ten seeds of a sweep, of which none was lost."""
    runs = [
        factory.finished(factory.job(optimizer, width, seed, validation=10_000))
        for optimizer in factory.PROFILES
        for width in factory.WIDTHS
        for seed in range(10)
    ]
    evidence = Evidence([Source("sweep", Path("sweep"), None, runs)])
    evidence.labels = factory.digits()["test_labels"]
    return evidence


def section(page: str) -> str:
    return page[page.index('<section id="shown">') : page.index('<section id="book">')]


def test_the_page_has_both_answers(report, evidence: Evidence) -> None:
    for answer in answers.answers(evidence.analysis):
        assert page.unbroken(answer) in section(report.page)


def test_the_terminal_and_the_note_say_the_same(report, evidence: Evidence) -> None:
    which, overfits = answers.answers(evidence.analysis)
    assert overfits in report.said
    assert which in tables.note(evidence)


def test_the_gap_is_told_at_three_points(ten: Evidence) -> None:
    table = findings.gap_points(ten.analysis)
    points = ["last epoch", "chosen on validation", "training loss reached"]
    assert table.columns.tolist() == ["configuration", *points, "onset epoch, median"]
    assert len(table) == 24
    adam = table[table["configuration"].eq("adam, width 512")].iloc[0]
    mean = 100 * ten.table.loc[ten.table["optimizer"].eq("adam") & ten.table["hidden"].eq("512"), "gap_accuracy_mean"]
    # Against the validation split there, and the curve of the runs made here ends in the same figures.
    assert float(adam["last epoch"].split()[0]) == pytest.approx(mean.iloc[0], abs=0.01)
    assert "epoch 5" in adam["last epoch"]


def test_nothing_is_shown_as_a_number_that_is_none(ten: Evidence) -> None:
    for frame in [one.table for one in findings.verdicts(ten.analysis)] + [findings.gap_points(ten.analysis)]:
        assert not frame.map(lambda cell: "nan" in str(cell).lower()).to_numpy().any()


def test_the_two_best_networks_are_of_two_configurations(ten: Evidence) -> None:
    duel = findings.two_best(ten)
    assert duel is not None
    first, second = duel.runs
    assert first.job.configuration != second.job.configuration
    best = {run.figures["best/val_accuracy"] for run in ten.main_results}
    assert first.figures["best/val_accuracy"] == max(best)
    assert int(duel.table.iloc[:, 1:].to_numpy().sum()) == 360
    assert duel.sentence.startswith("Of 360 test images ")


def test_the_slope_over_the_width_is_of_all_seeds(ten: Evidence) -> None:
    table = findings.width_slopes(ten)
    assert set(table["optimizer"]) == set(factory.PROFILES)
    assert set(table["seeds"]) == {10}
    steep = dict(zip(table["optimizer"], table["points per doubling"], strict=True))
    assert float(steep["nadam"]) > float(steep["momentum"]) > 0
