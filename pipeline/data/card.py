"""The data card of a data set (counts, range, mean, digests) and a picture of its samples."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.data.arrays import Arrays
from pipeline.data.samples import Decoded

COLUMNS = 10
"""Samples per class in the picture."""


def data_card(written: Arrays, decoded: Decoded, digests: dict[str, str]) -> dict[str, Any]:
    """Return counts, range, mean and digests, and the names of classes and columns.

    Range and mean of pixels are computed from the integers, so they are the same to the last digit on every machine.
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
    """Return the sum: exact for integers, to nine digits for floats, which do not depend on the order of additions."""
    if numbers.dtype.kind == "u":
        return int(numbers.sum(dtype=np.int64))
    return float(f"{numbers.sum(dtype=np.float64):.9g}")


def draw_samples(title: str, decoded: Decoded, path: Path) -> None:
    """Draw the first samples of each class, with its name and number of samples, as a PNG.

    A class of images is one row. A sample of a table is a row of cells, darker for larger values.
    """
    sheet = _sheet(decoded)
    flat, classes = len(decoded.shape) == 1, decoded.classes
    scale = max(1, 960 // sheet.shape[1])  # an integer, so that all digits look equally thick
    size = (960, 150 * len(classes)) if flat else (scale * sheet.shape[1], scale * sheet.shape[0])
    large, small = ImageFont.load_default(30), ImageFont.load_default(19)
    left, top, right = 60 + int(max(map(small.getlength, classes))), 120, 130
    picture = Image.new("L", (left + size[0] + right, top + size[1] + 30), 255)
    samples = Image.fromarray(np.uint8(255 * (1 - sheet)))
    picture.paste(samples.resize(size, Image.Resampling.NEAREST), (left, top))
    pen = ImageDraw.Draw(picture)
    each = ": a line each, a column per feature, darker for more" if flat else ""
    pen.text((left, 25), title, 0, large)
    pen.text((left, 72), f"The first {COLUMNS} training samples of each class, and how many there are{each}", 90, small)
    counts = np.bincount(decoded.train.labels, minlength=len(classes))
    for label, (name, count) in enumerate(zip(classes, counts, strict=True)):
        y = top + size[1] * (label + 0.5) / len(classes)
        pen.text((left - 25, y), name, 0, small, anchor="rm")
        pen.text((left + size[0] + 25, y), f"{count:,}", 90, small, anchor="lm")
    picture.save(path, format="png")


def png(image: np.ndarray) -> bytes:
    """Return an image, float (rows, columns) from 0 (black) to 1 (white), as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(255 * image)).save(buffer, format="png")
    return buffer.getvalue()


def _sheet(decoded: Decoded) -> np.ndarray:
    """Return one image of all samples, from 0 to 1, each with a border of a few pixels."""
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
    cells = np.zeros((len(firsts), COLUMNS, rows + 2 * border, columns + 2 * border), np.float32)
    for line, chosen in zip(cells, firsts, strict=True):
        line[: len(chosen), border:-border, border:-border] = images[chosen] / decoded.brightest
    return cells.swapaxes(1, 2).reshape(-1, COLUMNS * cells.shape[3])
