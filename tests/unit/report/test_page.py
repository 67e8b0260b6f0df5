"""The page without a browser: complete in itself, well formed, and honest whatever the runs are."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from pipeline.report import page
from pipeline.report.exhibits import Exhibits
from pipeline.training.result import DIVERGED
from tests.support import factory


class Elements(HTMLParser):
    """Start tags with their attributes, and whether all tags are closed in order."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "path", "use"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def values(self, attribute):
        return [value for _, attributes in self.found for name, value in attributes.items() if name == attribute]


@pytest.fixture(scope="module")
def elements(report) -> Elements:
    return Elements(report.page)


def test_tags_are_closed_in_order(elements):
    assert elements.open == []


def test_ids_are_unique(elements):
    assert [name for name, count in Counter(elements.values("id")).items() if count > 1] == []


def test_anchors_lead_somewhere(elements):
    targets = {value[1:] for value in elements.values("href") if value.startswith("#")}
    assert targets <= set(elements.values("id"))


def test_nothing_is_fetched(report, elements):
    sources = [attributes.get("src") for tag, attributes in elements.found if tag in ("img", "script", "iframe")]
    assert all(source.startswith("data:") for source in sources)
    assert "@import" not in report.page
    assert not re.search(r"url\((?!#)", report.page)


def test_every_picture_has_an_alternative(elements):
    pictures = [attributes.get("alt") for tag, attributes in elements.found if tag == "img"]
    drawings = [attributes.get("aria-label") for tag, attributes in elements.found if tag == "svg"]
    assert len(pictures) > 20
    assert len(drawings) > 20
    assert all(pictures)
    assert all(drawings)


def test_the_book_is_held_against_what_is_printed(report):
    section = report.page.partition('id="book"')[2].partition("</section>")[0]
    assert "97.8\u202f%" in section
    assert "3 of 3 lie in the expected band" in section


def test_method_says_how(report):
    section = report.page.partition('id="method"')[2]
    # For what true difference seeds are counted: as conf/comparison.yaml declares.
    assert (
        "a true difference of 0.2 points of test accuracy, 0.2 points of accuracy gap or 0.01 nats of loss gap"
        in section
    )
    for word in (
        "10,000 training images are held out",
        "Student&#39;s t",
        "0 to 2",
        "s of training in 75 runs",
        "CC BY-SA",
    ):
        assert word in section


# -- runs that allow less


def rendered(found, arrays=None) -> str:
    text = page.render(found, Exhibits(found, arrays), arrays)
    Elements(text)
    assert "nan" not in re.sub(r"<[^>]*>", "", text).split()
    return text


def runs(*jobs):
    return [factory.finished(job) for job in jobs]


def test_one_run(of_runs):
    text = rendered(of_runs(runs(factory.job("adam", validation=9))))
    assert "one seed, so no interval" in text
    assert "A single configuration" in text
    assert "nothing to hold against its 97.8" in text


def test_nothing_finished(of_runs):
    lost = [factory.lost(factory.job("sgd", seed=seed), DIVERGED, f"reason {seed}") for seed in range(3)]
    found = of_runs(lost)
    text = page.render(found, None, None)
    Elements(text)
    assert "<strong>None of 3 runs finished</strong> (3 diverged)." in text
    assert "reason 2" in text
    assert 'href="#leaderboard"' not in text


def test_leak_alarm_is_on_the_page(of_runs):
    text = rendered(of_runs([factory.finished(factory.job(), test=0.995, gap=0.001)]))
    assert 'role="alert">Leak alarm: 1 run above 99.1' in text


def test_names_cannot_break_out(of_runs):
    result = factory.lost(factory.job("adam"), DIVERGED, "<script>alert(1)</script>")
    assert "<script>" not in rendered(of_runs([*runs(factory.job()), result]))
