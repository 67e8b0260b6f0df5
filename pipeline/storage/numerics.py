"""Whether two machines compute alike: a fixed training of about two seconds, and the digest of all that came out.

Names and versions do not settle bits: one library takes another path on another processor. What does settle them is to
compute the same thing here and there. The training has what trainings are made of: products, transcendental functions,
square roots, dropout's masks, softmax and its logarithm.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.run_config import Dataset, Model, Optimizer, RunConfig, Training, digest
from pipeline.data.files import atomic_write
from pipeline.models import randomness
from pipeline.models.devices import Device, gpu_description
from pipeline.storage.identity import cpu_info, environment, source_digest
from pipeline.training.splits import Part, Split

SAMPLES, HELD_OUT, PIXELS, CLASSES = 2000, 1000, 784, 10
"""Whole batches and whole chunks: each further size would be compiled on its own, a second each."""
SWITCH = "OVERFITTING_GAP_CACHE"
"""Environment variable: another folder for what is kept, or `off`."""


def numerics_class(device: Device) -> str:
    """sha256 (hex) over every bit of the fixed training on `device`.

    Trained once per machine, device and release of the libraries, and kept in `root()`.
    Raises UserError where it does not train.
    """
    place = _place(device)
    if place is None:
        return _train(device)
    with suppress(OSError):
        known = place.read_text(encoding="utf-8").strip()
        if len(known) == 64:
            return known
    found = _train(device)
    with suppress(UserError), atomic_write(place) as temporary:  # without a place to keep it, it is trained again
        temporary.write_text(f"{found}\n")
    return found


def job() -> RunConfig:
    """The fixed training: as wide as the book's network, with what that one has not."""
    adamw = {"amsgrad": False, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "learning_rate": 0.001}
    return RunConfig(
        Dataset("numerics", 0),
        Model((512,), "gelu", 0.2, "he_normal"),
        Optimizer("adamw", tuple(sorted({**adamw, "weight_decay": 0.004}.items()))),
        Training(2, 125, "categorical_crossentropy", 0),
        seed=0,
    )


def samples() -> Split:
    """Noise as images and labels: it is about bits, not about learning."""

    def part(purpose: str, count: int) -> Part:
        images = randomness.uniform(0, purpose, 0, count * PIXELS).astype(np.float32).reshape(count, PIXELS)
        return Part(images, (randomness.random_integers(0, purpose, 1, count) % np.uint64(CLASSES)).astype(np.uint8))

    train, held_out = part("numerics", SAMPLES), part("numerics/held out", HELD_OUT)
    return Split(train, held_out, held_out, "test", (PIXELS,))


def _train(device: Device) -> str:
    from pipeline.training import trainer

    events = trainer.train([job()], samples(), CLASSES, device)
    [result] = [event.result for event in events if isinstance(event, trainer.Done)]
    if not result.finished:
        raise UserError(f"the training that tells how this machine computes did not end: {result.reason}")
    history = {name: [value.hex() for value in values] for name, values in result.history.items()}
    return digest([result.digests, history])


def _place(device: Device) -> Path | None:
    """The file that holds the class of this very machine, device and source; None where nothing is kept."""
    folder = root()
    if folder is None:
        return None
    flags = {
        name: os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "CUBLAS_WORKSPACE_CONFIG")
    }
    # A library below the backend decides bits too.
    libraries = {name: environment().get(name) for name in ("numpy", "jaxlib", "platform")}
    made_of = [device.numerics(), processor(), gpu_description(), flags, libraries, source_digest(device.numerics())]
    return folder / "numerics" / digest(made_of)


def root() -> Path | None:
    """Where this project keeps what it found out about machines; None where that is off or has no home."""
    place = os.environ.get(SWITCH) or os.environ.get("XDG_CACHE_HOME")
    if place == "off":
        return None
    with suppress(RuntimeError):
        return Path(place or Path.home() / ".cache") / "overfitting-gap"
    return None


def processor() -> str:
    """What this machine's processor is and can."""
    lines = {*cpu_info("model name", "flags", "Features", "CPU part")}
    return "\n".join(sorted(lines)) or f"{platform.machine()} {platform.processor()} {platform.node()}"
