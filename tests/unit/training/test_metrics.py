"""Metrics of predictions, compared with scikit-learn or with their definition."""

import numpy as np
import pytest
from sklearn import metrics as theirs

from pipeline.cli.errors import UserError
from pipeline.training.calibration import calibration_error
from pipeline.training.metrics import measure

pytestmark = pytest.mark.usefixtures("keras")
rng = np.random.default_rng(1)
LABELS = rng.integers(0, 4, 300).astype(np.uint8)
PROBABILITIES = rng.dirichlet(np.ones(4), 300)
PROBABILITIES[:, 3] *= 0.1  # a class that is rarely predicted
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("top_2_accuracy", theirs.top_k_accuracy_score(LABELS, PROBABILITIES, k=2)),
        ("top_3_accuracy", theirs.top_k_accuracy_score(LABELS, PROBABILITIES, k=3)),
        ("top_5_accuracy", 1.0),
        ("macro_f1", theirs.f1_score(LABELS, PROBABILITIES.argmax(axis=1), average="macro", zero_division=0)),
        ("brier_score", np.mean(((PROBABILITIES - np.eye(4)[LABELS]) ** 2).sum(axis=1))),
    ],
)
def test_it_is_what_scikit_learn_gives(name: str, expected: float) -> None:
    assert measure([name], LABELS, PROBABILITIES) == {name: pytest.approx(expected)}


def test_calibration_error_is_the_mean_distance_of_accuracy_and_confidence_over_15_bins() -> None:
    expected = 0.0
    for low in range(15):
        inside = [n for n, row in enumerate(PROBABILITIES) if low / 15 < max(row) <= (low + 1) / 15]
        if inside:
            accuracy = np.mean([PROBABILITIES[n].argmax() == LABELS[n] for n in inside])
            expected += len(inside) / 300 * abs(accuracy - np.mean([max(PROBABILITIES[n]) for n in inside]))
    assert calibration_error(PROBABILITIES, LABELS) == pytest.approx(expected)
    assert calibration_error(np.eye(10), np.arange(10)) == 0


def test_one_s_own_is_named_by_the_last_part_of_its_import_path() -> None:
    right = PROBABILITIES.argmax(axis=1) == LABELS
    expected = min(right[label == LABELS].mean() for label in range(4))
    assert measure(["tests.support.custom_code.worst_class"], LABELS, PROBABILITIES) == {"worst_class": expected}


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(UserError, match=r"training\.metrics: numpy\.outer: expected a number, got ndarray"):
        measure(["numpy.outer"], LABELS, LABELS)
    with pytest.raises(UserError, match=r"training\.metrics: numpy\.dot: expected a finite number, got nan"):
        measure(["numpy.dot"], np.array([np.nan]), np.array([1.0]))
