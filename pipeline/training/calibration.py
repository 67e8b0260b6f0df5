"""The calibration of a network: how close its confidence is to its accuracy."""

from __future__ import annotations

import numpy as np

BINS = 15


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error of `probabilities` (n, classes), in [0, 1].

    Samples are binned by their highest probability, into 15 bins of equal width that include their upper edges. The error
    is the mean over the samples of |accuracy - mean confidence| of their bins.
    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    surplus = np.bincount(bins, weights=right - confidences, minlength=BINS)
    return float(np.abs(surplus).sum() / len(labels))
