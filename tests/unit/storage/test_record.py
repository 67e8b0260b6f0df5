"""Records: older ones are read, those of other releases are named as such, and impossible values are refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config.run_config import RunConfig, digest
from pipeline.storage.record import DamagedRun, OtherRelease
from pipeline.storage.store import RECORD, RunStore
from pipeline.storage.sweeps import Lost, Sweep
from tests.support.factory import KEY, stored
from tests.unit.storage.forged import forge


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


# --- other releases


@pytest.mark.fault("records of other releases")
@pytest.mark.parametrize(
    ("section", "name", "default"),
    [("training", "patience", 0), ("model", "max_norm", None), ("dataset", "train_size", 0)],
)
def test_a_record_that_lists_defaults_is_read(store: RunStore, section: str, name: str, default: object) -> None:
    """Earlier releases wrote default values, which this one leaves out, and called the metrics `figures`."""
    changed = forge(store, stored(), lambda record: record["job"][section].update({name: default}))
    key = forge(store, store.read(changed), lambda record: record.update(figures=record.pop("metrics")))
    assert changed != KEY, "its key is that of the configuration as it was stored"
    assert (store.read(key).job, store.read(key).metrics) == (stored().job, stored().metrics)
    assert [run.key for run in store.records()] == [key]


@pytest.mark.fault("records of other releases")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda record: record["job"]["training"].update(teleport=0.1), "unexpected keyword argument 'teleport'"),
        (
            lambda record: record["job"]["training"].pop("batch_size"),
            "missing 1 required positional argument: 'batch_size'",
        ),
        (lambda record: record["job"]["training"].update(loss="hinges"), "training.loss=hinges: expected one of"),
        (lambda record: record.update(calibration={}), "calibration"),
    ],
)
def test_what_this_release_does_not_know_is_named(
    store: RunStore, change: Callable[[dict[str, Any]], Any], named: str
) -> None:
    key = forge(store, stored(), change)
    with pytest.raises(OtherRelease) as said:
        store.read(key)
    assert f"{key}: written by another release of this project (" in str(said.value)
    assert named in str(said.value)
    assert "elete" not in str(said.value)
    assert list(store.records()) == []


NAMES = {
    "my-data": lambda job: job["dataset"].update(name="my-data"),
    "2024_cells": lambda job: job["dataset"].update(name="2024_cells"),
    "données": lambda job: job["dataset"].update(name="données"),
    "sgd-fast": lambda job: job["optimizer"].update({"name": "sgd-fast", "class": "my_code.Größe", "größe": 1.0}),
    "my-net": lambda job: job.update(model={"name": "my-net", "build": "my_code.network", "taille_é": 3}),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_ones_own_file_is_read_whatever_letters_its_name_has(store: RunStore, name: str) -> None:
    plain = stored().job.to_dict()
    NAMES[name](plain)
    run = stored(job=RunConfig.from_dict(plain))
    store.write(run)
    assert store.read(run.key).job == run.job


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("name", ["my data", "../x", "-x", "a.b", "", "x\n", "x" * 65])
def test_what_is_no_name_is_refused(store: RunStore, name: str) -> None:
    key = forge(store, stored(), lambda record: record["job"]["dataset"].update(name=name))
    with pytest.raises(OtherRelease, match=r"dataset\.name="):
        store.read(key)


@pytest.mark.parametrize("name", ["test/F1", "val/précision"])
def test_a_metric_of_ones_own_is_read_whatever_letters_its_name_has(store: RunStore, name: str) -> None:
    run = stored(metrics={name: 0.5})
    store.write(run)
    assert store.read(run.key).metrics == {name: 0.5}


# --- impossible values

IMPOSSIBLE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an accuracy that is none": (
        lambda record: record["metrics"].update({"test/accuracy": {"float": "nan"}}),
        "one of its numbers is not finite",
    ),
    "a curve that ends early": (
        lambda record: record["history"].update({"val/accuracy": [0.1]}),
        "val/accuracy does not have a value for each of its 2 epochs",
    ),
    "epochs that do not ascend": (lambda record: record.update(epochs=[2, 2]), "its epochs are not in ascending order"),
    "a figure with HTML for a name": (lambda record: record["metrics"].update({"<script>": 1.0}), "metrics.<script>"),
    "a status": (lambda record: record.update(status="=cmd|' /C calc'!A0"), "status Input should be 'finished'"),
}


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_no_training_gives_is_refused_whatever_its_digests(store: RunStore, what: str) -> None:
    change, why = IMPOSSIBLE[what]
    key = forge(store, stored(), change)
    with pytest.raises(DamagedRun) as said:
        store.read(key)
    assert why in str(said.value)
    assert str(said.value).isprintable()


@pytest.mark.fault("hostile input")
def test_a_record_under_another_key_than_its_configurations_is_refused(store: RunStore) -> None:
    key = forge(store, stored(), lambda record: record["job"].update(seed=7))
    store.folder(key).rename(store.folder("0" * 64))
    path = store.folder("0" * 64) / RECORD
    forged = json.loads(path.read_text())
    forged["record"]["key"] = "0" * 64
    path.write_text(json.dumps(forged | {"sha256": digest(forged["record"])}))
    with pytest.raises(DamagedRun, match="its key is not that of its configuration"):
        store.read("0" * 64)


@pytest.mark.fault("hostile input")
def test_predictions_that_are_no_classes_are_refused(store: RunStore) -> None:
    key = forge(store, stored(), lambda record: None, np.zeros((3, 2), np.uint8))
    with pytest.raises(DamagedRun, match="2-dimensional uint8"):
        store.read(key)


@pytest.mark.fault("hostile input")
def test_texts_of_a_record_only_show(store: RunStore) -> None:
    """In the reason and the environment, control characters and bidirectional overrides become escapes."""

    def change(record: dict[str, Any]) -> None:
        record["reason"] = "\x1b]0;mine\x07\x1b[2J\u202egnp"
        record["environment"]["cpu"] = "\x1b[31mred"

    read = store.read(forge(store, stored(), change))
    assert read.reason == "\\x1b]0;mine\\x07\\x1b[2J\\u202egnp"
    assert read.environment["cpu"] == "\\x1b[31mred"


# --- not a regular file


@pytest.mark.fault("hostile input")
def test_a_fifo_or_a_device_in_place_of_a_file_is_not_read(store: RunStore) -> None:
    folder = store.write(stored())
    (folder / "predictions.npy").unlink()
    os.mkfifo(folder / "predictions.npy")
    (folder / "published.json").symlink_to("/dev/zero")
    assert store.published(KEY) == {}
    with pytest.raises(DamagedRun, match=r"predictions\.npy is missing, or not a file"):
        store.read(KEY)
    with pytest.raises(UserError, match="is missing, or not a file"):
        Sweep.read(Path("/dev"), "zero")


# --- the record of a sweep


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize(
    "command",
    [
        "python -m pipeline.train seed=0; rm -rf ~",
        "python -m pipeline.train 'question=$(rm -rf ~)'",
        "python -m pipeline.train 'question=${oc.env:HOME}'",
        "python -m pipeline.train question=Which?",
        "python -m pipeline.train tracking.uri=http://elsewhere",
    ],
)
def test_a_command_that_a_shell_would_do_more_with_is_not_read(tmp_path: Path, command: str) -> None:
    Sweep("which", [KEY], lost=[Lost("sgd-w8-d1-s0", "failed", "", command, KEY)]).write(tmp_path)
    assert [lost.command for lost in Sweep.read(tmp_path).lost] == [""]


def test_a_command_that_names_ones_own_files_is_read(tmp_path: Path) -> None:
    command = "python -m pipeline.train tracking=my-server dataset=my-data 'optimizer=größe'"
    Sweep("which", [KEY], lost=[Lost("größe-w8-d1-s0", "failed", "", command, KEY)]).write(tmp_path)
    assert [lost.command for lost in Sweep.read(tmp_path).lost] == [command]
