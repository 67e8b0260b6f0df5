"""One real epoch of the book's network on MNIST: the engine's metrics compared with those of `keras.fit`."""

from pathlib import Path

import pytest

from pipeline.data.arrays import load
from pipeline.training.splits import split
from tests.support.factory import make_job
from tests.unit.training.trainer import device, train

pytestmark = pytest.mark.slow
BOOK = make_job("rmsprop", width=512, batch_size=128, learning_rate=0.001, curve_samples=10_000, validation_size=0)


def test_an_epoch_has_the_losses_and_accuracies_of_fit_which_are_the_book_s(mnist: Path) -> None:
    """The book prints a running accuracy of 92.45 % for its first epoch."""
    whole = split(load(mnist / "processed" / "mnist"), BOOK.dataset)
    engine, reference = (
        train([BOOK], whole, device(xla=False, trainer=trainer))[0].history for trainer in ("engine", "reference")
    )
    for metric in ("running/loss", "train/loss", "test/loss"):
        assert engine[metric][0] == pytest.approx(reference[metric][0], rel=0.03)
    for metric, expected in {"running/accuracy": 0.925, "test/accuracy": 0.96}.items():
        assert engine[metric][0] == pytest.approx(reference[metric][0], abs=0.004)
        assert engine[metric][0] == pytest.approx(expected, abs=0.01)
