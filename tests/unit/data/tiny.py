"""A data set of a few hundred bytes, for tests that do not need the digits."""

import gzip
import hashlib

import numpy as np

from pipeline.config.digests import arrays_digest
from pipeline.data import idx
from pipeline.data.arrays import NAMES, Arrays
from pipeline.data.sources import DataSet, File, Idx

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte.gz": RANDOM.integers(0, 256, (12, 2, 3), np.uint8),
    "train-labels-idx1-ubyte.gz": np.arange(12, dtype=np.uint8) % 4,
    "t10k-images-idx3-ubyte.gz": RANDOM.integers(0, 256, (5, 2, 3), np.uint8),
    "t10k-labels-idx1-ubyte.gz": np.arange(5, dtype=np.uint8) % 4,
}
UNPACKED = {name: idx.encode(array) for name, array in ARRAYS.items()}
PACKED = {name: gzip.compress(data, mtime=0) for name, data in UNPACKED.items()}
FILES = [File(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in UNPACKED.items()]
TINY = DataSet("tiny", Idx(*FILES, title="Tiny", mirrors=("https://example.org/",), classes=4))


def arrays(samples: int = 12) -> Arrays:
    pixels = np.linspace(0, 1, samples * 6, dtype=np.float32).reshape(samples, 6)
    labels = (np.arange(samples) % 4).astype(np.uint8)
    named = dict(zip(NAMES, (pixels, labels, pixels[:5] / 2, labels[:5]), strict=True))
    return Arrays("tiny", **named, classes=4, image_shape=(2, 3), digest=arrays_digest(named))
