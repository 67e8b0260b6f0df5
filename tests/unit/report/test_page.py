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
from pipeline.report import layers, method, page
from pipeline.report.exhibits import Exhibits
from pipeline.training.result import DIVERGED
from tests.unit.report import factory


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
    assert len(figures) == 13
    assert [figure[:40] for figure in figures if "<table" not in figure] == []


def test_runs_lead_to_mlflow(elements):
    links = [
        value for value in elements.values("href") if value.startswith("http://127.0.0.1:5000/#/experiments/7/runs/")
    ]
    assert len(links) >= 73


def section(report, name: str) -> str:
    return report.page.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def test_configurations_in_tables_lead_to_their_runs(report):
    """A number of a mean leads to its row of the leaderboard, which leads to the run of every seed."""
    details = section(report, "shown").partition('id="gap_points"')[2].partition("</details>")[0]
    anchors = re.findall(r'<th scope="row"><a href="#(configuration-0-\d+)">([^<]*)</a>', details)
    assert len(anchors) == 24
    row = report.page.partition(f'<tr id="{anchors[0][0]}"')[2].partition("</tr>")[0]
    assert "http://127.0.0.1:5000/#/experiments/7/runs/" in row
    optimizer, _, width = anchors[0][1].partition(", ")
    assert optimizer in row
    assert width in row


def test_cells_of_the_maps_lead_to_their_runs(report):
    figure = report.page.partition('<figure id="heatmap_gap">')[2].partition("</figure>")[0]
    assert len(set(re.findall(r'<td><a href="#(configuration-0-\d+)">', figure))) == 24


def test_the_books_seeds_lead_to_their_own_runs(report):
    figure = report.page.partition('<figure id="baseline">')[2].partition("</figure>")[0]
    assert re.findall(r'<th scope="row"><a href="[^"]*/runs/0*(\d)">(\d)</a>', figure) == [("0", "0"), ("1", "1")]
    curves = report.page.partition('<figure id="learning_curves_mnist_book">')[2].partition("</figure>")[0]
    assert '<a href="#configuration-1-0">rmsprop, width 512</a>' in curves


def test_the_best_network_and_its_sweep_lead_to_mlflow(report):
    assert re.search(r'<strong><a href="[^"]*/runs/\w+">[a-z]+-w\d+-d1-s\d</a></strong>', section(report, "network"))
    assert 'experiments/7/runs/parent">The whole sweep in MLflow</a>' in section(report, "leaderboard")


def test_lost_runs_lead_to_mlflow(report):
    assert (
        section(report, "lost").count('<th scope="row"><a href="http://127.0.0.1:5000/') == 1
    )  # the last is not published


def test_the_layers_are_shown_with_a_number_each(report):
    figure = report.page.partition('<figure id="layers">')[2].partition("</figure>")[0]
    assert re.findall(r'aria-label="(Pixels|Hidden layer|Output)', figure) == ["Pixels", "Hidden layer", "Output"]
    assert "Neighbourhood hit" in figure
    assert figure.count('<th scope="row">') == 3


def test_the_slope_of_the_gap_is_shown_over_epochs_and_width(report):
    gap = section(report, "gap")
    assert "slope, points per epoch" in gap
    assert "points per doubling" in gap


def test_two_networks_are_held_against_each_other(report):
    shown = section(report, "shown")
    assert re.search(r"Of 360 test images \d+ are right with [\w-]+ only, \d+ with [\w-]+ only \(McNemar", shown)
    assert 'id="bootstrap"' in shown
    assert "360" in shown.partition('id="bootstrap"')[2].partition("</details>")[0]


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
        *("hardest_digits.png", "first_layer.png", "layers.png", "gap_by_epoch.png"),
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
    jobs = [factory.job(name, seed=seed, validation=9, epochs=1) for name in ("adam", "sgd") for seed in range(2)]
    text = rendered(of_runs(runs(*jobs)))
    assert "With one epoch each there is no curve: no onset, and no gap at matched training loss." in text
    assert "After a single epoch no onset of overfitting can be known." in text
    assert 'id="gap_by_epoch"' not in text


def test_runs_of_other_data_and_machines(of_runs):
    found = runs(*(factory.job(name, seed=seed, validation=9) for name in ("adam", "sgd") for seed in range(2)))
    found[0].identity = {**found[0].identity, "data": "another"}
    for number, result in enumerate(found):
        result.environment = {"numerics_class": "ab"[number % 2] * 64}
    text = rendered(of_runs(found))
    # At the head of the page and among what the runs cannot say it is the same.
    for who in ("The runs of sweep on mnist", "The runs on mnist"):
        assert (
            f"{who} come from different data: a mean is over all of them, and only runs that share it are paired."
            in text
        )
    assert "machines that compute differently (2 numerics classes: 2 of aaaaaaaa, 2 of bbbbbbbb)" in text


def test_nothing_finished(of_runs):
    lost = [factory.lost(factory.job("sgd", seed=seed), DIVERGED, f"reason {seed}") for seed in range(3)]
    found = of_runs(lost)
    text = page.render(found, None, None)
    Elements(text)
    assert "<strong>None of 3 runs finished</strong> (3 diverged)." in text
    assert "reason 2" in text
    assert 'href="#leaderboard"' not in text


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
    digits = factory.digits()
    named = {name: values[digits[f"{name.partition('_')[0]}_labels"] < 2] for name, values in digits.items()}
    arrays = Arrays("two", **named, classes=2, image_shape=(8, 8), digest=arrays_digest(named))
    random, result = np.random.default_rng(0), factory.finished(factory.job(width=6, dataset="two"))
    result.weights = {"hidden_1/kernel": random.normal(size=(64, 6)), "hidden_1/bias": np.zeros(6)}
    result.weights |= {"classes/kernel": random.normal(size=(6, 2)), "classes/bias": np.zeros(2)}
    [*_, (_, logits)] = layers.outputs(result.job.model, result.weights, arrays.test_images)
    result.predictions, result.probabilities = logits.argmax(axis=1).astype(np.uint8), factory.softmax(logits)
    errors = int((result.predictions != arrays.test_labels).sum())
    text = rendered(of_runs([result]), arrays)
    assert f"makes {errors} errors on {len(arrays.test_labels)} test images" in text
    assert "Output, before the softmax, 2 dimensions" in text
    assert "One configuration finished: its figures can be given, and nothing compared." in text


def test_leak_alarm_is_on_the_page(of_runs):
    text = rendered(of_runs([factory.finished(factory.job(), test=0.995, gap=0.001)]))
    assert 'role="alert">Leak alarm: 1 run above 99.1' in text


def test_names_cannot_break_out(of_runs):
    result = factory.lost(factory.job("adam"), DIVERGED, "<script>alert(1)</script>")
    assert "<script>" not in rendered(of_runs([*runs(factory.job()), result]))
