"""Learning rate schedules, as a factor for each step: Keras's and custom ones."""

from __future__ import annotations

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.run_config import Training
from pipeline.models import custom_code


def factors(training: Training, step: np.ndarray, steps: int) -> np.ndarray:
    """Return a float64 factor for each `step`, counted from 0 after the warm-up; `steps` is the number per epoch.

    The formulas are those of Keras: `ExponentialDecay`, `InverseTimeDecay`, `PolynomialDecay`, `CosineDecay` (to 0 at the
    last step), `CosineDecayRestarts` (each period twice as long as the previous one) and `PiecewiseConstantDecay`. A custom
    one is a function of (`step`, `steps`, number of epochs after the warm-up). Raises UserError for an invalid result of it.
    """
    name, decay = training.schedule, training.decay
    epochs = training.epochs - training.warmup_epochs
    if "." in name:
        return _own(name, step, steps, epochs)
    if name == "cosine":
        return _half_cosine(step / (epochs * steps))
    if name == "piecewise":
        interval = np.searchsorted(np.asarray(training.boundaries) * steps, step, side="right")
        return np.asarray([1.0, *training.factors])[interval]
    if name == "constant" or not training.decay_epochs:
        return np.ones_like(step)
    passed = step / (training.decay_epochs * steps)
    if name == "cosine_restarts":
        length = 2 ** np.floor(np.log2(passed + 1))
        return _half_cosine((passed - (length - 1)) / length)
    if name == "inverse_time":
        return 1 / (1 + (1 / decay - 1) * passed)
    if name == "polynomial":
        return decay + (1 - decay) * (1 - np.minimum(passed, 1)) ** training.power
    return decay ** (np.floor(passed) if name == "staircase" else passed)


def _half_cosine(share: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.cos(np.pi * share)))


def _own(name: str, step: np.ndarray, steps: int, epochs: int) -> np.ndarray:
    function = custom_code.load(name, "training.schedule")
    found = np.asarray(function(step, steps, epochs), np.float64)
    if found.shape != step.shape or not np.isfinite(found).all():
        got = "numbers that are not finite" if found.shape == step.shape else f"shape {found.shape}"
        raise UserError(f"training.schedule={name}: expected a factor for each of {len(step)} steps, got {got}")
    return found
