"""Which backend, device and precision a run computes on; decided before Keras is imported, checked after."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError

UNUSED = {
    "tensorflow": ("jax", "sklearn", "matplotlib"),
    "jax": ("tensorflow", "sklearn", "matplotlib"),
}
"""What a backend and Keras import where it is installed, with `try`, for features that are not used here: half of the seconds
that TensorFlow takes to start, and 190 MB."""

STACKS = {"cpu": 4, "gpu": 256}
"""Models stacked in one JAX program where the configuration leaves it open."""


@dataclass(frozen=True)
class Device:
    """What computes. All fields but `workers` decide bits, and stand in the key of a run."""

    kind: str
    backend: str
    precision: str
    xla: bool
    trainer: str
    workers: int
    stack: int
    """Models in one program, on JAX; 1 elsewhere."""

    @property
    def dtype(self) -> str:
        """Keras's dtype policy: TensorFloat-32 is a way to multiply float32, not a type of its own."""
        return "float32" if self.precision == "tensorfloat32" else self.precision

    def numerics(self) -> dict[str, Any]:
        """The class of machines and settings that compute alike, as far as names can tell."""
        return {
            "backend": self.backend,
            "backend_version": version(self.backend),
            "keras_version": version("keras"),
            "device": self.kind,
            "precision": self.precision,
            "xla": self.xla,
            "trainer": self.trainer,
            "stack": self.stack,
        }

    def __str__(self) -> str:
        compiled = "XLA" if self.xla else "without XLA"
        many = f", {self.workers} runs at a time" if self.workers > 1 else ""
        many += f", stacks of {self.stack}" if self.stack > 1 else ""
        what = "keras.fit" if self.trainer == "reference" else compiled
        return f"{self.kind.upper()}, Keras {version('keras')} on {self.backend} {version(self.backend)}, {self.precision}, {what}{many}"


def choose(kind: str, backend: str, precision: str, xla: bool, trainer: str, workers: int, stack: int) -> Device:
    """Settle `auto` without importing a backend (TensorFlow costs 7 s). Raises UserError for what is not there."""
    try:
        version(backend)
    except PackageNotFoundError:
        raise UserError(
            f"device.backend={backend}: not installed; pip install '.[{backend}]', or device.backend=tensorflow"
        ) from None
    gpu = gpu_at_hand(backend)
    if kind == "gpu" and not gpu:
        raise UserError(
            f"device=gpu: no GPU that {backend} could use is at hand (driver: {'found' if _driver() else 'none'}); "
            f"device=cpu or device=auto trains on the CPU, 'make setup EXTRAS=gpu' installs the libraries"
        )
    settled = "gpu" if gpu and kind != "cpu" else "cpu"
    if backend == "jax" and not xla:
        raise UserError("device.xla=false: JAX always compiles with XLA; leave it true, or device.backend=tensorflow")
    if precision == "tensorfloat32" and settled == "cpu":
        raise UserError("device.precision=tensorfloat32: a CPU has none; expected float32, float64 or mixed_bfloat16")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # One model fills one core, and a GPU is filled by one program.
    workers = (workers or cores) if settled == "cpu" and backend == "tensorflow" and trainer == "engine" else 1
    stacks = backend == "jax" and trainer == "engine"
    stack = (stack or STACKS[settled]) if stacks else 1
    return Device(settled, backend, precision, xla, trainer, workers, stack)


def gpu_at_hand(backend: str) -> bool:
    """Whether a driver, its libraries and a visible card are here, by their files alone."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return False
    names = ("jax_cuda12_plugin", "jax_cuda13_plugin") if backend == "jax" else ("nvidia.cudnn", "nvidia")
    return _driver() and any(_installed(name) for name in names)


def _driver() -> bool:
    return Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists()


def card() -> str:
    """What the driver says of itself and of its cards; empty without one."""
    parts = [Path("/proc/driver/nvidia/version"), *sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    with suppress(OSError):
        # The address of a card on the bus says nothing of how it computes.
        lines = "\n".join(part.read_text() for part in parts if part.exists()).splitlines()
        return "\n".join(line for line in lines if line.startswith(("Model", "NVRM", "Video BIOS")))
    return ""


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def start(device: Device) -> None:
    """Import Keras on the chosen backend and set it up. Once in a process; raises UserError where it cannot be had."""
    os.environ["KERAS_BACKEND"] = device.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if device.kind == "gpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        _add_flag("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    with quiet(), _without(UNUSED[device.backend]):
        (_start_tensorflow if device.backend == "tensorflow" else _start_jax)(device)
        import keras

    if keras.backend.backend() != device.backend:
        raise UserError(
            f"device.backend={device.backend}: this process already runs Keras on {keras.backend.backend()}; "
            "one backend per process, so sweep backends in separate commands"
        )
    keras.config.set_floatx("float64" if device.precision == "float64" else "float32")


def _start_tensorflow(device: Device) -> None:
    if device.kind == "cpu" and device.trainer == "engine":
        # XLA would hand steps of a program that could run at once to a pool of threads that all programs of the process
        # share, where whole epochs then wait for one another: two workers would keep one core busy.
        _add_flag("XLA_FLAGS", "--xla_cpu_enable_concurrency_optimized_scheduler=false")
        _add_flag("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    # oneDNN on is part of the numerics; said here so that an inherited variable cannot change it.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import tensorflow as tf

    if device.kind == "cpu":
        # One thread per model and a model per core; set_visible_devices also keeps a GPU out of a CPU run.
        _once(lambda: tf.config.set_visible_devices([], "GPU"))
        if device.trainer == "engine":
            _once(lambda: tf.config.threading.set_intra_op_parallelism_threads(1))
            _once(lambda: tf.config.threading.set_inter_op_parallelism_threads(max(device.workers, 1)))
    else:
        cards = tf.config.list_physical_devices("GPU")
        if not cards:
            raise UserError(
                "device=gpu: TensorFlow sees no GPU (driver and libraries do not match?); device=cpu trains on the CPU"
            )
        for card in cards:
            _once(lambda card=card: tf.config.experimental.set_memory_growth(card, True))
        tf.config.experimental.enable_tensor_float_32_execution(device.precision == "tensorfloat32")
        tf.config.experimental.enable_op_determinism()
    # The first operation sets the devices up, and says so on stderr: have that over with.
    tf.constant(0.0)


def _start_jax(device: Device) -> None:
    if device.kind == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
        # On JAX the number of threads changes bits: one, whatever the machine has.
        _add_flag("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    import jax

    jax.config.update("jax_enable_x64", device.precision == "float64")
    jax.config.update(
        "jax_default_matmul_precision", "tensorfloat32" if device.precision == "tensorfloat32" else "highest"
    )
    if device.kind == "gpu" and jax.default_backend() != "gpu":
        raise UserError(
            "device=gpu: JAX sees no GPU (jax[cuda] not installed, or no driver); device=cpu trains on the CPU"
        )
    jax.numpy.zeros(1).block_until_ready()


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of these packages fail, in this thread alone: another one may be importing MLflow."""
    thread = threading.get_ident()

    class Hidden(MetaPathFinder):
        def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
            if fullname.partition(".")[0] in names and threading.get_ident() == thread:
                raise ModuleNotFoundError(f"No module named {fullname!r} while Keras is loaded", name=fullname)

    finder = Hidden()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _once(setting: Any) -> None:
    """TensorFlow refuses these once it has started: a second training in one process keeps the first one's."""
    with suppress(RuntimeError):
        setting()


def _add_flag(variable: str, flag: str) -> None:
    flags = os.environ.get(variable, "")
    if flag not in flags:
        os.environ[variable] = f"{flags} {flag}".strip()


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what native code writes to stderr while libraries load; shown after all if that fails.

    TensorFlow prints half a dozen lines before any of its log levels is heard, so the descriptor itself is turned.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
