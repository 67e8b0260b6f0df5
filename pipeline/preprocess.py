"""Turn the fetched files into arrays that train: python -m pipeline.preprocess dataset=mnist

Writes float32 pixels in [0, 1] and uint8 labels as memory-mappable .npy files, a data card (counts, range, mean
and digests; a DVC metric) and a picture of sample digits with their labels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest
from pipeline.config.run_config import digest
from pipeline.data import arrays, raw, sources
from pipeline.data.arrays import Arrays, scale
from pipeline.data.files import shown, whole
from pipeline.data.raw import Samples
from pipeline.data.sources import DataSet
from pipeline.report.dataset import data_card, draw_samples

DEFAULTS = {
    "dataset": "mnist",
    "raw": "data/raw",
    "processed": "data/processed",
    "card": "data/cards/{dataset}.json",
    "samples": "data/samples/{dataset}.png",
}


def main(argv: Sequence[str]) -> None:
    started = time.perf_counter()
    values = console.words(argv, DEFAULTS, __doc__ or "")
    dataset = sources.find(values.pop("dataset"))
    paths = {key: _path(key, value.replace("{dataset}", dataset.name)) for key, value in values.items()}
    folder = paths["processed"] / dataset.name
    written = preprocess(dataset, paths["raw"] / dataset.name, folder, paths["card"], paths["samples"])
    seconds = time.perf_counter() - started
    rows, columns = written.image_shape
    print(
        f"{dataset.name}: {len(written.train_images):,} training and {len(written.test_images):,} test samples, "
        f"{rows} x {columns} pixels, {written.classes} classes, digest {written.digest[:12]}\n"
        f"{dataset.name}: {shown(folder)}, {shown(paths['card'])}, {shown(paths['samples'])} ({seconds:.2f} s)"
    )


def preprocess(dataset: DataSet, raw_folder: Path, folder: Path, card: Path, picture: Path) -> Arrays:
    """The stage: decode, scale, describe, write, draw."""
    train, test = raw.read(dataset, raw_folder)
    with ThreadPoolExecutor(max_workers=1) as executor:
        # Importing matplotlib takes a third of the stage; what goes on meanwhile leaves Python's lock to it.
        drawing = executor.submit(draw, dataset, train, picture)
        scaled = {
            "train_images": scale(train.images, dataset.brightest),
            "train_labels": train.labels,
            "test_images": scale(test.images, dataset.brightest),
            "test_labels": test.labels,
        }
        digests = {name: array_digest(array) for name, array in scaled.items()}
        written = Arrays(
            name=dataset.name,
            **scaled,
            classes=dataset.classes,
            image_shape=dataset.image_shape,
            digest=digest(digests),  # what `arrays_digest(scaled)` is, without reading 220 MB again
        )
        arrays.write(written, folder)
        with whole(card) as temporary:
            content = data_card(written, (train, test), dataset.brightest, digests)
            temporary.write_text(json.dumps(content, indent=1) + "\n")
        drawing.result()
    return written


def draw(dataset: DataSet, samples: Samples, path: Path) -> None:
    with whole(path) as temporary:
        draw_samples(dataset, samples, temporary)


def _path(key: str, value: str) -> Path:
    if not value:
        raise UserError(f"{key}=: expected a path")
    return console.PROJECT / value


if __name__ == "__main__":
    console.run(main)
