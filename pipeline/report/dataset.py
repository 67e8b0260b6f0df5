"""What a person looks at of a data set: its card (counts, range, mean, digests) and a picture of samples."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.arrays import Arrays
from pipeline.data.samples import Decoded

COLUMNS = 10
"""Samples of each class in the picture."""


def data_card(written: Arrays, decoded: Decoded, digests: dict[str, str]) -> dict[str, Any]:
    """Counts, range, mean and digests, names of classes and columns.

    Range and mean of pixels come from the integers, so that every machine gets the same last digit.
    """
    card: dict[str, Any] = {"dataset": written.name, "classes": written.classes, "digest": written.digest}
    if decoded.classes != tuple(map(str, range(written.classes))):
        card["class_names"] = list(decoded.classes)
    if decoded.features:
        card["features"] = list(decoded.features)
    for split, part in (("train", decoded.train), ("test", decoded.test)):
        images, labels = part.images, part.labels
        pixels, classes = (written.named()[f"{split}_{kind}"] for kind in ("images", "labels"))
        counts = np.bincount(labels, minlength=written.classes)
        card[split] = {
            "samples": len(images),
            "images": {
                "shape": list(pixels.shape),
                "dtype": str(pixels.dtype),
                "min": images.min().item() / decoded.brightest,
                "max": images.max().item() / decoded.brightest,
                "mean": _sum(images) / (images.size * decoded.brightest),
                "sha256": digests[f"{split}_images"],
            },
            "labels": {
                "shape": list(classes.shape),
                "dtype": str(classes.dtype),
                "min": int(labels.min()),
                "max": int(labels.max()),
                "class_counts": {name: int(count) for name, count in zip(decoded.classes, counts, strict=True)},
                "sha256": digests[f"{split}_labels"],
            },
        }
    return card


def _sum(numbers: np.ndarray) -> float:
    """Of integers exactly; of floats to nine digits, which do not depend on the order in which a machine adds."""
    if numbers.dtype.kind == "u":
        return int(numbers.sum(dtype=np.int64))
    return float(f"{numbers.sum(dtype=np.float64):.9g}")


def draw_samples(title: str, decoded: Decoded, path: Path) -> None:
    """The first samples of each class between its name and its number of samples, as a PNG.

    Images stand in a row for each class. Of a table each sample is a row of cells, dark where a column's value is large.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports its font cache, and a home it cannot write to
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = _sheet(decoded)
    classes, longest = decoded.classes, max(map(len, decoded.classes))
    size, left = (16, 90) if longest <= 2 else (9, 40 + 14 * longest)
    scale = max(1, 960 // sheet.shape[1])  # whole pixels per pixel: no digit looks thicker than its neighbour
    width, height = scale * sheet.shape[1], scale * sheet.shape[0]
    if len(decoded.shape) == 1:
        width, height = 960, 150 * len(classes)
    right, top, bottom, dpi = 130, 120, 30, 150
    full_width, full_height = left + width + right, top + height + bottom
    figure = Figure(figsize=(full_width / dpi, full_height / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    counts = np.bincount(decoded.train.labels, minlength=len(classes))
    for label, (name, count) in enumerate(zip(classes, counts, strict=True)):
        y = (label + 0.5) / len(classes)
        text: dict[str, Any] = {"transform": axes.transAxes, "va": "center"}
        axes.text(-0.03, 1 - y, name, ha="right", fontsize=size, weight="bold", color="#1f5fa8", **text)
        axes.text(1.02, 1 - y, f"{count:,}", ha="left", fontsize=9, color="#666666", **text)
    title_x, title_y = left / full_width, 1 - 50 / full_height
    figure.text(title_x, title_y, title, fontsize=14, weight="bold")
    each = ": a line each, a column per feature, darker for more" if len(decoded.shape) == 1 else ""
    subtitle = f"The first {COLUMNS} training samples of each class, and how many there are{each}"
    figure.text(title_x, title_y - 40 / full_height, subtitle, fontsize=9, color="#666666")
    figure.savefig(path, format="png", metadata={"Software": None})


def _sheet(decoded: Decoded) -> np.ndarray:
    """One image of all the samples, from 0 to 1, with a border of a few pixels around each."""
    images, labels = decoded.train.images, decoded.train.labels
    firsts = [np.flatnonzero(labels == label)[:COLUMNS] for label in range(len(decoded.classes))]
    if len(decoded.shape) == 1:
        low, high = images.min(axis=0), images.max(axis=0)
        blocks = np.zeros((len(firsts), COLUMNS + 2, len(low)), np.float32)
        for block, chosen in zip(blocks, firsts, strict=True):
            block[1 : 1 + len(chosen)] = (images[chosen] - low) / np.where(high > low, high - low, 1)
        return blocks.reshape(-1, len(low))
    rows, columns = decoded.shape
    border = max(1, rows // 14)
    cell = (rows + 2 * border, columns + 2 * border)
    sheet = np.zeros((len(firsts) * cell[0], COLUMNS * cell[1]), np.float32)
    for label, chosen in enumerate(firsts):
        for column, image in enumerate(images[chosen]):
            top, left = label * cell[0] + border, column * cell[1] + border
            sheet[top : top + rows, left : left + columns] = image / decoded.brightest
    return sheet
