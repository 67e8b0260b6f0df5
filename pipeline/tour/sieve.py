"""What a finished network does, layer by layer: a sieve that separates the classes, and a last layer with a unit for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.models import initial
from pipeline.tour import by_hand, text
from pipeline.tour.material import BOOK, UNSURE, Material, weights_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 2000
"""Test samples that are looked at: enough for shares to a point, and few enough for all their distances."""


def sieve(here: Material) -> str:
    """How far the classes are apart in the pixels, after the hidden layer and after the last, before and after training."""
    run, mnist = here.run(*BOOK), here.mnist
    x, labels = np.asarray(mnist.test_images[:SAMPLES]), np.asarray(mnist.test_labels[:SAMPLES])
    sizes = [x.shape[1], *run.job.model.hidden, mnist.classes]
    start = initial.weights(run.job.model.kernel_initializer, run.job.seed, sizes)
    layers = ["pixels", *(f"hidden layer, {units} units" for units in run.job.model.hidden), "last layer, 10 units"]
    before = by_hand.forward(x, [array.astype("float32") for array in start])
    after = by_hand.forward(x, weights_of(run.weights or {}, "float32"))
    rows = [
        [
            name,
            *(text.percent(neighbours(values[layer], labels), 1) for values in (before, after)),
            *(text.percent(between(values[layer], labels), 1) for values in (before, after)),
        ]
        for layer, name in enumerate(layers)
    ]
    head = ["after", "same neighbour: untrained", "trained", "between classes: untrained", "trained"]
    return "\n".join(
        [
            f"{run.name}, the first {SAMPLES:,} test samples",
            "",
            text.table(head, rows),
            "",
            here.picture("sieve", _scatter({"untrained": before, "trained": after}, layers, labels)),
        ]
    )


def neighbours(x: np.ndarray, labels: np.ndarray) -> float:
    """Share of the samples whose nearest other sample is of their own class."""
    squares = (x * x).sum(axis=1)
    distances = squares[:, None] + squares - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


def between(x: np.ndarray, labels: np.ndarray) -> float:
    """Share of the variance that lies between the means of the classes: 0 where they coincide, 1 where each is a point."""
    centred = x - x.mean(axis=0)
    means = np.stack([centred[labels == c].mean(axis=0) for c in np.unique(labels)])
    sizes = np.bincount(labels)
    return float((sizes * np.square(means).sum(axis=1)).sum() / np.square(centred).sum())


def principal(x: np.ndarray) -> np.ndarray:
    """(n, 2): the samples along the two directions in which they vary most, each turned so that its largest entry is up."""
    centred = x.astype("float64") - x.mean(axis=0, dtype="float64")
    directions = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    largest = directions[np.abs(directions).argmax(axis=0), [0, 1]]
    return np.asarray(centred @ (directions * np.sign(largest)))


def corners(p: np.ndarray) -> np.ndarray:
    """(n, 2): each sample between ten corners, one a class, drawn to each as strongly as its probability says."""
    return np.asarray(p @ circle(p.shape[1]))


def circle(count: int) -> np.ndarray:
    turns = 2 * np.pi * (0.25 - np.arange(count) / count)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


def _scatter(networks: dict[str, list[np.ndarray]], layers: list[str], labels: np.ndarray, most: int = 600) -> Figure:
    """A row per network, a column per layer: samples as digits, in the plane in which they vary most; at last between corners."""
    from matplotlib.figure import Figure

    from pipeline.report import style

    with style.styled():
        figure = Figure(figsize=(3.1 * len(layers) + 0.4, 6.4))
        grid = figure.subplots(len(networks), len(layers), squeeze=False)
        figure.subplots_adjust(left=0.04, right=0.995, bottom=0.01, top=0.95, wspace=0.04, hspace=0.06)
        for row, (name, values) in enumerate(networks.items()):
            for column, title in enumerate(layers):
                ax, last = grid[row, column], column == len(layers) - 1
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                if row == 0:
                    ax.set_title(title, fontsize=10.5, weight="bold")
                if row and not column:
                    ax.text(0.5, 0.5, "the pixels\nstay as they are", ha="center", va="center", color=style.MUTED)
                    continue
                places = (corners if last else principal)(values[column])[:most]
                for c in np.unique(labels):
                    chosen = places[labels[:most] == c]
                    ax.scatter(*chosen.T, s=26, marker=f"${c}$", color=style.SERIES[c % 8], linewidths=0)
                if last:
                    for c, (x, y) in enumerate(1.16 * circle(values[-1].shape[1])):
                        ax.text(x, y, str(c), ha="center", va="center", weight="bold", color=style.SERIES[c % 8])
                    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
            grid[row, 0].set_ylabel(name, fontsize=10.5, weight="bold", color=style.INK)
    return figure


def units(here: Material) -> str:
    """What the ten units of the last layer say: of a sure sample, of an unsure one, and of all of each class."""
    run, mnist = here.run(*BOOK), here.mnist
    labels = np.asarray(mnist.test_labels)
    p = by_hand.forward(np.asarray(mnist.test_images), weights_of(run.weights or {}, "float32"))[-1]
    rows = [
        [str(c), *(cell for place in (0, UNSURE) for cell in (text.percent(p[place, c], 1), text.bar(p[place, c], 20)))]
        for c in range(mnist.classes)
    ]
    told = p.argmax(axis=1)
    counts = np.zeros((mnist.classes, mnist.classes), int)
    np.add.at(counts, (labels, told), 1)
    wrong = counts - np.diag(np.diag(counts))
    each = [
        [
            str(c),
            f"{counts[c].sum():,}",
            f"{counts[c, c]:,}",
            text.percent(counts[c, c] / counts[c].sum(), 1),
            str(wrong[c].argmax()),
        ]
        for c in range(mnist.classes)
    ]
    sums = f"sum   {text.percent(p[0].sum(), 1)} and {text.percent(p[UNSURE].sum(), 1)}; labels {labels[0]} and {labels[UNSURE]}"
    return "\n".join(
        [
            text.table(["unit", "test image 0", "", f"test image {UNSURE}", ""], rows, left=(0, 2, 4)),
            sums,
            "",
            f"test image {UNSURE}:",
            text.drawing(np.asarray(mnist.test_images[UNSURE]).reshape(mnist.image_shape)),
            "",
            text.table(["class", "test images", "its unit is largest", "share", "else mostly"], each),
        ]
    )
