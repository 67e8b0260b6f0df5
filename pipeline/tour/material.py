"""What the stations of the tour are made of: MNIST as it is here, the jobs that words mean, and runs that are finished."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from pipeline.config import rules
from pipeline.config.job import Job, Optimizer
from pipeline.data import arrays
from pipeline.data.arrays import Arrays
from pipeline.data.files import shown
from pipeline.errors import UserError
from pipeline.models import initial, randomness
from pipeline.tour import by_hand
from pipeline.tour.by_hand import Weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.batch import Planned
    from pipeline.results.result import Result


BOOK = ("experiment=book", "dataset.train_size=10000")
"""The tour's network: the book's, on the first 10,000 images, so that it is trained in seconds."""
DEEP = (*BOOK, "model.hidden=[64,64,64]")

UNSURE = 247
"""A test image that is hard to read."""

BATCH = 128
WIDTH = 64
"""Units of the networks that learn by hand."""


@dataclass(frozen=True)
class Material:
    """Where a station finds data and runs, and where its pictures go."""

    raw: Path
    data: Path
    runs: Path
    pictures: Path
    words: tuple[str, ...] = ()
    """What else every training is told, such as `device.xla=false`."""

    @cached_property
    def mnist(self) -> Arrays:
        return arrays.load(self.data / "mnist")

    def run(self, *words: str, weights: bool = True) -> Result:
        """The finished run that these words mean. Raises UserError with the command that trains it (with its weights)."""
        from pipeline.results.store import RunStore

        key, store = planned(self.data, (*words, *self.words)).key, RunStore(self.runs)
        command = f"python -m pipeline.train {shlex.join(words)}"
        if key not in store or not (result := store.read(key)).finished:
            raise UserError(f"this station looks at a network that is not trained yet; first: {command}")
        if weights and result.weights is None:
            raise UserError(f"{result.name} is there without its weights; to have them: {command}")
        return result

    def picture(self, name: str, figure: Figure) -> str:
        """Write the picture; the line that says where it is."""
        from pipeline.report import style

        self.pictures.mkdir(parents=True, exist_ok=True)
        path = self.pictures / f"{name}.png"
        path.write_bytes(style.png(figure, dpi=110))
        return f"picture: {shown(path)}"


@cache
def planned(data: Path, words: tuple[str, ...]) -> Planned:
    """What `python -m pipeline.train WORDS` would train."""
    from hydra import compose, initialize_config_dir

    from pipeline import batch
    from pipeline.config import schema
    from pipeline.config.compose import plain

    schema.register()
    with initialize_config_dir(str(rules.CONF), version_base="1.3"):
        values = plain(compose("config", [*words, f"paths.data={data.absolute()}"]))
    [one] = batch.plan([values], [list(words)])
    return one


def one_hot(labels: np.ndarray, classes: int = 10) -> np.ndarray:
    """float64 (n, classes)."""
    return np.asarray(np.eye(classes)[labels])


def network(job: Job) -> Any:
    """The `keras.Model` that the project builds for this job, compiled, at the initial weights of its seed."""
    from pipeline.models import devices
    from pipeline.training import reference

    device = devices.choose("cpu", "tensorflow", "float32", False, "reference", 1, 0)
    devices.start(device)
    return reference.compiled_network(job, 784, 10, device)


def weights_of(arrays_by_path: dict[str, np.ndarray], dtype: str = "float64") -> list[np.ndarray]:
    """Kernel and bias of each layer in turn, out of weights by path."""
    return [array.astype(dtype) for array in arrays_by_path.values()]


def start(width: int = WIDTH, seed: int = 0) -> Weights:
    """The initial weights that the project gives a network of one hidden layer."""
    return initial.weights("glorot_uniform", seed, [784, width, 10])


def batches(here: Material, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The first batches that a run of seed 0 sees: images (steps, 128, 784) and one-hot labels (steps, 128, 10)."""
    order = randomness.order(0, 0, len(here.mnist.train_images))[: steps * BATCH]
    x = np.asarray(here.mnist.train_images[order], "float64").reshape(steps, BATCH, -1)
    return x, one_hot(here.mnist.train_labels[order]).reshape(steps, BATCH, -1)


def right(here: Material, weights: Weights) -> float:
    """Share of the test samples on whose label the last layer's largest unit stands."""
    p = by_hand.forward(here.mnist.test_images, [array.astype("float32") for array in weights])[-1]
    return float((p.argmax(axis=1) == here.mnist.test_labels).mean())


def job_of(here: Material, optimizer: str, width: int, **changes: float) -> Job:
    """The tour's job with another optimizer, as `conf/` has it, and another width."""
    values: dict[str, Any] = (
        yaml.safe_load((rules.CONF / "optimizer" / f"{optimizer}.yaml").read_text("utf-8")) | changes
    )
    name = values.pop("name")
    job = planned(here.data, BOOK).job
    return replace(
        job, model=replace(job.model, hidden=(width,)), optimizer=Optimizer(name, tuple(sorted(values.items())))
    )
