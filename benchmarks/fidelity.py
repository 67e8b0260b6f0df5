"""Does the engine train what `keras.fit` trains?

    python -m benchmarks.fidelity [against=reference] [seeds=10] [dropout=0,0.2]
    python -m benchmarks.fidelity against=plain [seeds=10]

against=reference: trains the book's network on MNIST in both ways, with the same seeds, initial weights and sample
orders. Only float32 rounding sets the two apart (with dropout also the masks: each trainer draws them from the run's
generator in its own order of operations). Prints for test accuracy and gap, in points: both means, the mean paired
difference, its 95 % interval, and the p value for equivalence within 0.1 point (two one-sided paired t tests).

against=plain: trains three networks with the product and with a `keras.fit` script, which share only the arrays and
their split. In the script Keras draws the initial weights and shuffles. So the two sides are independent samples of one
distribution: their means should differ by less than two standard errors of the difference.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config.run_config import Dataset
from pipeline.data import arrays
from pipeline.models.devices import quiet_stderr
from pipeline.storage.store import RunStore
from pipeline.training.splits import Split, split

METRICS = {"test accuracy": "test/accuracy", "gap": "overfitting_gap/accuracy"}
MARGIN = 0.1
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


def of_product(seeds: int, *words: str) -> np.ndarray:
    """Return METRICS of `python -m pipeline.train` in points, a row per seed."""
    with tempfile.TemporaryDirectory() as folder:
        measure.sweep(Path(folder), *words, f"seed=range({seeds})")
        runs = sorted(RunStore(Path(folder) / "runs"), key=lambda run: run.job.seed)
    return 100 * np.array([[run.metrics[metric] for metric in METRICS.values()] for run in runs])


def of_script(recipe: dict[str, Any], data: Split, seed: int) -> list[float]:
    """Return the same metrics of one network trained as in the book."""
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


def against_reference(seeds: int, dropouts: Sequence[str]) -> None:
    from scipy import stats
    from statsmodels.stats.weightstats import ttost_paired

    for dropout in dropouts:
        words = ("experiment=book", f"model.dropout={dropout}")
        engine, reference = (of_product(seeds, *words, f"device.trainer={name}") for name in ("engine", "reference"))
        for name, ours, theirs in zip(METRICS, engine.T, reference.T, strict=True):
            low, high = stats.ttest_rel(ours, theirs).confidence_interval()
            p, _, _ = ttost_paired(ours, theirs, -MARGIN, MARGIN)
            print(
                f"dropout {dropout}, {name}: engine {ours.mean():.3f}, keras.fit {theirs.mean():.3f}, "
                f"difference {(ours - theirs).mean():+.3f} ({low:+.3f} to {high:+.3f}), "
                f"equivalent within {MARGIN} point: p = {p:.4f}",
                flush=True,
            )


def against_plain(seeds: int) -> None:
    with quiet_stderr():
        import keras

        keras.ops.zeros(1)  # the first operation sets up the devices and prints messages
    loaded = arrays.load(console.PROJECT / "data/processed/mnist")
    for recipe_name, recipe in RECIPES.items():
        dataset = Dataset("mnist", recipe["validation_size"], recipe["train_size"], validation="random")
        data = split(loaded, dataset)
        script = np.array([of_script(recipe, data, 1000 + seed) for seed in range(seeds)])
        words = [f"optimizer={recipe['optimizer']}", f"model.width={recipe['width']}"]
        words += [f"training.epochs={recipe['epochs']}"]
        words += [f"dataset.{name}={recipe[name]}" for name in ("validation_size", "train_size")]
        for name, ours, theirs in zip(METRICS, of_product(seeds, *words).T, script.T, strict=True):
            error = float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / seeds))
            difference = float(ours.mean() - theirs.mean())
            print(
                f"{recipe_name}, {name}: product {ours.mean():.3f}, keras.fit {theirs.mean():.3f}, "
                f"difference {difference:+.3f}, standard error {error:.3f}: "
                f"{'within' if abs(difference) <= 2 * error else 'OVER'} two",
                flush=True,
            )


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, {"against": "reference", "seeds": "10", "dropout": "0,0.2"}, __doc__ or "")
    seeds = int(values["seeds"])
    print(f"{measure.machine()}; {seeds} seeds")
    if values["against"] == "reference":
        against_reference(seeds, values["dropout"].split(","))
    elif values["against"] == "plain":
        against_plain(seeds)
    else:
        raise UserError(f"against={values['against']}: expected reference or plain")
    return 0


if __name__ == "__main__":
    console.run(main)
