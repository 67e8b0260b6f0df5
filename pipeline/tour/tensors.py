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

    of = [images[labels == c] for c in range(int(labels.max()) + 1)]
    columns = [[*members[:each], members.mean(axis=0)] for members in of]
    sheet = np.block([[column[row].reshape(shape) for column in columns] for row in range(each + 1)])
    width, height = 0.72 * len(of), 0.72 * (each + 1)
    with style.styled():
        figure = Figure(figsize=(width + 1, height + 0.3))
        ax = figure.add_axes((1 / (width + 1), 0, width / (width + 1), height / (height + 0.3)))
        ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        ax.set_axis_off()
        for c in range(len(of)):
            ax.text((c + 0.5) * shape[1], -4, f"class {c}", ha="center", color=style.MUTED)
        for row, name in ((0, "samples"), (each, "mean of\nall of them")):
            ax.text(-6, (row + 0.5) * shape[0], name, ha="right", va="center", color=style.MUTED)
    return figure
