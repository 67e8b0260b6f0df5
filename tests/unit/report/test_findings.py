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


def test_nothing_is_shown_as_a_number_that_is_none(ten: Evidence) -> None:
    for found in findings.verdicts(ten.analysis):
        assert not found.table.map(lambda cell: "nan" in str(cell).lower()).to_numpy().any()
