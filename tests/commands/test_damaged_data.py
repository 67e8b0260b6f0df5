"""After one bit of the pixels has flipped, every command refuses the data."""

import shutil
from pathlib import Path

import pytest

from pipeline import compare, reproduce
from pipeline.data.arrays import DamagedData
from tests.support.formula import installed
from tests.unit.training.command import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> Place:
    """A project with a run whose data was damaged afterwards."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(processed, root / "processed")
    place = Place(root, root / "processed")
    with pytest.MonkeyPatch.context() as patch:
        installed(patch)
        assert place.train("optimizer=sgd", "model.width=4", "seed=0", "training.epochs=1").status == 0
    pixels = root / "processed/digits/train_images.npy"
    data = bytearray(pixels.read_bytes())
    data[-1] ^= 1
    pixels.write_bytes(data)
    return place


def test_train_refuses_it(place: Place) -> None:
    said = place.train("optimizer=sgd", "model.width=4", "seed=1", "training.epochs=1")
    [line] = said.err.splitlines()
    assert said.status == 2
    assert "digits: preprocessed data is damaged (the digest of its arrays is" in line
    assert "python -m pipeline.preprocess dataset=digits" in line


def test_reproduce_refuses_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    [run] = place.runs
    words = [run.key, f"runs={place.root}/runs", f"data={place.processed}", "tracking=none"]
    assert reproduce.main(words) == 13
    [line] = capsys.readouterr().out.splitlines()
    assert "cannot be repeated" in line
    assert "preprocessed data is damaged" in line


def test_compare_refuses_it(place: Place) -> None:
    words = [f"{place.root}/results", f"data={place.processed}", "tracking=none", f"out={place.root}/reports"]
    with pytest.raises(DamagedData, match="preprocessed data is damaged"):
        compare.main(words)
