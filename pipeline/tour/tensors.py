"""From the file to the batch: which tensors there are, and what classes, samples and labels are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.data import idx, sources
from pipeline.data.files import shown
from pipeline.errors import UserError
from pipeline.models import initial, randomness
from pipeline.tour import by_hand, text
from pipeline.tour.material import BATCH, Material, one_hot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tensors(here: Material) -> str:
    """Every tensor between the file and the loss, by what it is, its rank and its shape."""
    mnist, file = here.mnist, sources.MNIST.train_images
    path = here.raw / "mnist" / file.name
    try:
        data = idx.unpack(path.read_bytes(), file.size, shown(path))
    except OSError as error:
        raise UserError(f"{shown(path)}: {error.strerror}. To have it: python -m pipeline.fetch") from error
    header = np.frombuffer(data, ">u4", count=4)
    images = idx.images(data, mnist.image_shape, file.name)
    order = randomness.order(0, 0, len(mnist.train_images))[:BATCH]
    x, labels = mnist.train_images[order], mnist.train_labels[order]
    y = one_hot(labels, mnist.classes).astype("float32")
    sizes = [x.shape[1], 512, mnist.classes]
    weights = [array.astype("float32") for array in initial.weights("glorot_uniform", 0, sizes)]
    values = by_hand.forward(x, weights)
    named = {
        "header of the file": header,
        "images in the file": images,
        "one image": images[0],
        "one row of its pixels": images[0, 14],
        "one pixel": images[0, 14, 14],
        "images, flat, each pixel / 255": mnist.train_images,
        "a batch of them": x,
        "their labels": labels,
        "their labels, one-hot": y,
        "hidden layer: kernel": weights[0],
        "hidden layer: bias": weights[1],
        "what the hidden layer makes of it": values[1],
        "last layer: kernel": weights[2],
        "last layer: bias": weights[3],
        "probabilities": values[2],
        "loss of the batch": np.float32(by_hand.cross_entropy(values[2], y)),
    }
    rows = [
        [name, array.dtype.name, str(array.ndim), text.shape(array), f"{array.size:,}"] for name, array in named.items()
    ]
    return "\n".join(
        [
            text.table(["tensor", "type", "rank", "shape", "numbers"], rows, left=(0, 1)),
            "",
            f"header: magic number {header[0]} (0x{header[0]:08x}), then the shape: {', '.join(map(str, header[1:]))}",
            f"weights to learn: {sum(array.size for array in weights):,}",
            "",
            f"images[0], its label is {mnist.train_labels[0]}:",
            text.drawing(images[0] / 255),
        ]
    )


def classes(here: Material) -> str:
    """How many samples each class has, a label as a vector, and a picture of samples."""
    mnist = here.mnist
    train, test = (np.bincount(labels, minlength=mnist.classes) for labels in (mnist.train_labels, mnist.test_labels))
    rows = [
        [str(c), f"{train[c]:,}", f"{test[c]:,}", text.percent(train[c] / train.sum(), 1), text.bar(train[c] / 10_000)]
        for c in range(mnist.classes)
    ]
    rows.append(["all", f"{train.sum():,}", f"{test.sum():,}", "", ""])
    label = int(mnist.train_labels[0])
    vector = one_hot(mnist.train_labels[:1], mnist.classes)[0].astype(int)
    commonest = int(train.argmax())
    told = [
        text.table(["class", "training", "test", "share", ""], rows, left=(0, 4)),
        "",
        f"sample 0 has the label {label}, as a vector: {vector}",
        f"who always says {commonest} is right on {text.percent(test[commonest] / test.sum())} of the test samples",
    ]
    return "\n".join(
        [*told, here.picture("classes", _samples(mnist.train_images, mnist.train_labels, mnist.image_shape))]
    )


def _samples(images: np.ndarray, labels: np.ndarray, shape: tuple[int, int], each: int = 4) -> Figure:
    """A column per class: some of its samples, and the mean of all of them below."""
    from matplotlib.figure import Figure

    from pipeline.report import style

    number = int(labels.max()) + 1
    with style.styled():
        figure = Figure(figsize=(0.72 * number + 0.9, 0.72 * (each + 1) + 0.55))
        grid = figure.subplots(each + 1, number, gridspec_kw={"wspace": 0.08, "hspace": 0.08})
        figure.subplots_adjust(left=0.9 / (0.72 * number + 0.9), right=0.995, bottom=0.01, top=0.92)
        for c in range(number):
            members = np.flatnonzero(labels == c)
            pictures = [*images[members[:each]], images[members].mean(axis=0)]
            for row, picture in enumerate(pictures):
                grid[row, c].imshow(picture.reshape(shape), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
                grid[row, c].set(xticks=[], yticks=[])
                grid[row, c].grid(visible=False)
                for spine in grid[row, c].spines.values():
                    spine.set_visible(False)
            grid[0, c].set_title(f"class {c}", fontsize=9, color=style.MUTED)
        for row in range(each):
            grid[row, 0].set_ylabel("samples" if row == 0 else "", rotation=0, ha="right", va="center")
        grid[each, 0].set_ylabel("mean of\nall of them", rotation=0, ha="right", va="center")
    return figure
