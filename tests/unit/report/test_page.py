"""The page without a browser: self-contained, well formed, and correct for any set of runs."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.report import page
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Pictures
from pipeline.report.prose import verdicts
from pipeline.storage.sources import Source
from pipeline.training.result import DIVERGED
from tests.support import factory


class Elements(HTMLParser):
    """Collects start tags with their attributes, and checks that all tags are closed in order."""

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


def test_the_page_is_well_formed(elements):
    assert elements.open == [], "tags are closed in order"
    assert [name for name, count in Counter(elements.values("id")).items() if count > 1] == []
    targets = {value[1:] for value in elements.values("href") if value.startswith("#")}
    assert targets <= set(elements.values("id")), "anchors lead somewhere"


def test_nothing_is_fetched(report, elements):
    assert [tag for tag, attributes in elements.found if "src" in attributes] == []
    pictures = [value for value in elements.values("xlink:href") if value]
    assert len(pictures) == 24
    assert all(picture.startswith("data:") for picture in pictures)
    assert not re.search(r"@import|url\((?!#)", report.page)


def test_every_chart_has_an_alternative_and_a_file(report, elements):
    shown = [attributes for _, attributes in elements.found if attributes.get("class") == "chart"]
    assert len(shown) == 6
    assert all(attributes["aria-label"] for attributes in shown)
    made = {path.name for path in (report.folder / "figures").iterdir()}
    assert {"gap.svg", "gap.vl.json", "explorer.svg", "explorer.vl.json", "hardest_digits.svg"} <= made


def test_the_book_is_held_against_what_is_printed(report):
    section = report.page.partition('id="book"')[2].partition("</section>")[0]
    assert "97.8\u202f%" in section
    assert "3 of 3 lie in the expected band" in section


def test_method_says_how(report):
    section = report.page.partition('id="method"')[2]
    assert "0.1 points of test accuracy" in section, "the margins of conf/comparison.yaml"
    for word in (
        "held out for validation: 10,000 training images",
        "Student’s t",
        "0 to 2",
        "s of training in 75 runs",
        "CC BY-SA",
    ):
        assert word in section


# -- incomplete sets of runs


def rendered(found) -> str:
    text = page.render(found, Pictures(found))
    Elements(text)
    assert "nan" not in re.sub(r"<[^>]*>", "", text).split()
    return text


def runs(*jobs):
    return [factory.finished(job) for job in jobs]


def test_one_run_under_the_question_that_a_person_asked(of_runs):
    text = rendered(of_runs(runs(factory.job("adam", validation=9)), "Which <dropout>?"))
    assert "<h1>Which &lt;dropout&gt;?</h1>" in text
    assert "Only one configuration finished, so there is nothing to compare." in text
    assert 'id="book"' not in text


def test_nothing_finished(of_runs):
    lost = [factory.lost(factory.job("sgd", seed=seed), DIVERGED, f"reason {seed}") for seed in range(3)]
    found = of_runs(lost)
    text = page.render(found, None)
    Elements(text)
    assert "<strong>None of 3 runs finished</strong> (3 diverged), so there is nothing to compare." in text
    assert "reason 2" in text
    assert 'href="#answers"' not in text


def test_leak_alarm_is_on_the_page(of_runs):
    text = rendered(of_runs([factory.finished(factory.job(), test=0.995, gap=0.001)]))
    assert 'role="alert">Leak alarm: 1 run above 99.1' in text


def test_names_cannot_break_out(of_runs):
    result = factory.lost(factory.job("adam"), DIVERGED, "<script>alert(1)</script>")
    assert "<script>" not in rendered(of_runs([*runs(factory.job()), result]))


def test_words_are_explained_once():
    assert str(page.explained("by **0.1 nats**, then 0.2 nats & more")).count("<abbr") == 1
    assert "<strong>0.1 <abbr title=" in page.explained("by **0.1 nats**")
    assert "&amp; more" in page.explained("a & more")


def test_the_order_of_the_page(report):
    places = [
        report.page.index(f'<section id="{name}">')
        for name in ("answers", "explore", "leaderboard", "statistics", "method")
    ]
    assert places == sorted(places)
    questions = re.findall(r"<h2>([^<]*\?)</h2>", report.page)
    assert questions[:3] == [
        "Whose gap is larger?",
        "Who generalises worse for the same fit?",
        "Who was trained too long?",
    ]


def test_every_table_of_the_statistics_says_over_what_its_intervals_are(report):
    statistics = report.page.partition('<section id="statistics">')[2].partition("</section>")[0]
    tables = statistics.split("<details id=")[1:]
    assert len(tables) == 3
    assert all("over seeds" in table.partition("<table")[0] for table in tables)
    assert statistics.count("The test file is ") == 1


def test_each_comparison_has_its_own_answers_under_one_question():
    sources = [
        Source(name, (Path(name),), (), runs(*(factory.job(optimizer, width, validation=9) for width in (8, 16))))
        for name, optimizer in (("first", "adam"), ("second", "rmsprop"))
    ]
    found = Evidence(sources)
    text = rendered(found)
    assert text.count("<h2>Whose gap is larger?</h2>") == 1
    assert re.findall(r"<h3>(first|second)</h3>", text)[:2] == ["first", "second"]
    assert verdicts.of_comparisons(found.analyses)["experiment"].unique().tolist() == ["first", "second"]
