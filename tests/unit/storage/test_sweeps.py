"""A sweep's record and name, and the results folder that DVC keeps for a stage."""

import itertools
import json
import shlex
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.config.compose import composed, to_job
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Lost, Sweep, title, write_results
from tests.support.factory import seeded

KEYS = sorted((seeded(seed).key for seed in range(3)), reverse=True)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    for seed in range(3):
        store.write(seeded(seed))
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "sweep"


def test_a_record_comes_back(folder: Path) -> None:
    lost = [Lost("sgd-w8-d1-s0", "diverged", "loss is nan", "python -m pipeline.train seed=0")]
    sweep = Sweep("which", KEYS, KEYS[1], lost, "parent")
    sweep.write(folder)
    assert Sweep.read(folder) == sweep
    record = folder / "sweep.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"workers": 2}))
    assert Sweep.read(folder) == sweep, "also if another release noted more"


@pytest.mark.parametrize(
    "words",
    [
        ["question=Which dropout?", "paths.runs=runs"],
        ["note=Is 0.1 too much?", "tags={paper:icml,stage:draft}"],
        ["local=cluster", "tracking=server", "tracking.system_metrics=false"],
    ],
    ids=str,
)
def test_a_command_with_documented_words_is_kept(folder: Path, words: list[str]) -> None:
    command = shlex.join(["python", "-m", "pipeline.train", *words])
    Sweep("which", [], lost=[Lost("sgd-w8-d1-s0", "failed", "", command)]).write(folder)
    assert [lost.command for lost in Sweep.read(folder).lost] == [command]


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"name": "a", "keys": [], "lost": [1]}', '{"lost": []}']
)
def test_what_is_no_record_is_said(folder: Path, content: str | None) -> None:
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="train again to write it"):
        Sweep.read(folder)


def test_a_record_that_another_process_removes_meanwhile_is_left_out(store: RunStore) -> None:
    ledger = Ledger(store)
    ledger.write(Sweep("first", [], id="a" * 64))
    (ledger.folder / "removed.json").symlink_to("nowhere")
    assert [sweep.name for sweep in ledger] == ["first"]


def test_write_results_has_the_runs_in_the_order_of_the_jobs(store: RunStore, folder: Path) -> None:
    write_results(store, Sweep("which", KEYS), folder)
    assert Sweep.read(folder).keys == KEYS
    assert RunStore(folder).keys() == sorted(KEYS)


def test_write_results_removes_what_is_no_longer_asked_for(store: RunStore, folder: Path) -> None:
    write_results(store, Sweep("which", KEYS), folder)
    write_results(store, Sweep("which", KEYS[:1]), folder)
    assert {entry.name for entry in folder.iterdir()} == {KEYS[0], "sweep.json"}


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        (["model.dropout=0,0.5", "seed=0,1,2"], "rmsprop, 512, dropout 0 and 0.5, 3 seeds"),
        (["model.dropout=0,0.1,0.2,0.5"], "rmsprop, 512, 4 values of dropout, 1 seed"),
        (["optimizer=sgd,adam", "optimizer.learning_rate=0.1,1e-4"], "sgd, adam, 512, learning rate 0.1 and 0.0001, 1 seed"),
        (["training.epochs=5,10", "dataset.standardize=false,true"], "rmsprop, 512, standardize false and true, epochs 5 and 10, 1 seed"),
        (["sweep=overfitting", "model.width=16,64", "dataset.train_size=2000,10000"], "rmsprop, 2 networks, 1 seed"),
    ],
)  # fmt: skip
def test_a_sweep_is_named_by_what_it_sweeps(swept: list[str], name: str) -> None:
    choices = [[f"{key}={value}" for value in values.split(",")] for key, values in (each.split("=") for each in swept)]
    jobs = [to_job(values) for values in composed([[*chosen] for chosen in itertools.product(*choices)])]
    assert title(jobs) == name
