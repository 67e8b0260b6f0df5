"""What a network is told to do: scores become probabilities and a loss, and one batch says in which direction to go."""

from __future__ import annotations

import numpy as np

from pipeline.models import dense
from pipeline.tour import by_hand, text
from pipeline.tour.by_hand import Weights
from pipeline.tour.material import BOOK, UNSURE, Material, batches, job_of, network, one_hot, right, start, weights_of


def loss(here: Material) -> str:
    """From scores to probabilities to a loss; and what another loss would teach."""
    weights = weights_of(here.run(*BOOK).weights or {})
    image, label = np.asarray(here.mnist.test_images[UNSURE], "float64"), int(here.mnist.test_labels[UNSURE])
    *_, before, p = by_hand.forward(image, weights)
    scores = before @ weights[-2] + weights[-1]
    powers = np.exp(scores - scores.max())
    rows = [[str(c), f"{scores[c]:.2f}", f"{powers[c]:.3f}", text.percent(p[c], 1)] for c in range(len(p))]
    first, second = np.argsort(-p)[:2]
    pair = by_hand.softmax(scores[[first, second]])[0]
    shifted = np.abs(by_hand.softmax(scores + 100) - p).max()
    difference = by_hand.sigmoid(scores[first] - scores[second])
    two = (
        f"only {first} or {second}? softmax of the two scores {pair:.2f}, sigmoid of their difference {difference:.2f}, "
        f"apart {text.tiny(abs(pair - difference))}"
    )
    return "\n".join(
        [
            f"test image {UNSURE}, its label is {label}",
            "",
            text.table(["class", "score", "exp(score − largest)", "over their sum"], rows),
            "",
            f"loss: −log {p[label]:.3f} = {-np.log(p[label]):.2f} nats; who knows nothing pays −log 0.1 = {-np.log(0.1):.2f}",
            f"100 more on every score changes no probability by more than {text.tiny(shifted)}",
            two,
            "",
            _slopes(),
            "",
            _two_losses(here),
        ]
    )


def _slopes() -> str:
    """Both losses and how strongly they pull at the label's score, the surer the network is of another class."""
    y = one_hot(np.array([0]))
    rows = []
    for belief in (0.9, 0.5, 0.1, 0.01, 0.0001):
        p = np.full((1, 10), 1e-9)
        p[0, :2] = belief, 1 - belief - 8e-9
        pulls = [-by_hand.into_softmax(p, y, name)[0, 0] for name in ("cross-entropy", "squared error")]
        values = [by_hand.cross_entropy(p, y), by_hand.squared_error(p, y)]
        rows.append([f"{belief:g}", f"{values[0]:.3f}", f"{pulls[0]:.4f}", f"{values[1]:.3f}", f"{pulls[1]:.4f}"])
    return text.table(["label's probability", "cross-entropy", "pull", "squared error", "pull"], rows)


def _two_losses(here: Material, steps: int = 200) -> str:
    x, y = batches(here, steps)
    told = []
    for name, value in (("cross-entropy", by_hand.cross_entropy), ("squared error", by_hand.squared_error)):
        weights = start()
        for step in range(steps):
            values = by_hand.forward(x[step], weights)
            for w, g in zip(weights, by_hand.backward(values, y[step], weights, name), strict=True):
                w -= 0.1 * g
        told.append([name, f"{value(values[-1], y[-1]):.3f}", text.percent(right(here, weights), 1)])
    head = [f"{steps} steps of gradient descent with", "loss of the last batch", "right on the test samples"]
    return text.table(head, told)


def gradients(here: Material) -> str:
    """The forward and the backward pass of one batch in numpy, against Keras's."""
    [x], [y] = batches(here, 1)
    # A step of gradient descent with a learning rate of 1 is the gradient: so Keras shows its own.
    model = network(job_of(here, "sgd", 512, learning_rate=1.0))
    before = dense.weights(model)
    theirs = float(model.train_on_batch(x.astype("float32"), y.astype("float32"))[0])
    after = dense.weights(model)
    weights = weights_of(before)
    values = by_hand.forward(x, weights)
    ours, gradient = by_hand.loss_and_gradient(x, y, weights)
    rows = []
    for (name, array), hand in zip(before.items(), gradient, strict=True):
        keras = array.astype("float64") - after[name]
        largest, apart = np.abs(hand).max(), np.abs(hand - keras).max()
        rows.append([name, text.shape(hand), f"{largest:.6f}", f"{np.abs(keras).max():.6f}", text.tiny(apart)])
    unit = tuple(int(i) for i in np.unravel_index(np.abs(gradient[0]).argmax(), gradient[0].shape))
    nudged = (
        f"the weight of pixel {unit[0]} into unit {unit[1]}: gradient {gradient[0][unit]:.6f}, "
        f"slope between two losses {slope(x, y, weights, unit):.6f}"
    )
    return "\n".join(
        [
            f"forward: {' → '.join(text.shape(value) for value in values)}",
            f"loss: by hand {ours:.6f}, Keras {theirs:.6f}, apart {text.tiny(abs(ours - theirs))}",
            "",
            text.table(["gradient by", "shape", "largest, by hand", "Keras", "most apart"], rows, left=(0, 1)),
            "",
            nudged,
        ]
    )


def slope(x: np.ndarray, y: np.ndarray, weights: Weights, place: tuple[int, ...], nudge: float = 1e-5) -> float:
    """How steep the loss is along one weight of the first kernel: moved a little up, and a little down."""
    sides = []
    for way in (nudge, -nudge):
        moved = [weights[0].copy(), *weights[1:]]
        moved[0][place] += way
        sides.append(by_hand.cross_entropy(by_hand.forward(x, moved)[-1], y))
    return (sides[0] - sides[1]) / (2 * nudge)
