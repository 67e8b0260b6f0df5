"""The cache of compiled programs: nothing of it is used that is not exactly as it was written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.models import compiled

TRAIN = """
from pathlib import Path
import sys
from pipeline.training import trainer
from pipeline.config.run_config import Dataset, RunConfig, Model, Optimizer, Training
from pipeline.data.arrays import load, split
from pipeline.models import devices

device = devices.choose("cpu", "tensorflow", "float32", True, "engine", 1, 0)
data = load(Path(sys.argv[1]))
job = RunConfig(Dataset("digits", 0), Model((8,), "relu", 0.0, "glorot_uniform"),
          Optimizer("sgd", (("learning_rate", 0.1), ("momentum", 0.0), ("nesterov", False), ("weight_decay", None))),
          Training(2, 128, "categorical_crossentropy", 0), 0)
for event in trainer.train([job], split(data, 0), 10, device):
    if isinstance(event, trainer.Done):
        print(event.result.digests["final_weights"])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An open, empty cache."""
    monkeypatch.setenv(compiled.SWITCH, str(tmp_path))
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    place = compiled.open_cache()
    assert place is not None
    return place


def program(place: Path, content: str = "machine code") -> Path:
    path = place / "xla_compile_cache__1__2.pb"
    path.write_text(content)
    return path


def test_a_noted_program_is_kept(place: Path) -> None:
    path = program(place)
    compiled.note(place)
    compiled.open_cache()
    assert path.exists()


def test_a_program_that_nobody_noted_is_deleted(place: Path) -> None:
    path = program(place)
    compiled.open_cache()
    assert not path.exists()


def test_a_flipped_byte_is_noticed(place: Path) -> None:
    path = program(place)
    compiled.note(place)
    path.write_text("Machine code")
    compiled.open_cache()
    assert not path.exists()


def test_a_damaged_list_empties_the_cache(place: Path) -> None:
    path = program(place)
    (place / compiled.LIST).write_text("{")
    compiled.open_cache()
    assert not path.exists()


def test_the_oldest_programs_go(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST", 0)
    path = program(place)
    compiled.note(place)
    assert not path.exists()
    assert json.loads((place / compiled.LIST).read_text()) == {}


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.SWITCH, "off")
    assert compiled.open_cache() is None


def test_another_processor_has_another_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "processor", lambda: "another")
    assert compiled.folder() != place


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_computes_the_same_bits(processed: Path, tmp_path: Path) -> None:
    def train() -> tuple[str, list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, str(processed / "digits")],
            cwd=PROJECT,
            env={**os.environ, compiled.SWITCH: str(tmp_path), "TF_XLA_FLAGS": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, sorted(path.name for path in tmp_path.rglob("xla_compile_cache*"))

    first, second = train(), train()
    assert first == second
    assert len(first[1]) == 2, "the epoch and the measurement"
