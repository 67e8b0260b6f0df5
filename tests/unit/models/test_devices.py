"""The choice of the device: made without importing a backend; an unavailable device is refused."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.models import devices
from pipeline.models.devices import Device
from tests.unit.training.trainer import device


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_available", lambda backend: False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_available", lambda backend: True)


def chosen(**changes: Any) -> Device:
    return device(**({"kind": "auto", "workers": 0} | changes))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("kind", "settled"), [("auto", "gpu"), ("gpu", "gpu"), ("cpu", "cpu")])
def test_with_a_gpu(kind: str, settled: str) -> None:
    assert chosen(kind=kind).kind == settled


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "gpu"}, "device=gpu: no GPU that tensorflow can use was found"),
        ({"backend": "jax", "xla": False}, "device.xla=false: JAX always compiles with XLA"),
        ({"precision": "tensorfloat32"}, "device.precision=tensorfloat32: a CPU has none"),
        ({"backend": "no-such-backend"}, "device.backend=no-such-backend: not installed"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen(**changes)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "workers", "stack"),
    [
        ({"workers": 3}, 3, 1),
        ({"workers": 3, "trainer": "reference"}, 1, 1),
        ({"workers": 3, "backend": "jax"}, 1, 4),
        ({"stack": 9, "backend": "jax"}, 1, 9),
    ],
    ids=str,
)
def test_workers_and_stack(changes: dict[str, Any], workers: int, stack: int) -> None:
    found = chosen(**changes)
    assert (found.workers, found.stack) == (workers, stack)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_has_one_worker_and_large_stacks() -> None:
    assert (chosen().workers, chosen(backend="jax").stack) == (1, 256)


@pytest.mark.usefixtures("gpu")
def test_tensorfloat32_is_a_way_to_multiply_float32() -> None:
    found = chosen(precision="tensorfloat32")
    assert found.dtype == "float32"
    assert found.numerics()["precision"] == "tensorfloat32"


@pytest.mark.parametrize("value", ["", "-1", " "])
def test_a_driver_is_enough_and_hidden_cards_are_no_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.undo()
    library = tmp_path / "libcuda.so.1"  # the only sign of a driver in the Windows Subsystem for Linux
    monkeypatch.setattr(devices, "DRIVERS", ("/no/such/device", str(library)))
    monkeypatch.setattr(devices, "_installed", lambda name: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not devices.gpu_available("tensorflow")
    library.touch()
    assert devices.gpu_available("tensorflow")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert not devices.gpu_available("tensorflow")


def test_choosing_imports_no_backend() -> None:
    script = (
        "import sys; from pipeline.models.devices import choose;"
        "str(choose('auto', 'tensorflow', 'float32', True, 'engine', 0, 0));"
        "choose('cpu', 'jax', 'float32', True, 'engine', 0, 0).numerics();"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=60)


@pytest.mark.usefixtures("keras")
def test_a_process_has_one_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KERAS_BACKEND", "JAX_PLATFORMS", "XLA_FLAGS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    with pytest.raises(UserError, match="this process already runs Keras on tensorflow"):
        devices.start(chosen(backend="jax"))


@pytest.mark.usefixtures("keras")
def test_a_process_can_change_its_precision() -> None:
    import keras

    for precision in ("float64", "float32"):
        devices.start(chosen(precision=precision))
        assert keras.config.floatx() == precision


# --- inherited settings have no effect

SETTINGS = """
import os
from pipeline.models import devices
device = devices.choose("cpu", "tensorflow", "float32", False, "engine", 1, 0)
devices.start(device)
import keras
from keras import config
print(config.epsilon(), config.image_data_format(), config.floatx(), config.is_nnx_enabled(), config.max_epochs())
print(os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""
ITS_OWN = ["1e-07 channels_last float32 False None", "1"]


def fresh(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a subprocess without the backend settings of this one."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("XLA_", "TF_", "KERAS_", "JAX_"))
    }
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=PROJECT, env=plain | environment, capture_output=True, text=True, check=True)


def test_neither_a_broken_file_of_keras_nor_the_environment_decides(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"epsilon": "none", "backend": "torch"}')
    hostile = {"KERAS_HOME": str(tmp_path), "KERAS_MAX_EPOCHS": "1", "KERAS_NNX_ENABLED": "1"}
    said = fresh(SETTINGS, OVERFITTING_GAP_CACHE="off", TF_ENABLE_ONEDNN_OPTS="0", **hostile).stdout
    assert said.splitlines() == ITS_OWN


START = """
{before}
from pipeline.cli.errors import UserError
from pipeline.models import devices
device = devices.choose("cpu", "tensorflow", "float32", True, "engine", 1, 0)
try:
    devices.start(device)
except UserError as error:
    print(error)
"""
OURS = (
    "import os; os.environ.update(TF_ENABLE_ONEDNN_OPTS='1', XLA_FLAGS='--xla_cpu_enable_concurrency_optimized_scheduler="
    "false --xla_cpu_multi_thread_eigen=false'); "
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("import tensorflow", "tensorflow was imported in this process without TF_ENABLE_ONEDNN_OPTS"),
        (
            OURS + "import tensorflow; tensorflow.constant(1) + 1",
            "tensorflow has computed in this process before it was set up",
        ),
    ],
    ids=["imported", "computed"],
)
def test_a_backend_that_others_imported_first_is_refused(before: str, expected: str) -> None:
    [line] = fresh(START.format(before=before), OVERFITTING_GAP_CACHE="off").stdout.splitlines()
    assert line.startswith(expected)
    assert "a notebook: its kernel" in line


def test_what_native_code_says_is_held_back_unless_the_library_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with devices.quiet_stderr():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\n")
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"

    with suppress(ImportError), devices.quiet_stderr():
        os.write(2, b"why it failed\n")
        raise ImportError
    assert "why it failed" in capfd.readouterr().err
