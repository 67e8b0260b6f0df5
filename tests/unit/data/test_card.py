"""The picture of samples that preprocessing draws."""

from pathlib import Path

import numpy as np

from pipeline.data import card
from pipeline.data.samples import Decoded, Samples
from tests.unit.data import tiny


def test_picture_of_a_class_with_few_samples(tmp_path: Path) -> None:
    samples = Samples(tiny.ARRAYS[tiny.FILES[0].name][:2], np.array([1, 1], np.uint8))
    card.draw_samples("Tiny", Decoded(samples, samples, ("a", "b", "c"), 255), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
