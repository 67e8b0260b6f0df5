"""Whether two machines compute the same bits: a fixed training of about two seconds, and the digest of its result.

Names and versions do not determine the bits, since a library takes different code paths on different processors. So the same
training runs on both. It has the operations of every training: products, transcendental functions, square roots, dropout masks,
softmax and its logarithm.
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
"""Multiples of the batch and chunk sizes: each further size would take a second to compile."""
SWITCH = "OVERFITTING_GAP_CACHE"
"""Environment variable: the folder in which `overfitting-gap/` is the cache, or `off`."""


def numerics_class(device: Device) -> str:
    """Return the sha256 (hex) of every bit of the fixed training on `device`.

    It trains once per machine, device and release of the libraries; the digest is cached in `root()`.
    Raises UserError if it does not train.
    """
    cached = _cached(device)
    if cached is None:
        return _train(device)
    with suppress(OSError):
        known = cached.read_text(encoding="utf-8").strip()
        if len(known) == 64:
            return known
    found = _train(device)
    with suppress(UserError), atomic_write(cached) as temporary:  # if it cannot be written, the next run trains again
        temporary.write_text(f"{found}\n")
    return found


def job() -> RunConfig:
    """Return the configuration of the fixed training: as wide as the book's network, with operations which that lacks."""
    adamw = {"amsgrad": False, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "learning_rate": 0.001}
    return RunConfig(
        Dataset("numerics", 0),
        Model((512,), "gelu", 0.2, "he_normal"),
        Optimizer("adamw", tuple(sorted({**adamw, "weight_decay": 0.004}.items()))),
        Training(2, 125, "categorical_crossentropy", 0),
        seed=0,
    )


def samples() -> Split:
    """Return random images and labels: only the bits matter, not what is learned."""

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
        raise UserError(f"the fixed training that tests this machine's numerics did not finish: {result.reason}")
    history = {name: [value.hex() for value in values] for name, values in result.history.items()}
    return digest([result.digests, history])


def _cached(device: Device) -> Path | None:
    """Return the cache file for this machine, device and source code; None without a cache."""
    folder = root()
    if folder is None:
        return None
    flags = {
        name: os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "CUBLAS_WORKSPACE_CONFIG")
    }
    # Libraries below the backend affect the bits too.
    libraries = {name: environment().get(name) for name in ("numpy", "jaxlib", "platform")}
    made_of = [device.numerics(), processor(), gpu_description(), flags, libraries, source_digest(device.numerics())]
    return folder / "numerics" / digest(made_of)


def root() -> Path | None:
    """Return the project's cache folder; None if it is switched off or the user has no home."""
    folder = os.environ.get(SWITCH) or os.environ.get("XDG_CACHE_HOME")
    if folder == "off":
        return None
    with suppress(RuntimeError):
        return Path(folder or Path.home() / ".cache") / "overfitting-gap"
    return None


def processor() -> str:
    """Return model and features of this machine's processor."""
    lines = {*cpu_info("model name", "flags", "Features", "CPU part")}
    return "\n".join(sorted(lines)) or f"{platform.machine()} {platform.processor()} {platform.node()}"
