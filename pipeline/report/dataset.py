"""What a person looks at of a data set: its card (counts, range, mean, digests) and a picture of samples."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.arrays import Arrays
from pipeline.data.raw import Samples
from pipeline.data.sources import DataSet

COLUMNS = 10
"""Sample digits of each class in the picture."""


def data_card(
    written: Arrays, samples: tuple[Samples, Samples], brightest: int, digests: dict[str, str]
) -> dict[str, Any]:
    """Counts, range, mean and digests. Range and mean come from the integers, so that every machine gets the same last digit."""
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


def draw_samples(dataset: DataSet, samples: Samples, path: Path) -> None:
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
