"""Fixtures shared by unit, command and system tests."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipeline import fetch
from pipeline.cli.console import COLLECT_AFTER, PROJECT
from pipeline.data import arrays, mirrors, raw, sources
from pipeline.data.arrays import Arrays
from pipeline.tracking import open_tracker
from tests.support.formula import Formula, installed
from tests.support.once import once, shared_folder

# As in every command. A test process holds TensorFlow, MLflow and all tests until it ends.
gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


ALL = os.environ.get("TESTS") == "all"
"""Whether to include the tests marked slow, which take many seconds of CPU time."""

LONGEST = (
    "system/test_dvc.py",
    "system/test_extending.py",
    "unit/training/",
    "system/test_notebooks.py",
    "unit/tracking/test_ui.py",
    "commands/test_train.py",
    "unit/report/",
    "unit/sweep/",
    "commands/test_promote.py",
    "commands/test_publish.py",
    "system/test_slurm.py",
    "system/faults/",
)
"""Files that run first. If a long one started last, all other processes would wait for it."""

FOLDERS = ("unit", "commands", "system")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not ALL and "::" not in "".join(config.args):  # a test named on the command line runs even if it is slow
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slow")])
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    items.sort(key=lambda item: [not item.nodeid.startswith(f"tests/{start}") for start in LONGEST])
    for item in items:
        item.add_marker(next(name for name in FOLDERS if item.nodeid.startswith(f"tests/{name}/")))


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like data/processed that holds the 1,797 real digits of scikit-learn."""
    return once(tmp_path_factory, "data", make_processed) / "processed"


def make_processed(folder: Path) -> None:
    from pipeline import preprocess
    from pipeline.config.digests import arrays_digest

    digits = sources.find("digits")
    fetch.fetch(digits, folder / "raw", mirrors.find_mirrors(digits, folder, {}))
    decoded = raw.read(digits, folder / "raw")
    content = preprocess.scaled(decoded)
    whole = Arrays("digits", **content, classes=10, image_shape=(8, 8), digest=arrays_digest(content), brightest=16)
    arrays.write(whole, folder / "processed" / "digits")


def preprocessed(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pipeline.preprocess` on the raw data in `folder`."""
    places = {"raw": "raw", "processed": "processed", "card": "card.json", "samples": "samples.png"}
    given = [f"{key}={folder / name}" for key, name in places.items()]
    command = [sys.executable, "-m", "pipeline.preprocess", *given, *map(str, words)]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder with the four MNIST files: fetched into this checkout, or in shared/mnist beside it."""
    places = (PROJECT / "data" / "raw" / "mnist", PROJECT.parent / "shared" / "mnist")
    for place in places:
        if (place / "train-images-idx3-ubyte.gz").exists():
            return place
    pytest.skip("the real MNIST files are not here")


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Iterator[Path]:
    """The real MNIST, fetched from a folder and preprocessed as a user would do it."""
    folder = tmp_path_factory.mktemp("mnist")
    fetch.fetch(sources.find("mnist"), folder / "raw" / "mnist", [mirrors.Folder(mnist_folder)])
    done = preprocessed(folder)
    assert done.stderr == ""
    (folder / "said").write_text(done.stdout)
    yield folder
    shutil.rmtree(folder)  # 220 MB that pytest would keep


@pytest.fixture(scope="session")
def digits(processed: Path) -> Arrays:
    return arrays.load(processed / "digits")


@pytest.fixture(scope="session")
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty MLflow store. Copying it saves a second in each test that needs a store."""

    def make(folder: Path) -> None:
        open_tracker("sqlite", uri=f"sqlite:///{folder}/mlflow.db").close_stale()

    return once(tmp_path_factory, "blank", make) / "mlflow.db"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cache the numerics class in a folder of this test run, in subprocesses too; the user's own cache stays unused."""
    folder = shared_folder(tmp_path_factory) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERFITTING_GAP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    """Keras on TensorFlow, set up as for training; once per process because it takes seconds."""
    from pipeline.models import devices

    devices.start(devices.choose("cpu", "tensorflow", "float32", True, "engine", 2, 0))
    import keras

    return keras


@pytest.fixture
def formula() -> Iterator[Formula]:
    """Replace training by a formula."""
    with pytest.MonkeyPatch.context() as patch:
        yield installed(patch)


@pytest.fixture
def hydra_as_before() -> Iterator[None]:
    """Restore Hydra's global state, which composing a configuration changes for the whole process."""
    from tests.unit.training.command import as_before

    with as_before():
        yield
