"""Which backend, device and precision a run computes on; decided before Keras is imported, checked after."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
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
    """What computes. All fields but `workers` and `checkpoint_minutes` decide bits, and stand in the key of a run."""

    kind: str
    backend: str
    precision: str
    xla: bool
    trainer: str
    workers: int
    stack: int
    """Models in one program, on JAX; 1 elsewhere."""
    checkpoint_minutes: float = 0.0
    """From one checkpoint of a run to the next; 0 for none."""

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
        more = f", {self.workers} runs at a time" if self.workers > 1 else ""
        more += f", stacks of {self.stack}" if self.stack > 1 else ""
        what = "keras.fit" if self.trainer == "reference" else compiled
        return f"{self.kind.upper()}, Keras {version('keras')} on {self.backend} {version(self.backend)}, {self.precision}, {what}{more}"


def program(trainer: str, backend: str) -> str:
    """The module of pipeline/training that trains: the reference is plain Keras, whatever the backend."""
    if trainer == "reference":
        return "reference"
    return "stacked" if backend == "jax" else "engine"


def choose(
    kind: str,
    backend: str,
    precision: str,
    xla: bool,
    trainer: str,
    workers: int,
    stack: int,
    checkpoint_minutes: float = 0.0,
) -> Device:
    """Settle `auto` without importing a backend (TensorFlow costs 7 s). Raises UserError for what is not there."""
    try:
        version(backend)
    except PackageNotFoundError:
        raise UserError(
            f"device.backend={backend}: not installed; pip install '.[{backend}]', or device.backend=tensorflow"
        ) from None
    gpu = gpu_available(backend)
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
    return Device(settled, backend, precision, xla, trainer, workers, stack, checkpoint_minutes)


def gpu_available(backend: str) -> bool:
    """Whether a driver, its libraries and a visible card are here, by their files alone."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return False
    names = ("jax_cuda12_plugin", "jax_cuda13_plugin") if backend == "jax" else ("nvidia.cudnn", "nvidia")
    return _driver() and any(_installed(name) for name in names)


DRIVERS = ("/proc/driver/nvidia/gpus", "/dev/nvidia0", "/usr/lib/wsl/lib/libcuda.so.1")
"""Where NVIDIA's driver shows: the last one is that of Windows, in its Subsystem for Linux."""


def _driver() -> bool:
    return any(Path(place).exists() for place in DRIVERS)


def gpu_description() -> str:
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


_started: set[str] = set()
"""Backends that `start` has imported in this process."""


def start(device: Device, trains: bool = True) -> None:
    """Import Keras on the chosen backend and set it up, so that the same numbers come out whatever this process inherits.

    Raises UserError where it cannot be had, and where the backend was imported before with settings of its own: then other
    bits may come out. What only predicts (`trains=False`) takes the backend as it is.
    """
    foreign = device.backend in sys.modules and device.backend not in _started
    strict = foreign and trains
    if strict:
        _check_inherited(device)
    if trains or not foreign:
        _started.add(device.backend)
    os.environ["KERAS_BACKEND"] = device.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.update(_variables(device))
    if device.kind == "gpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if missing := _missing_flags(device):
        os.environ["XLA_FLAGS"] = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *missing])
    # TensorFlow imports Keras too.
    with quiet_stderr(), hide_packages(UNUSED[device.backend]), _own_keras_settings():
        if device.backend == "tensorflow":
            _start_tensorflow(device, strict)
        else:
            _start_jax(device)
        import keras

    if keras.backend.backend() != device.backend:
        raise UserError(
            f"device.backend={device.backend}: this process already runs Keras on {keras.backend.backend()}; "
            "one backend per process, so sweep backends in separate commands"
        )
    _set_up_keras(device)


def _variables(device: Device) -> dict[str, str]:
    """Environment variables that decide bits."""
    if device.backend == "tensorflow":
        # oneDNN on is part of the numerics; said here so that an inherited variable cannot change it.
        return {"TF_ENABLE_ONEDNN_OPTS": "1"}
    return {"JAX_PLATFORMS": "cpu"} if device.kind == "cpu" else {}


def _missing_flags(device: Device) -> list[str]:
    """Flags of XLA that decide bits and are not set."""
    flags: list[str] = []
    if device.kind == "gpu":
        flags = ["--xla_gpu_deterministic_ops=true"]
    elif device.backend == "jax":
        # Products that Eigen divides among threads would have other bits on other machines. What XLA divides itself has not.
        flags = ["--xla_cpu_multi_thread_eigen=false"]
    elif device.trainer == "engine":
        # XLA would hand steps of a program that could run at once to a pool of threads that all programs of the process
        # share, where whole epochs then wait for one another: two workers would keep one core busy.
        flags = ["--xla_cpu_enable_concurrency_optimized_scheduler=false", "--xla_cpu_multi_thread_eigen=false"]
    there = os.environ.get("XLA_FLAGS", "").split()
    return [flag for flag in flags if flag not in there]


def _check_inherited(device: Device) -> None:
    """Raises UserError if the backend, which was imported before, may have been without what decides bits."""
    missing = [f"{name}={value}" for name, value in _variables(device).items() if os.environ.get(name) != value]
    if flags := _missing_flags(device):
        missing.append(f"XLA_FLAGS='{' '.join(flags)}'")
    if missing:
        raise UserError(
            f"{device.backend} was imported in this process without {', '.join(missing)}, and other bits may come out; "
            "restart it (a notebook: its kernel) and train before you import it, or set these variables first"
        )


def _set_up_keras(device: Device) -> None:
    """What Keras's configuration file and its environment variables may have set otherwise, in Keras's own defaults."""
    import keras

    if keras.config.is_nnx_enabled():
        raise UserError("Keras runs with NNX in this process; set KERAS_NNX_ENABLED=false before keras is imported")
    keras.config.set_floatx("float64" if device.precision == "float64" else "float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


@contextmanager
def _own_keras_settings() -> Iterator[None]:
    """While Keras is imported: no configuration file, not even a broken one, and no NNX, which cannot be undone later."""
    # A folder that cannot be: Keras would also write its file into one that can.
    own = {"KERAS_HOME": f"{os.devnull}/keras", "KERAS_NNX_ENABLED": "false"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_tensorflow(device: Device, strict: bool) -> None:
    import tensorflow as tf

    if device.kind == "cpu":
        # One thread per model and a model per core; set_visible_devices also keeps a GPU out of a CPU run.
        _once(strict, lambda: tf.config.set_visible_devices([], "GPU"))
        if device.trainer == "engine":
            _once(strict, lambda: tf.config.threading.set_intra_op_parallelism_threads(1))
            _once(strict, lambda: tf.config.threading.set_inter_op_parallelism_threads(max(device.workers, 1)))
    else:
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            raise UserError(
                "device=gpu: TensorFlow sees no GPU (driver and libraries do not match?); device=cpu trains on the CPU"
            )
        for gpu in gpus:
            _once(strict, partial(tf.config.experimental.set_memory_growth, gpu, True))
        tf.config.experimental.enable_tensor_float_32_execution(device.precision == "tensorfloat32")
        tf.config.experimental.enable_op_determinism()
    # The first operation sets the devices up, and says so on stderr: have that over with.
    tf.constant(0.0)


def _start_jax(device: Device) -> None:
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
def hide_packages(names: tuple[str, ...]) -> Iterator[None]:
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


def _once(strict: bool, setting: Callable[[], None]) -> None:
    """TensorFlow refuses these once it has started: a second training in one process keeps the first one's."""
    try:
        setting()
    except RuntimeError as error:
        if strict:
            raise UserError(
                "tensorflow has computed in this process before it was set up, and other bits may come out; "
                "restart it (a notebook: its kernel) and train first"
            ) from error


@contextmanager
def quiet_stderr() -> Iterator[None]:
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
