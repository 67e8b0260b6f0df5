import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import fetch, preprocess
from pipeline.cli.console import PROJECT
from pipeline.config.digests import array_digest
from pipeline.data import arrays
from pipeline.data.arrays import Arrays
from pipeline.data.mirrors import ScikitLearn
from pipeline.data.sources import find
from tests.conftest import preprocessed as run

DIGITS = find("digits")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, fetched and preprocessed as a user would do it."""
    folder = tmp_path_factory.mktemp("digits")
    fetch.fetch(DIGITS, folder / "raw" / "digits", [ScikitLearn(DIGITS.files)])
    done = run(folder, "dataset=digits")
    assert done.stderr == ""
    (folder / "said").write_text(done.stdout)
    return folder


def card_of(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return card


@pytest.fixture(scope="module")
def loaded(mnist: Path) -> Arrays:
    return arrays.load(mnist / "processed" / "mnist")


# Real MNIST


def test_mnist_has_the_digest_it_always_had(loaded: Arrays) -> None:
    assert loaded.digest == "002871171286d4410d846276b86bb3f5a895dceb6428c9306255ebde07b530fd"


def test_card_of_mnist(mnist: Path, loaded: Arrays) -> None:
    card = card_of(mnist)
    assert card["digest"] == loaded.digest
    images = card["train"]["images"]
    assert (images["shape"], images["dtype"], images["min"], images["max"]) == ([60_000, 784], "float32", 0, 1)
    assert images["mean"] == pytest.approx(0.1306604762738429, abs=1e-15)
    assert card["test"]["labels"]["class_counts"].items() >= {"0": 980, "1": 1135, "9": 1009}.items()
    assert card["test"]["images"]["sha256"] == array_digest(loaded.test_images)


# The digits, and tests that do not depend on the data


def test_the_same_bytes_again(digits: Path, tmp_path: Path) -> None:
    raw, names = digits / "raw" / "digits", ("card.json", "samples.png")
    preprocess.preprocess(DIGITS, raw, tmp_path / "digits", *(tmp_path / name for name in names))
    for name in names:
        assert (tmp_path / name).read_bytes() == (digits / name).read_bytes()
    for path in (tmp_path / "digits").iterdir():
        assert path.read_bytes() == (digits / "processed" / "digits" / path.name).read_bytes()


@pytest.mark.fault("another data set")
def test_each_data_set_has_a_card_and_a_picture_of_its_own(digits: Path, tmp_path: Path) -> None:
    """Preprocessing another one does not overwrite those of the first. The paths are outputs of the DVC stage."""
    stage = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["preprocess"]
    made = [preprocess.DEFAULTS[key].replace("{dataset}", "${dataset}") for key in ("card", "samples")]
    assert {*made} <= {*stage["outs"]}
    places = {key: tmp_path / preprocess.DEFAULTS[key] for key in ("card", "samples")}
    words = [f"raw={digits / 'raw'}", f"processed={tmp_path / 'processed'}"]
    preprocess.main(["dataset=digits", *words, *(f"{key}={path}" for key, path in places.items())])
    assert json.loads((tmp_path / "data/cards/digits.json").read_text())["dataset"] == "digits"
    assert (tmp_path / "data/samples/digits.png").is_file()


def test_a_home_that_cannot_be_written_to_goes_without_a_word(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits / "raw", tmp_path / "raw")
    done = run(tmp_path, "dataset=digits", HOME="/proc/nowhere", XDG_CONFIG_HOME="", XDG_CACHE_HOME="")
    assert (done.returncode, done.stderr) == (0, "")
