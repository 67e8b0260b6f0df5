"""Turn the fetched files into arrays that train: python -m pipeline.preprocess dataset=mnist

Writes float32 pixels in [0, 1] and uint8 labels as memory-mappable .npy files, a data card (counts, range, mean
and digests; a DVC metric) and a picture of sample digits with their labels.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest
from pipeline.config.job import digest
from pipeline.data import arrays, raw, sources
from pipeline.data.arrays import Arrays
from pipeline.data.files import shown, whole
from pipeline.data.raw import Samples
from pipeline.data.sources import DataSet

DEFAULTS = {
    "dataset": "mnist",
    "raw": "data/raw",
    "processed": "data/processed",
    "card": "data/cards/{dataset}.json",
    "samples": "data/samples/{dataset}.png",
}
COLUMNS = 10
"""Sample digits of each class in the picture."""


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
    with ThreadPoolExecutor(max_workers=1) as beside:
        # Importing matplotlib takes a third of the stage; all that goes on meanwhile lets go of the interpreter.
        drawing = beside.submit(write_picture, dataset, train, picture)
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
            content = describe(written, (train, test), dataset.brightest, digests)
            temporary.write_text(json.dumps(content, indent=1) + "\n")
        drawing.result()
    return written


def scale(images: np.ndarray, brightest: int) -> np.ndarray:
    """float32 (n, pixels) in [0, 1]; the same bits as `images.astype("float32") / brightest`, in half the time."""
    scaled: np.ndarray = np.divide(images.reshape(len(images), -1), np.float32(brightest))
    return scaled


def describe(
    written: Arrays, samples: tuple[Samples, Samples], brightest: int, digests: dict[str, str]
) -> dict[str, Any]:
    """The data card. Range and mean come from the integers, so that every machine gets the same last digit."""
    card: dict[str, Any] = {"dataset": written.name, "classes": written.classes, "digest": written.digest}
    for split, part in zip(("train", "test"), samples, strict=True):
        images, labels = part.images, part.labels
        pixels, classes = (written.named()[f"{split}_{kind}"] for kind in ("images", "labels"))
        counts = np.bincount(labels, minlength=written.classes)
        card[split] = {
            "samples": len(images),
            "images": {
                "shape": list(pixels.shape),
                "dtype": str(pixels.dtype),
                "min": int(images.min()) / brightest,
                "max": int(images.max()) / brightest,
                "mean": int(images.sum(dtype=np.int64)) / (images.size * brightest),
                "sha256": digests[f"{split}_images"],
            },
            "labels": {
                "shape": list(classes.shape),
                "dtype": str(classes.dtype),
                "min": int(labels.min()),
                "max": int(labels.max()),
                "class_counts": {str(label): int(count) for label, count in enumerate(counts)},
                "sha256": digests[f"{split}_labels"],
            },
        }
    return card


def write_picture(dataset: DataSet, samples: Samples, path: Path) -> None:
    with whole(path) as temporary:
        draw(dataset, samples, temporary)


def draw(dataset: DataSet, samples: Samples, path: Path) -> None:
    """The first samples of each class, a row per class between its label and its number of samples, as a PNG."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports its font cache, and a home it cannot write to
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = _sheet(dataset, samples)
    scale = max(1, 960 // sheet.shape[1])  # whole pixels per pixel: no digit looks thicker than its neighbour
    height, width = (scale * length for length in sheet.shape)
    left, right, top, bottom, dpi = 90, 130, 120, 30, 150
    full_width, full_height = left + width + right, top + height + bottom
    figure = Figure(figsize=(full_width / dpi, full_height / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=dataset.brightest, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    counts = np.bincount(samples.labels, minlength=dataset.classes)
    for label, count in enumerate(counts):
        y = (label + 0.5) / dataset.classes
        text: dict[str, Any] = {"transform": axes.transAxes, "va": "center"}
        axes.text(-0.03, 1 - y, str(label), ha="right", fontsize=16, weight="bold", color="#1f5fa8", **text)
        axes.text(1.02, 1 - y, f"{count:,}", ha="left", fontsize=9, color="#666666", **text)
    title_x, title_y = left / full_width, 1 - 50 / full_height
    figure.text(title_x, title_y, dataset.title, fontsize=14, weight="bold")
    subtitle = f"The first {COLUMNS} training samples of each class, and how many there are"
    figure.text(title_x, title_y - 40 / full_height, subtitle, fontsize=9, color="#666666")
    figure.savefig(path, format="png", metadata={"Software": None})


def _sheet(dataset: DataSet, samples: Samples) -> np.ndarray:
    """One image of all the digits, with a border of a few pixels around each."""
    rows, columns = dataset.image_shape
    border = max(1, rows // 14)
    cell = (rows + 2 * border, columns + 2 * border)
    sheet = np.zeros((dataset.classes * cell[0], COLUMNS * cell[1]), np.uint8)
    for label in range(dataset.classes):
        for column, image in enumerate(samples.images[samples.labels == label][:COLUMNS]):
            top, left = label * cell[0] + border, column * cell[1] + border
            sheet[top : top + rows, left : left + columns] = image
    return sheet


def _path(key: str, value: str) -> Path:
    if not value:
        raise UserError(f"{key}=: expected a path")
    return console.PROJECT / value


if __name__ == "__main__":
    console.run(main)
