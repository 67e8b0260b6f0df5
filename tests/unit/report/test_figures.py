"""Drawing: labels that keep out of each other's way, SVG that belongs to the page, pictures made of pixels."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest

from pipeline.report import figures, pictures, style
from pipeline.report.exhibits import Exhibits
from pipeline.statistics import summary
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


def test_first_layer_shows_the_units_that_the_next_heeds_most():
    result = factory.with_network(factory.finished(factory.job()))
    layer = pictures.first_layer(result, factory.arrays(), 5)
    loudest = np.linalg.norm(result.weights["classes/kernel"], axis=1).argmax()
    assert (layer.images.shape, layer.units, layer.chosen[0]) == ((5, 8, 8), 48, loudest)
    assert np.array_equal(layer.images[0].ravel(), result.weights["hidden_1/kernel"][:, loudest])
    assert (np.diff(layer.heeded) <= 0).all()


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


def test_several_depths_are_drawn_each_by_itself(of_runs):
    exhibit = Exhibits(of_runs(deep(("adam",), (1, 2))), None).gap_accuracy
    assert exhibit.table[["width", "depth"]].values.tolist() == [[4, 1], [4, 2], [16, 1], [16, 2]]
    assert {"test, %", "test, 95 % interval"} <= {*exhibit.table.columns}
    assert exhibit.title == "The gap in accuracy, by width and depth"
    assert "adam, 2 layers: " in exhibit.alternative
    assert "hidden layers" in exhibit.svg


def test_a_band_for_each_depth_of_each_optimizer_in_both_panels(of_runs):
    cells = summary.best_per_cell(of_runs(deep()).main, ("optimizer", "width", "depth"))
    with style.styled():
        drawn = figures.by_depth(cells, ("gap_accuracy", "test_accuracy"), ("gap", "test"))
    panels = [ax for ax in drawn.axes if ax.collections]
    assert [len(ax.collections) for ax in panels] == [3] * 4
    band = panels[0].collections[0].get_paths()[0].vertices[:, 1]
    adam = cells[cells["optimizer"].eq("adam") & cells["depth"].eq(1)]
    assert band.min() == pytest.approx(100 * adam["gap_accuracy_low"].min())
    assert len({ax.get_ylim() for ax in panels[::2]}) == 1


def test_nothing_is_cut_off_at_the_edge_of_a_picture(report):
    tiles = {"first_layer.png", "hardest_digits.png"}  # full to the edge
    images = [path for path in (report.folder / "figures").glob("*.png") if path.name not in tiles]
    assert len(images) > 8
    for path in images:
        shown = matplotlib.image.imread(path)[..., :3]
        edge = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
        assert edge.min() > 0.9, path.name
