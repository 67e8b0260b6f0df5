"""One real epoch of the book's network on MNIST: the engine's figures against those of `keras.fit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.arrays import load
from pipeline.training.result import RunResult
from pipeline.training.splits import split
from tests.support.factory import make_job
from tests.unit.training.trainer import device, train

pytestmark = pytest.mark.slow
BOOK = make_job("rmsprop", width=512, batch_size=128, learning_rate=0.001, curve_samples=10_000, validation_size=0)


@pytest.fixture(scope="module")
def epochs(mnist: Path) -> dict[str, RunResult]:
    whole = split(load(mnist / "processed" / "mnist"), BOOK.dataset)
    return {trainer: train([BOOK], whole, device(xla=False, trainer=trainer))[0] for trainer in ("engine", "reference")}


@pytest.mark.parametrize("figure", ["running/loss", "train/loss", "test/loss"])
def test_an_epoch_has_the_losses_of_fit(epochs: dict[str, RunResult], figure: str) -> None:
    engine, reference = (epochs[trainer].history[figure][0] for trainer in ("engine", "reference"))
    assert engine == pytest.approx(reference, rel=0.03)


@pytest.mark.parametrize(("figure", "expected"), [("running/accuracy", 0.925), ("test/accuracy", 0.96)])
def test_and_its_accuracies_which_are_the_book_s(epochs: dict[str, RunResult], figure: str, expected: float) -> None:
    """The book prints a running accuracy of 92.45 % for its first epoch."""
    engine, reference = (epochs[trainer].history[figure][0] for trainer in ("engine", "reference"))
    assert engine == pytest.approx(reference, abs=0.004)
    assert engine == pytest.approx(expected, abs=0.01)
