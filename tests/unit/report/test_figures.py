"""Drawing: labels that keep out of each other's way, SVG that belongs to the page, pictures made of pixels."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest

from pipeline.report import figures, pictures, style
from pipeline.report.plots import Plots
from tests.support import factory


def test_labels_make_room_for_each_other():
    places = figures.spread([0.5, 0.5, 0.51], 0.1)
    assert np.diff(sorted(places)).min() == pytest.approx(0.1)
    assert np.mean(places) == pytest.approx(np.mean([0.5, 0.5, 0.51]))


def test_every_series_looks_its_own():
    looks = style.look([f"optimizer {i}" for i in range(16)])
    assert len({(look["color"], look["marker"], str(look["linestyle"])) for look in looks.values()}) == 16


def drawn(name: str = "here") -> str:
    with style.styled():
        figure, ax = style.axes(3, 2)
        ax.plot([0, 1], [0, 1], "o-", color=style.BLUE)
        return style.svg(figure, name, 'a "line" < 2')


def test_svg_is_well_formed_and_named():
    root = ElementTree.fromstring(drawn().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "line" < 2'


def test_drawing_twice_gives_the_same_bytes():
    assert drawn() == drawn()


def test_hardest_digits_are_those_least_believed():
    result = factory.with_network(factory.finished(factory.job()))
    found = pictures.hardest(result, factory.arrays(), 10)
    beliefs = [hard.belief for hard in found]
    assert beliefs == sorted(beliefs)
    assert beliefs[0] == result.probabilities[np.arange(360), factory.digits()["test_labels"]].min()
    assert re.match(r"A \d taken for \d with \d+ % certainty", found[0].alternative)


def test_first_layer_shows_the_units_with_the_largest_weights_to_the_next():
    result = factory.with_network(factory.finished(factory.job()))
    layer = pictures.first_layer(result, factory.arrays(), 5)
    largest = np.linalg.norm(result.weights["classes/kernel"], axis=1).argmax()
    expected = pictures.weight_atlas(result.weights["hidden_1/kernel"][:, [largest]].T.reshape(1, 8, 8))
    assert (layer.shown, layer.units) == (5, 48)
    assert np.array_equal(layer.picture[:8, :8], expected)


def test_weights_show_sign_by_colour_and_strength_by_opacity():
    tile = pictures.weight_atlas(np.array([[[1.0, -0.5], [0.0, 0.0]]]))
    assert tile[0, 0].tolist() == [*pictures.POSITIVE_RGB, 255]
    assert tile[0, 1].tolist() == [*pictures.NEGATIVE_RGB, 128]
    assert tile[1, 0, 3] == 0


def deep(optimizers=("adam", "sgd"), depths=(1, 2, 3)):
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


def test_several_depths_are_panels_of_their_own(of_runs):
    plot = Plots(of_runs(deep(("adam", "sgd"), (1, 2))), None).main.gap_accuracy
    assert [re.findall(r">(\d layers?)<", panel) for panel in plot.groups[""]] == [["1 layer"], ["2 layers"]]


def test_the_gap_by_training_loss_has_a_line_for_each_optimizer_and_a_panel_for_each_width(of_runs):
    plot = Plots(of_runs(deep()), None).main.gap_by_loss
    assert list(plot.groups) == ["1 layer", "2 layers", "3 layers"]
    assert [len(panels) for panels in plot.groups.values()] == [2, 2, 2]
    assert {"adam", "sgd"} <= set(re.findall(r">(adam|sgd)<", plot.groups["1 layer"][0]))


def test_one_optimizer_has_a_line_for_each_width(of_runs):
    plot = Plots(of_runs(deep(("adam",), (1,))), None).main.gap_by_loss
    assert set(re.findall(r">(width \d+)<", plot.groups[""][0])) == {"width 4", "width 16"}


def test_a_single_epoch_has_no_curve_to_draw(of_runs):
    plots = Plots(
        of_runs([factory.finished(factory.job(name, 8, epochs=1, validation=9)) for name in ("adam", "sgd")]), None
    )
    assert (plots.main.gap_by_loss, plots.main.held_out_loss) == (None, None)


def test_nothing_is_cut_off_at_the_edge_of_a_picture(report):
    tiles = {"first_layer.png", "hardest_digits.png"}  # full to the edge
    images = [path for path in (report.folder / "figures").glob("*.png") if path.name not in tiles]
    assert len(images) > 8
    for path in images:
        shown = matplotlib.image.imread(path)[..., :3]
        edge = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
        assert edge.min() > 0.9, path.name
