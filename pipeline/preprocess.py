"""Convert the fetched files to arrays for training: python -m pipeline.preprocess dataset=mnist

Writes samples as float32 (pixels in [0, 1], numbers of a table unchanged) and labels as uint8 to memory-mappable .npy files,
a data card (counts, range, mean, names of classes and columns, digests) and a picture of samples.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.cli import console, terminal
from pipeline.config.digests import array_digest
from pipeline.config.run_config import digest
from pipeline.data import arrays, raw, sources
from pipeline.data.arrays import Arrays, scale
from pipeline.data.card import data_card, draw_samples
from pipeline.data.files import atomic_write, display_path
from pipeline.data.samples import Decoded
from pipeline.data.sources import DataSet

DEFAULTS = {
    "dataset": "mnist",
    "raw": "data/raw",
    "processed": "data/processed",
    "card": "data/cards/{dataset}.json",
    "samples": "data/samples/{dataset}.png",
}


def main(argv: Sequence[str]) -> None:
    started = time.perf_counter()
    values = console.read_options(argv, DEFAULTS, __doc__ or "")
    dataset = sources.find(values.pop("dataset"))
    paths = {key: console.PROJECT / value.replace("{dataset}", dataset.name) for key, value in values.items()}
    folder = paths["processed"] / dataset.name
    terminal.show("decoding, scaling, drawing")
    written = preprocess(dataset, paths["raw"] / dataset.name, folder, paths["card"], paths["samples"])
    terminal.say(
        f"{dataset.name}: {len(written.train_images):,} training and {len(written.test_images):,} test samples, "
        f"{_shape(written)}, {written.classes} classes, digest {written.digest[:12]}"
    )
    outputs, seconds = (folder, paths["card"], paths["samples"]), time.perf_counter() - started
    terminal.say(f"{dataset.name}: {', '.join(map(display_path, outputs))} ({seconds:.2f} s)")
    terminal.suggest(f"python -m pipeline.train dataset={dataset.name}")


def preprocess(dataset: DataSet, raw_folder: Path, folder: Path, card: Path, picture: Path) -> Arrays:
    """Decode and scale the files of `dataset`; write arrays, data card and picture."""
    decoded = raw.read(dataset, raw_folder)
    named = scaled(decoded)
    digests = {name: array_digest(array) for name, array in named.items()}
    written = Arrays(
        name=dataset.name,
        **named,
        classes=len(decoded.classes),
        image_shape=decoded.shape,
        digest=digest(digests),  # equals `arrays_digest(named)`, without reading 220 MB again
        brightest=decoded.brightest,
    )
    arrays.write(written, folder)
    with atomic_write(card) as temporary:
        temporary.write_text(json.dumps(data_card(written, decoded, digests), indent=1) + "\n")
    with atomic_write(picture) as temporary:
        draw_samples(dataset.title, decoded, temporary)
    return written


def scaled(decoded: Decoded) -> dict[str, np.ndarray]:
    """Return the four arrays by their names in `Arrays`."""
    return {
        "train_images": scale(decoded.train.images, decoded.brightest),
        "train_labels": decoded.train.labels,
        "test_images": scale(decoded.test.images, decoded.brightest),
        "test_labels": decoded.test.labels,
    }


def _shape(written: Arrays) -> str:
    return f"{' x '.join(map(str, written.image_shape))} {'pixels' if written.what == 'images' else 'features'}"


if __name__ == "__main__":
    console.run(main)
