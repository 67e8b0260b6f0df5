"""Drawing: what each picture has, the same bytes each time, nothing cut off."""

from __future__ import annotations

import dataclasses
import io
import re

import matplotlib.image
import numpy as np
import pytest

from pipeline.report import figures, style
from pipeline.report import plots as drawn
from pipeline.report.plots import Comparison, Plots
from tests.support import factory


def test_every_series_looks_its_own():
    looks = style.look([f"optimizer {i}" for i in range(16)])
    assert len({(look["color"], look["marker"], str(look["linestyle"])) for look in looks.values()}) == 16


def test_hardest_digits_are_those_least_believed():
    result, labels = factory.with_network(factory.finished(factory.job())), factory.digits()["test_labels"]
    found = drawn.hardest(result, factory.arrays(), 10)
    assert len(found) == 10
    first = result.probabilities[np.arange(360), labels].argmin()
    assert found[0].actual == labels[first]
    assert found[0].certainty == result.probabilities[first].max()


def deep(optimizers=("adam", "sgd"), depths=(1, 2)):
    jobs = [
        factory.job(optimizer, width, seed, 10) for optimizer in optimizers for width in (4, 16) for seed in range(3)
    ]
    return [
        factory.finished(
            dataclasses.replace(job, model=dataclasses.replace(job.model, hidden=job.model.hidden * depth))
        )
        for depth in depths
        for job in jobs
    ]


def pictures(evidence) -> Comparison:
    """Those of the only comparison."""
    [found] = Plots(evidence, None).comparisons.values()
    return found


def test_each_network_is_a_panel_with_a_line_for_each_optimizer(of_runs):
    plots = pictures(of_runs(deep()))
    assert list(plots.gap.drawings) == ["1 layer", "2 layers"]
    assert sorted(plots.gap_by_loss.drawings) == [
        f"width {width}, {layers}" for width in (16, 4) for layers in ("1 layer", "2 layers")
    ]
    drawing = plots.gap_by_loss.drawings["width 4, 1 layer"].decode()
    assert set(re.findall(r">(adam|sgd)<", drawing)) == {"adam", "sgd"}


def test_one_optimizer_has_a_line_for_each_width(of_runs):
    plot = pictures(of_runs(deep(("adam",), (1,)))).gap_by_loss
    assert set(re.findall(r">(width \d+)<", plot.drawings[""].decode())) == {"width 4", "width 16"}


def test_a_single_epoch_has_no_curve_to_draw(of_runs):
    runs = [factory.finished(factory.job(name, 8, epochs=1, validation=9)) for name in ("adam", "sgd")]
    plots = pictures(of_runs(runs))
    assert (plots.gap_by_loss, plots.held_out_loss) == (None, None)


def test_nothing_is_cut_off_at_the_edge_of_a_picture(report):
    images = [path for path in (report.folder / "figures").glob("*.png") if path.stem != "hardest_digits"]
    assert len(images) > 5
    for path in images:
        shown = matplotlib.image.imread(path)[..., :3]
        edge = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
        assert edge.min() > 0.9, path.name


@pytest.mark.parametrize("title", ["momentum, width 512, 10,000 samples", "momentum, " + "dropout 0.5, " * 9])
def test_a_long_title_stays_in_its_panel(title):
    figure = figures.sheet({title: lambda axes: axes[0].plot([0, 1])})
    png = matplotlib.image.imread(io.BytesIO(style.png(figure)))[..., :3]
    assert png[:, -3:].min() > 0.9
    assert png[:40].min() < 0.5, "there is a title"


def swept(**values) -> list:
    """Runs of adam, two seeds for each value of one field of the model or of training."""
    [(field, options)] = values.items()
    base = [factory.job("adam", 64, seed, validation=10_000) for seed in range(2)]
    part = "model" if field == "dropout" else "training"
    jobs = [
        dataclasses.replace(job, **{part: dataclasses.replace(getattr(job, part), **{field: value})})
        for job in base
        for value in options
    ]
    return [factory.finished(job) for job in jobs]


def test_a_factor_of_numbers_is_an_axis_and_one_of_names_has_rows(of_runs):
    plots = pictures(of_runs(swept(dropout=(0.0, 0.2, 0.5))))
    assert (plots.gap.name, plots.gap.title) == ("gap_accuracy_by_dropout", "The gap in accuracy, by dropout")
    assert b"dropout 0.5" in plots.held_out_loss.drawings["width 64"]
    named = pictures(of_runs(swept(schedule=("constant", "cosine"))))
    assert named.gap is None
    assert "adam, width 64, schedule cosine" in named.dumbbells.alternative


def test_rows_of_a_table_are_samples_and_no_pictures(of_runs):
    runs = [factory.finished(factory.job("adam", 64, seed, validation=10_000)) for seed in range(2)]
    factory.with_network(runs[0])
    plots = Plots(of_runs(runs, winner=runs[0].key), dataclasses.replace(factory.arrays(), image_shape=(64,)))
    assert plots.hardest is None
    assert "on 360 test samples. Rows: the class of a sample" in plots.confusion.caption
