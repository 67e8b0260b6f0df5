"""The backend, device and precision of a run: chosen before Keras is imported, checked afterwards."""

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
"""Packages that each backend and Keras import, if installed, for features that this project does not use. Hiding them halves
TensorFlow's start-up time and saves 190 MB."""

STACKS = {"cpu": 4, "gpu": 256}
"""Default number of models stacked in one JAX program."""


@dataclass(frozen=True)
class Device:
    """How runs are computed. All fields but `workers` and `checkpoint_minutes` affect the bits and are part of a run's key."""

    kind: str
    backend: str
    precision: str
    xla: bool
    trainer: str
    workers: int
    stack: int
    """Models per program on JAX; otherwise 1."""
    checkpoint_minutes: float = 0.0
    """Minutes between checkpoints of a run; 0 disables them."""

    @property
    def dtype(self) -> str:
        """Keras's dtype policy. TensorFloat-32 is a way to multiply float32, not a dtype."""
        return "float32" if self.precision == "tensorfloat32" else self.precision

    def numerics(self) -> dict[str, Any]:
        """The numeric settings, which are part of a run's key."""
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
    """Return the name of the module in pipeline/training that trains."""
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
    """Resolve `auto` without importing a backend (TensorFlow takes 7 s). Raises UserError if backend or device is missing."""
    try:
        version(backend)
    except PackageNotFoundError:
        raise UserError(
            f"device.backend={backend}: not installed; pip install '.[{backend}]', or device.backend=tensorflow"
        ) from None
    gpu = gpu_available(backend)
    if kind == "gpu" and not gpu:
        raise UserError(
            f"device=gpu: no GPU that {backend} can use was found (driver: {'found' if _driver() else 'none'}); "
            f"device=cpu or device=auto trains on the CPU, 'make setup EXTRAS=gpu' installs the libraries"
        )
    settled = "gpu" if gpu and kind != "cpu" else "cpu"
    if backend == "jax" and not xla:
        raise UserError("device.xla=false: JAX always compiles with XLA; leave it true, or device.backend=tensorflow")
    if precision == "tensorfloat32" and settled == "cpu":
        raise UserError("device.precision=tensorfloat32: a CPU has none; expected float32, float64 or mixed_bfloat16")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # One model fills one core; one program fills a GPU.
    workers = (workers or cores) if settled == "cpu" and backend == "tensorflow" and trainer == "engine" else 1
    stacks = backend == "jax" and trainer == "engine"
    stack = (stack or STACKS[settled]) if stacks else 1
    return Device(settled, backend, precision, xla, trainer, workers, stack, checkpoint_minutes)


def gpu_available(backend: str) -> bool:
    """Return whether a driver, its libraries and a visible GPU are present, judging by files alone."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return False
    names = ("jax_cuda12_plugin", "jax_cuda13_plugin") if backend == "jax" else ("nvidia.cudnn", "nvidia")
    return _driver() and any(_installed(name) for name in names)


DRIVERS = ("/proc/driver/nvidia/gpus", "/dev/nvidia0", "/usr/lib/wsl/lib/libcuda.so.1")
"""Files of NVIDIA's driver; the last one is for the Windows Subsystem for Linux."""


def _driver() -> bool:
    return any(Path(file).exists() for file in DRIVERS)


def gpu_description() -> str:
    """Return the driver's description of itself and its GPUs; empty without a driver."""
    parts = [Path("/proc/driver/nvidia/version"), *sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    with suppress(OSError):
        # Other lines, such as the bus address of a GPU, do not affect the numbers.
        lines = "\n".join(part.read_text() for part in parts if part.exists()).splitlines()
        return "\n".join(line for line in lines if line.startswith(("Model", "NVRM", "Video BIOS")))
    return ""


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


_started: set[str] = set()
"""Backends that `start` imported in this process."""


def start(device: Device, trains: bool = True) -> None:
    """Import Keras on the chosen backend and configure it, so that inherited settings do not change the numbers.

    Raises UserError if this fails, or if the backend was already imported with other settings, which may change the bits.
    With `trains=False`, for predictions only, an imported backend is used without this check.
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
    """Return the environment variables that affect the bits."""
    if device.backend == "tensorflow":
        # oneDNN affects the bits. Set explicitly, since an inherited variable could turn it off.
        return {"TF_ENABLE_ONEDNN_OPTS": "1"}
    return {"JAX_PLATFORMS": "cpu"} if device.kind == "cpu" else {}


def _missing_flags(device: Device) -> list[str]:
    """Return the XLA flags that affect the bits or the speed and are not set yet."""
    flags: list[str] = []
    if device.kind == "gpu":
        flags = ["--xla_gpu_deterministic_ops=true"]
    elif device.backend == "jax":
        # Matrix products that Eigen splits among threads differ in bits between machines; what XLA splits does not.
        flags = ["--xla_cpu_multi_thread_eigen=false"]
    elif device.trainer == "engine":
        # With its concurrency-optimized scheduler XLA runs independent steps on a thread pool shared by all programs of the
        # process. Whole epochs then wait for one another: two workers keep only one core busy.
        flags = ["--xla_cpu_enable_concurrency_optimized_scheduler=false", "--xla_cpu_multi_thread_eigen=false"]
    there = os.environ.get("XLA_FLAGS", "").split()
    return [flag for flag in flags if flag not in there]


def _check_inherited(device: Device) -> None:
    """Raise UserError if the backend may have been imported without the variables and flags that affect the bits."""
    missing = [f"{name}={value}" for name, value in _variables(device).items() if os.environ.get(name) != value]
    if flags := _missing_flags(device):
        missing.append(f"XLA_FLAGS='{' '.join(flags)}'")
    if missing:
        raise UserError(
            f"{device.backend} was imported in this process without {', '.join(missing)}, and other bits may come out; "
            "restart it (a notebook: its kernel) and train before you import it, or set these variables first"
        )


def _set_up_keras(device: Device) -> None:
    """Reset to Keras's defaults what its configuration file or environment variables may have changed."""
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
    """Hide Keras's configuration file, which may be broken, and keep NNX off: once on, it cannot be disabled."""
    # An impossible folder, since Keras would write its file into a possible one.
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
        # One thread per model and one model per core. A GPU must stay hidden from a CPU run.
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
    # The first operation initializes the devices and logs that to stderr: run one while stderr is held back.
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
    """Make imports of these packages fail, only in this thread: another one may be importing MLflow."""
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
    """Apply a setting that TensorFlow rejects once it has started; a second training in one process keeps the first's."""
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
    """Hold back what native code writes to stderr while libraries load; print it if loading fails.

    This redirects the file descriptor, since TensorFlow prints several lines before it applies its log level.
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
