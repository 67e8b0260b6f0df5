"""What the tests of several rooms share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.data import arrays, raw, sources
from pipeline.data.arrays import Arrays


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like data/processed, with the 1,797 real digits of scikit-learn in it."""
    from pipeline import fetch, preprocess
    from pipeline.config.digests import arrays_digest

    folder = tmp_path_factory.mktemp("data")
    digits = sources.find("digits")
    fetch.fetch(digits, folder / "raw", sources.mirrors(digits, folder, {}))
    train, test = raw.read(digits, folder / "raw")
    content = {
        "train_images": preprocess.scale(train.images, digits.brightest),
        "train_labels": train.labels,
        "test_images": preprocess.scale(test.images, digits.brightest),
        "test_labels": test.labels,
    }
    whole = Arrays("digits", **content, classes=10, image_shape=digits.image_shape, digest=arrays_digest(content))
    arrays.write(whole, folder / "processed" / "digits")
    return folder / "processed"


@pytest.fixture(scope="session")
def digits(processed: Path) -> Arrays:
    return arrays.load(processed / "digits")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compiled programs of this session, its processes included; nobody's own cache is read or written."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERFITTING_GAP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    """Keras on TensorFlow, set up as training sets it up; once, since it costs seconds."""
    from pipeline.models import devices

    devices.start(devices.choose("cpu", "tensorflow", "float32", True, "engine", 2, 0))
    import keras

    return keras
