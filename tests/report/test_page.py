"""The page without a browser: complete in itself, well formed, and honest whatever the runs are."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from pipeline.config.digests import arrays_digest
from pipeline.data.arrays import Arrays
from pipeline.report import method, page
from pipeline.report.exhibits import Exhibits
from pipeline.results.result import DIVERGED
from tests.report import factory


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


def test_no_script(elements):
    assert "script" not in {tag for tag, _ in elements.found}


def test_the_page_is_small(report):
    assert (report.folder / "index.html").stat().st_size < 3_000_000


def test_every_picture_has_an_alternative(elements):
    pictures = [attributes.get("alt") for tag, attributes in elements.found if tag == "img"]
    drawings = [attributes.get("aria-label") for tag, attributes in elements.found if tag == "svg"]
    assert len(pictures) > 20
    assert len(drawings) > 20
    assert all(pictures)
    assert all(drawings)


def test_headings_descend_one_level_at_a_time(elements):
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_figure_has_its_table(report):
    figures = re.findall(r"<figure.*?</figure>", report.page, re.DOTALL)
    assert len(figures) == 11
    assert [figure[:40] for figure in figures if "<table" not in figure and 'id="first_layer"' not in figure] == []


def test_runs_lead_to_mlflow(elements):
    links = [
        value for value in elements.values("href") if value.startswith("http://127.0.0.1:5000/#/experiments/7/runs/")
    ]
    assert len(links) >= 73


def test_lost_runs_are_named_with_their_reason(report):
    section = report.page.partition('id="lost"')[2].partition("</section>")[0]
    assert "the loss of epoch 2 is not a number" in section
    assert "MemoryError: out of memory" in section
    assert "python -m pipeline.train" in section


def test_the_book_is_held_against_what_is_printed(report):
    section = report.page.partition('id="book"')[2].partition("</section>")[0]
    assert "97.8\u202f%" in section
    assert "3 of 3 lie in the expected band" in section


def test_method_says_how(report):
    section = report.page.partition('id="method"')[2]
    for word in (
        "10,000 training images are held out",
        "Student&#39;s t",
        "0 to 2",
        "s of training in 75 runs",
        "CC BY-SA",
    ):
        assert word in section


def test_commands_are_told_without_the_place_of_the_checkout():
    assert method._short("/home/a/b c/pipeline/train.py seed=1") == "python -m pipeline.train seed=1"
    assert method._short("a" * 64) == "a" * 12


def test_figures_are_files_too(report):
    names = {path.name for path in (report.folder / "figures").iterdir()}
    assert names == {
        *(
            "gap_at_best_width.png",
            "gap_accuracy_by_width.png",
            "gap_loss_by_width.png",
            "baseline.png",
            "confusion.png",
        ),
        *("heatmap_test_accuracy.png", "heatmap_gap.png", "learning_curves.png", "learning_curves_mnist_book.png"),
        *("hardest_digits.png", "first_layer.png"),
    }


def test_strong_escapes_everything_else():
    assert page.strong("**a<b** & c") == "<strong>a&lt;b</strong> &amp; c"


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


def test_one_epoch(of_runs):
    rendered(of_runs(runs(*(factory.job("adam", seed=seed, validation=9, epochs=1) for seed in range(2)))))


def test_one_seed_of_each(of_runs):
    text = rendered(
        of_runs(runs(*(factory.job(name, width, validation=9) for name in ("adam", "sgd") for width in (16, 64))))
    )
    assert "With 1 seed per configuration this is <strong>a smoke test" in text


def test_all_but_one_diverged(of_runs):
    lost = [factory.lost(factory.job(name, validation=9), DIVERGED, "not a number") for name in ("adam", "nadam")]
    assert "2 diverged" in rendered(of_runs([*runs(factory.job("sgd", validation=9)), *lost]))


def test_widths_that_differ_from_layer_to_layer(of_runs):
    job = factory.job("adam", validation=9)
    shapes = [
        dataclasses.replace(job, model=dataclasses.replace(job.model, hidden=hidden)) for hidden in ((64, 32), (8,))
    ]
    assert "widths 64, 32" in rendered(of_runs(runs(*shapes)))


def test_learning_rates_of_one_optimizer_are_told_apart(of_runs):
    jobs = [factory.with_rate(factory.job("adam", validation=9), rate) for rate in (0.1, 0.01)]
    assert "learning rate 0.01" in rendered(of_runs(runs(*jobs)))


def test_more_optimizers_than_colours(of_runs):
    assert "opt8, width 8" in rendered(of_runs(runs(*(factory.job(f"opt{i}", 8, validation=9) for i in range(9)))))


def test_more_widths_than_panels(of_runs):
    jobs = [factory.job("adam", width, validation=9) for width in (4, 8, 16, 32, 64, 128, 256)]
    assert rendered(of_runs(runs(*jobs))).count('type="radio"') == 6


def test_the_book_on_other_data_is_not_held_against_the_printed_figure(of_runs):
    text = rendered(of_runs(runs(factory.job(dataset="digits")), "book"))
    assert "is for MNIST and cannot be held against this" in text


def test_a_network_that_is_perfect_in_training(of_runs):
    result = factory.finished(factory.job(), test=0.98, gap=0.02)
    result.history["train/accuracy"] = [1.0] * 5
    rendered(of_runs([result]))


def test_two_classes(of_runs):
    random = np.random.default_rng(0)
    images = random.random((8, 4), dtype=np.float32)
    labels = (np.arange(8) % 2).astype(np.uint8)
    named = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    arrays = Arrays("two", **named, classes=2, image_shape=(2, 2), digest=arrays_digest(named))
    result = factory.finished(factory.job(dataset="two"))
    result.predictions = labels[::-1].copy()
    assert "makes 8 errors on 8 test images" in rendered(of_runs([result]), arrays)


def test_leak_alarm_is_on_the_page(of_runs):
    text = rendered(of_runs([factory.finished(factory.job(), test=0.995, gap=0.001)]))
    assert 'role="alert">Leak alarm: 1 run above 99.1' in text


def test_names_cannot_break_out(of_runs):
    result = factory.lost(factory.job("adam"), DIVERGED, "<script>alert(1)</script>")
    assert "<script>" not in rendered(of_runs([*runs(factory.job()), result]))
