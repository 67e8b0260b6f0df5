"""Does the product give what a plain script with `keras.fit` gives? Three configurations on MNIST, other seeds on each side.

    python -m benchmarks.plain_keras [seeds=5]

The script shares nothing with the product but the arrays and their split: Keras draws the initial weights and shuffles. So the
two sides are independent samples of one distribution: their means should differ by less than two standard errors of the
difference, of test accuracy and of the gap (training minus held-out accuracy), in points.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.config.run_config import Dataset
from pipeline.data import arrays
from pipeline.models.devices import quiet
from pipeline.storage.store import RunStore
from pipeline.training.splits import Split, split

RECIPES: dict[str, dict[str, Any]] = {
    "the book's network": {"optimizer": "rmsprop", "width": 512, "epochs": 5, "validation_size": 0, "train_size": 0},
    "adam, width 64": {"optimizer": "adam", "width": 64, "epochs": 5, "validation_size": 10_000, "train_size": 0},
    "adam, width 64, 2,000 images": {
        "optimizer": "adam",
        "width": 64,
        "epochs": 60,
        "validation_size": 10_000,
        "train_size": 2_000,
    },
}
FIGURES = ("test accuracy", "gap")


def of_script(recipe: dict[str, Any], data: Split, seed: int) -> list[float]:
    """Test accuracy and gap, in points, of a network trained as in the book."""
    import keras

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((data.train.images.shape[1],)),
            keras.layers.Dense(recipe["width"], activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(optimizer=recipe["optimizer"], loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(data.train.images, data.train.labels, epochs=recipe["epochs"], batch_size=128, verbose=0)
    train, held_out, test = (
        network.evaluate(part.images, part.labels, batch_size=1000, verbose=0)[1]
        for part in (data.train, data.held_out, data.test)
    )
    return [100 * test, 100 * (train - held_out)]


def of_product(recipe: dict[str, Any], seeds: int) -> np.ndarray:
    """The same, a row per seed, of `python -m pipeline.train`."""
    words = [
        f"optimizer={recipe['optimizer']}",
        f"model.width={recipe['width']}",
        f"training.epochs={recipe['epochs']}",
        *(f"dataset.{name}={recipe[name]}" for name in ("validation_size", "train_size")),
    ]
    with tempfile.TemporaryDirectory() as folder:
        measure.sweep(Path(folder), *words, f"seed=range({seeds})")
        runs = list(RunStore(Path(folder) / "runs"))
    names = ("test/accuracy", "overfitting_gap/accuracy")
    return 100 * np.array([[run.figures[name] for name in names] for run in runs])


def main(argv: Sequence[str]) -> int:
    seeds = int(console.words(argv, {"seeds": "5"}, __doc__ or "")["seeds"])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with quiet():
        import keras

        keras.ops.zeros(1)  # the first operation sets the devices up, and says so
    loaded = arrays.load(console.PROJECT / "data/processed/mnist")
    print(f"{measure.machine()}; {seeds} seeds")
    apart = 0
    for name, recipe in RECIPES.items():
        dataset = Dataset("mnist", recipe["validation_size"], recipe["train_size"], validation="random")
        data = split(loaded, dataset)
        script = np.array([of_script(recipe, data, 1000 + seed) for seed in range(seeds)])
        product = of_product(recipe, seeds)
        for column, figure in enumerate(FIGURES):
            ours, theirs = product[:, column], script[:, column]
            error = float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / seeds))
            difference = float(ours.mean() - theirs.mean())
            apart += abs(difference) > 2 * error
            print(
                f"{name}, {figure}: product {ours.mean():.3f}, keras.fit {theirs.mean():.3f}, difference {difference:+.3f}, "
                f"standard error {error:.3f}: {'within' if abs(difference) <= 2 * error else 'OVER'} two",
                flush=True,
            )
    return int(bool(apart))


if __name__ == "__main__":
    console.run(main)
