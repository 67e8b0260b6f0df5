"""Training and held-out samples: the same for every run, stratified, nested, and recorded by a digest."""

from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config.run_config import Dataset
from pipeline.data.arrays import Arrays
from pipeline.training.splits import Split, split


def parts(digits: Arrays, **changes: Any) -> Split:
    return split(digits, Dataset(**({"name": "digits", "validation_size": 237, "validation": "random"} | changes)))


def indices(part: Any) -> set[int]:
    return set(part.chosen.tolist())


def test_the_last_samples_are_held_out_and_the_first_trained_on(digits: Arrays) -> None:
    found = parts(digits, validation="last", train_size=100)
    assert found.held_out_name == "val"
    assert np.array_equal(found.train.images, digits.train_images[:100])
    assert np.array_equal(found.held_out.images, digits.train_images[-237:])
    assert np.array_equal(found.held_out.labels, digits.train_labels[-237:])


def test_random_parts_are_apart_and_together_all(digits: Arrays) -> None:
    found = parts(digits)
    assert indices(found.train) | indices(found.held_out) == set(range(1437))
    assert (len(found.train), len(found.held_out)) == (1200, 237)
    assert np.array_equal(found.train.images, digits.train_images[found.train.chosen])
    assert np.array_equal(found.train.labels, digits.train_labels[found.train.chosen])


@pytest.mark.parametrize("size", [50, 237, 1000])
def test_every_class_is_held_out_and_trained_on_as_often_as_it_is_there(digits: Arrays, size: int) -> None:
    """Class counts deviate by at most one held-out sample and two training samples."""
    found = parts(digits, validation_size=size, train_size=300)
    shares = np.bincount(digits.train_labels) / len(digits.train_labels)
    assert np.abs(np.bincount(found.held_out.labels) - size * shares).max() <= 1
    assert np.abs(np.bincount(found.train.labels) - 300 * shares).max() <= 2


def test_of_two_sizes_the_smaller_is_a_part_of_the_larger(digits: Arrays) -> None:
    sizes = [indices(parts(digits, train_size=size).train) for size in (10, 200, 1000)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_with_nothing_held_out_the_test_samples_are_watched(digits: Arrays) -> None:
    found = parts(digits, validation_size=0)
    assert found.held_out is found.test
    assert found.held_out_name == "test"
    assert found.train.images is digits.train_images, "in the order of the file, and without a copy"
    assert found.test.images is digits.test_images


@pytest.mark.parametrize(("share", "replaced"), [(0.0, 0), (0.1, 120), (0.5, 600)])
def test_label_noise_replaces_a_share_of_the_labels_trained_on(digits: Arrays, share: float, replaced: int) -> None:
    noisy, clean = parts(digits, label_noise=share), parts(digits)
    assert (noisy.train.labels != clean.train.labels).sum() == replaced
    assert noisy.train.labels.max() == 9
    assert np.array_equal(noisy.held_out.labels, clean.held_out.labels)
    assert np.array_equal(noisy.test.labels, clean.test.labels)


def test_each_other_class_is_as_likely(digits: Arrays) -> None:
    """Chi-square test of the nine shifts of 1,080 labels, at the 0.1 % level."""
    noisy, clean = parts(digits, label_noise=0.9), parts(digits)
    shifts = (noisy.train.labels.astype(int) - clean.train.labels) % 10
    counts = np.bincount(shifts, minlength=10)[1:]
    assert ((counts - 120) ** 2 / 120).sum() < 26.1


def test_less_noise_is_a_part_of_more(digits: Arrays) -> None:
    few, many, clean = (parts(digits, label_noise=share).train.labels for share in (0.1, 0.2, 0.0))
    assert np.array_equal(few[few != clean], many[few != clean])


def test_the_digest_is_of_indices_and_labels(digits: Arrays) -> None:
    """The digest is pinned, since every record contains it."""
    assert parts(digits).digest == "cee611913eb24eb024b12153ea0bd0c454fed1aee5c2b16329299938f12bf50a"
    changes: list[dict[str, Any]] = [
        {"validation_seed": 1},
        {"validation": "last"},
        {"validation_size": 236},
        {"train_size": 1199},
        {"label_noise": 0.01},
    ]
    assert len({parts(digits, **change).digest for change in [{}, *changes]}) == 6


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"validation_size": -1}, r"dataset\.validation_size=-1: expected 0 to 1436"),
        ({"validation_size": 1437}, r"dataset\.validation_size=1437: expected 0 to 1436"),
        ({"train_size": 1201}, r"dataset\.train_size=1201: expected at most 1,200"),
    ],
)
def test_a_size_out_of_range_is_refused(digits: Arrays, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=f"^{named}"):
        parts(digits, **changes)
