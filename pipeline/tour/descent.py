"""The ways downhill: four optimizers on the same weights, and how many images to look at before each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.models import dense, randomness
from pipeline.tour import by_hand, text
from pipeline.tour.by_hand import State, Weights
from pipeline.tour.material import WIDTH, Material, batches, job_of, network, one_hot, right, start, weights_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 50
SHOWN = (1, 2, 3, 5, 10, 20, 50)
"""Steps whose losses are in the table."""


def descent(here: Material) -> str:
    """The same weights and batches, four ways downhill, each by hand and by Keras."""
    x, y = batches(here, STEPS)
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    apart: dict[str, float] = {}
    for name in by_hand.STEPS:
        job = job_of(here, name, WIDTH)
        ours[name], ended = walk(x, y, start(), name, dict(job.optimizer.hyperparameters))
        model = network(job)
        theirs[name] = [_step(model, xs, ys) for xs, ys in zip(x.astype("float32"), y.astype("float32"), strict=True)]
        keras = weights_of(dense.weights(model))
        apart[name] = max(float(np.abs(one - other).max()) for one, other in zip(ended, keras, strict=True))
    head = ["loss at step", *(cell for name in ours for cell in (name, "Keras"))]
    rows = [
        [str(step), *(f"{losses[name][step - 1]:.4f}" for name in ours for losses in (ours, theirs))] for step in SHOWN
    ]
    furthest = {name: max(abs(a - b) for a, b in zip(ours[name], theirs[name], strict=True)) for name in ours}
    return "\n".join(
        [
            text.table(head, rows),
            "",
            f"losses apart, at most: {', '.join(f'{name} {text.tiny(value)}' for name, value in furthest.items())}",
            f"weights apart, after step {STEPS}: {', '.join(f'{name} {text.tiny(value)}' for name, value in apart.items())}",
            "",
            here.picture("descent", _curves(ours)),
        ]
    )


def _step(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    model.reset_metrics()  # else it says the mean of all batches so far
    return float(model.train_on_batch(x, y)[0])


def walk(
    x: np.ndarray, y: np.ndarray, weights: Weights, name: str, h: Mapping[str, Any]
) -> tuple[list[float], Weights]:
    """Each batch's loss before its step, and the weights at the end (those that were given, changed)."""
    losses: list[float] = []
    memory: list[State] = [{} for _ in weights]
    for t, (images, labels) in enumerate(zip(x, y, strict=True), start=1):
        value, gradient = by_hand.loss_and_gradient(images, labels, weights)
        losses.append(value)
        for w, g, s in zip(weights, gradient, memory, strict=True):
            by_hand.STEPS[name](w, g, s, t, h)
    return losses, weights


def _curves(losses: dict[str, list[float]]) -> Figure:
    """The loss of each batch before its step."""
    from pipeline.report import style
    from pipeline.report.figures import spread

    with style.styled():
        figure, ax = style.axes(6.4, 3.6, right=1.0)
        looks = style.look(list(losses))
        for name, values in losses.items():
            ax.plot(range(1, len(values) + 1), values, color=looks[name]["color"], linewidth=1.7)
        ax.set(
            xlabel="step, a batch of 128 images each", ylabel="loss of the batch, nats", xlim=(0, STEPS), ylim=(0, None)
        )
        top = ax.get_ylim()[1]
        for name, height in zip(losses, spread([values[-1] / top for values in losses.values()], 0.06), strict=True):
            ax.text(1.02, height, name, transform=ax.transAxes, va="center", color=looks[name]["color"])
    return figure


IMAGES = 2000
EPOCHS = 3


def sizes(here: Material) -> str:
    """Gradient descent by hand with batches of one image, of 128 and of all: steps, directions, losses."""
    images = np.asarray(here.mnist.train_images[:IMAGES])
    labels = one_hot(here.mnist.train_labels[:IMAGES]).astype("float32")
    begin = [array.astype("float32") for array in start()]
    _, whole = by_hand.loss_and_gradient(images, labels, begin)
    rows = []
    for size in (1, 16, 128, IMAGES):
        weights, after, aside = [array.copy() for array in begin], [], []
        for epoch in range(EPOCHS):
            order = randomness.order(0, epoch, IMAGES)
            for first in range(0, IMAGES, size):
                chosen = order[first : first + size]
                _, gradient = by_hand.loss_and_gradient(images[chosen], labels[chosen], weights)
                for w, g in zip(weights, gradient, strict=True):
                    w -= np.float32(0.01) * g
            after.append(by_hand.cross_entropy(by_hand.forward(images, weights)[-1], labels))
        for first in range(0, min(20 * size, IMAGES), size):
            _, part = by_hand.loss_and_gradient(images[first : first + size], labels[first : first + size], begin)
            aside.append(angle(part, whole))
        steps, rest = -(-IMAGES // size), IMAGES % size or size
        rows.append(
            [f"{size:,}", f"{steps:,}", f"{rest:,}", f"{np.mean(aside):.0f}°"]
            + [f"{value:.3f}" for value in after]
            + [text.percent(right(here, weights), 1)]
        )
    head = [
        "batch size",
        "steps an epoch",
        "last batch",
        "off course",
        *(f"epoch {n + 1}" for n in range(EPOCHS)),
        "test",
    ]
    return "\n".join(
        [f"{IMAGES:,} images, sgd with a learning rate of 0.01; loss on all of them after", "", text.table(head, rows)]
    )


def angle(one: Weights, other: Weights) -> float:
    """Degrees between two gradients, each taken as one long vector."""
    a, b = (np.concatenate([array.ravel() for array in arrays]) for arrays in (one, other))
    return float(np.degrees(np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))))
