"""One command copies a month of results to a tracking server: complete, each run once, and equal to those in SQLite."""

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from pipeline import publish
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import RunsLost, UserError
from pipeline.config import rules
from pipeline.config.run_config import digest
from pipeline.data.arrays import Arrays, load
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import STOPPED, Ledger, Lost, Sweep
from pipeline.tracking import ParentRun, TrackingUnavailable, models, process, runs
from tests.support.factory import make_job, make_result, stored, tracked_job
from tests.support.postgres import TrackingServer, Wire
from tests.system.faults.workspace import SMALL, Workspace

VOLATILE = {"process", "winner.run_id", "mlflow.source.name", "mlflow.parentRunId"}
"""Tags that depend on the process, store or program."""


@pytest.fixture(autouse=True)
def no_inherited_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[TrackingServer]:
    """One server for all tests in this file. Each test has a question of its own, and so does not see other runs."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's user needs access, which pytest's folders deny
        made = TrackingServer(Path(folder))
        yield made.start()
        made.stop()


@pytest.fixture
def wire(server: TrackingServer) -> Iterator[Wire]:
    made = Wire(server.port)
    yield made
    made.close()


@pytest.fixture
def question(request: pytest.FixtureRequest) -> str:
    return request.node.name


@pytest.fixture
def filled(tmp_path: Path, question: str) -> RunStore:
    return fill(RunStore(tmp_path / "runs"), question)


def fill(store: RunStore, question: str) -> RunStore:
    """Store a sweep of three finished runs and one that diverged."""
    results = [make_result(seed) for seed in range(3)]
    history = {"train/loss": [1.0, float("nan")]}
    gone = make_result(job=tracked_job(3), status="diverged", reason="loss is nan", history=history, metrics={})
    for each in [*results, gone]:
        store.write(each)
    lost = [Lost(gone.name, gone.status, "loss is nan", "python -m pipeline.train seed=3 retry=diverged", gone.key)]
    keys = [each.key for each in [*results, gone]]
    Ledger(store).write(Sweep(question, keys, keys[1], lost, id=digest(question)))
    return store


def send(store: RunStore, uri: str) -> None:
    assert publish.main([f"to={uri}", f"from={store.root}"]) == 0


def keys(uri: str, question: str) -> set[str]:
    """Return the keys of a question's runs in the store, `parent` for the parent run. Fails on duplicates."""
    return set(rows(uri, question, histories=False))


def rows(uri: str, question: str, histories: bool = True) -> dict[str, dict[str, Any]]:
    """Return what the store has of a question's runs, by key, or `parent` for the parent run. Fails on duplicates."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(question)
    found: dict[str, dict[str, Any]] = {}
    for run in client.search_runs([experiment.experiment_id]) if experiment else []:
        tags = {name: value for name, value in run.data.tags.items() if name not in VOLATILE}
        parent = "run.key" not in tags
        key = tags.get("run.key", "parent")
        assert key not in found, f"{tags['mlflow.runName']} stands twice"
        points = {n: client.get_metric_history(run.info.run_id, n) for n in run.data.metrics} if histories else {}
        found[key] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "times": None if parent else (run.info.start_time, run.info.end_time),
            "parameters": run.data.params,
            "metrics": {n: [(each.step, each.timestamp, each.value) for each in h] for n, h in points.items()},
            "tags": tags,
            "data": [
                (each.dataset.name, each.dataset.digest, each.dataset.profile) for each in run.inputs.dataset_inputs
            ],
        }
    return found


@pytest.mark.slow
def test_it_is_what_sqlite_has(server: TrackingServer, filled: RunStore, question: str, tmp_path: Path) -> None:
    sqlite = f"sqlite:///{tmp_path}/mlflow.db"
    send(filled, sqlite)
    send(filled, server.uri)
    there = rows(server.uri, question)
    assert there.keys() == {*filled.keys(), "parent"}
    assert there == rows(sqlite, question)
    assert there["parent"]["name"] == "adam, 64, 4 seeds"
    tags = there["parent"]["tags"]
    assert (there["parent"]["status"], tags["lost"], tags["winner"]) == ("FINISHED", "1 diverged", "adam-w64-d1-s1")
    stores = [[ids["store"] for ids in filled.published_ids(key)] for key in filled.keys()]  # noqa: SIM118
    assert stores == [[str(tmp_path / "mlflow.db"), server.uri]] * 4


@pytest.mark.slow
def test_again_it_sends_nothing(
    server: TrackingServer, filled: RunStore, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    send(filled, server.uri)
    assert "0 at http://127.0.0.1" in capsys.readouterr().out
    before = rows(server.uri, question), [filled.published_ids(key) for key in filled.keys()]  # noqa: SIM118
    send(filled, server.uri)
    assert f"4 runs (1 sweep, 0 single runs): 4 at {server.uri} already, none to send" in capsys.readouterr().out
    assert (rows(server.uri, question), [filled.published_ids(key) for key in filled.keys()]) == before  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.fault("tracking server")
def test_a_server_that_goes_away_in_the_middle_gets_the_rest_by_the_same_command(
    wire: Wire, filled: RunStore, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, asked = runs.record, []

    def interrupted(*rest: Any, **named: Any) -> Any:
        asked.append(rest)
        wire.down = len(asked) > 1
        return record(*rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "record", interrupted)
        with pytest.raises(
            TrackingUnavailable, match=r"not in MLflow yet: 3 of 4 runs .*; the same command does the rest"
        ):
            send(filled, wire.url)
    wire.down = False
    send(filled, wire.url)
    assert keys(wire.url, question) == {*filled.keys(), "parent"}


@pytest.mark.slow
def test_a_server_that_answers_too_late_has_each_run_once(
    wire: Wire, filled: RunStore, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has created the run, but the client timed out: repeating the same call would create a second run."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    record = runs.record

    def delayed(*rest: Any, **named: Any) -> Any:
        wire.late = 1.5
        return record(*rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "record", delayed)
        with pytest.raises(TrackingUnavailable):
            send(filled, wire.url)
    time.sleep(1.5)
    wire.late = 0.0
    send(filled, wire.url)
    there = rows(wire.url, question)
    assert there.keys() == {*filled.keys(), "parent"}
    assert {run["status"] for run in there.values()} == {"FINISHED", "FAILED"}


@pytest.mark.slow
def test_two_at_once_send_each_run_once(server: TrackingServer, filled: RunStore, question: str) -> None:
    threads = [threading.Thread(target=send, args=(filled, server.uri)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys(server.uri, question) == {*filled.keys(), "parent"}


def without_times(rows: dict[str, Any]) -> dict[str, Any]:
    def values(metrics: dict[str, Any]) -> dict[str, Any]:
        return {name: [(step, value) for step, _, value in points] for name, points in metrics.items()}

    return {key: {**row, "times": None, "metrics": values(row["metrics"])} for key, row in rows.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("keras")
def test_a_sweep_that_trains_with_the_server_leaves_what_publishing_it_leaves(
    server: TrackingServer, processed: Path, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    workspace = Workspace(tmp_path / "project", processed)
    said = workspace.tracked(*SMALL, uri=server.uri)
    assert (said.status, said.err) == (0, "")
    other = f"sqlite:///{tmp_path}/other.db"
    words = [f"to={other}", f"from={workspace.root}/runs"]
    assert publish.main(words) == 0
    there, published = rows(server.uri, "tests"), rows(other, "tests")
    for each in (there, published):
        each["parent"]["tags"].pop("mlflow.user")
        each["parent"]["metrics"] = {  # without system metrics, which only the sweep records
            name: points for name, points in each["parent"]["metrics"].items() if not name.startswith("system/")
        }
    # A run shown live keeps the times of its display, so times are not compared.
    assert without_times(there) == without_times(published)
    assert all(run["times"][0] <= run["times"][1] for key, run in there.items() if key != "parent")
    assert publish.main(words) == 0, "the model is there, and is not sent again"

    import mlflow.pyfunc
    from mlflow.tracking import MlflowClient

    client, [sweep] = MlflowClient(other, other), Ledger(workspace.store)
    experiment = client.get_experiment_by_name("tests").experiment_id
    [model] = client.search_logged_models([experiment])
    best = workspace.store.read(sweep.winner or "")
    assert (model.name, model.source_run_id) == (
        "model",
        workspace.store.published(best.key, f"{tmp_path}/other.db")["run_id"],
    )
    images = load(workspace.processed / "digits").test_images[:20]
    predicted = mlflow.pyfunc.load_model(model.artifact_location).predict(np.asarray(images))
    assert best.probabilities is not None
    assert predicted.argmax(axis=1).tolist() == best.probabilities[:20].argmax(axis=1).tolist()


# --- tests without a server


@pytest.fixture
def local(filled: RunStore, tmp_path: Path, blank_store: Path) -> str:
    shutil.copy(blank_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.slow
def test_a_killed_sweep_is_killed_there_too(filled: RunStore, question: str, local: str) -> None:
    [sweep] = Ledger(filled)
    # The record of a killed sweep is old: it still lists two runs as interrupted that have been trained since.
    sweep.lost = [Lost("", "interrupted", "", "", key) for key in [*sweep.keys[2:], "f" * 64]]
    sweep.keys, sweep.winner, sweep.status = sweep.keys[:2], None, STOPPED
    Ledger(filled).write(sweep)
    send(filled, local)
    there = rows(local, question)
    assert there.keys() == {*filled.keys(), "parent"}
    assert (there["parent"]["status"], there["parent"]["tags"]["lost"]) == ("KILLED", "2 interrupted")


def test_runs_whose_ids_a_killed_command_had_not_noted_are_found(filled: RunStore, question: str, local: str) -> None:
    send(filled, local)
    before = {key: filled.published(key)["run_id"] for key in filled.keys()}  # noqa: SIM118
    for key in before:
        (filled.folder(key) / "published.json").unlink()
    send(filled, local)
    assert {key: filled.published(key)["run_id"] for key in before} == before
    assert keys(local, question) == {*before, "parent"}


@pytest.mark.parametrize("parent", [False, True], ids=["of its own question", "of another launcher's sweep"])
def test_a_single_run_that_its_command_published_is_there(tmp_path: Path, local: str, parent: bool) -> None:
    store, tracker, run = RunStore(tmp_path / "others"), publish.target(local), make_result(8)
    store.write(run)
    above = tracker.begin(ParentRun("book", "a sweep by hand", {})) if parent else None
    ids = tracker.publish(run, "book", above)
    store.note_published(run.key, ids)
    send(store, local)
    assert rows(local, "single runs") == {}
    assert store.published(run.key)["run_id"] == ids["run_id"]


@pytest.mark.slow
def test_a_damaged_run_is_named_and_the_others_are_sent(
    filled: RunStore, question: str, local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = make_result(1).key
    record = filled.folder(damaged) / "result.json"
    record.write_text(record.read_text().replace("0.97", "0.98", 1))
    with pytest.raises(RunsLost, match="1 run could not be read"):
        send(filled, local)
    assert damaged in capsys.readouterr().err
    assert len(keys(local, question)) == 4


@pytest.mark.usefixtures("hydra_as_before")
def test_without_an_address_it_is_the_one_in_conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert publish.target("").address.uri == f"sqlite:///{PROJECT}/mlflow.db"
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    (tmp_path / "conf" / "tracking" / "sqlite.yaml").write_text("kind: server\nuri: http://group:5000\n")
    monkeypatch.setattr(rules, "CONF", tmp_path / "conf")
    assert publish.target("").address.uri == "http://group:5000"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["from=nowhere"], "from=nowhere: no such folder of runs"),
        (["to=ftp://host"], r"ftp://host: expected sqlite:"),
        (["too=http://host"], "did you mean 'to'"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], expected: str) -> None:
    given = words if words[0].startswith("from") else [*words, f"from={tmp_path}"]
    with pytest.raises(UserError, match=expected):
        publish.main(given)


def test_compose_is_the_same_server() -> None:
    """Versions are those of the lock, ports are local, the password is a secret. The tests cannot run Docker itself."""
    compose = yaml.safe_load((PROJECT / "compose.yaml").read_text())
    lock = (PROJECT / "requirements.lock").read_text()
    mlflow, database = compose["services"]["mlflow"], compose["services"]["database"]
    dockerfile = mlflow["build"]["dockerfile_inline"]
    version = mlflow["image"].partition(":")[2]
    assert f"FROM ghcr.io/mlflow/mlflow:v{version}\n" in dockerfile
    pinned = [f"mlflow=={version}", *(word for word in dockerfile.split() if "==" in word)]
    assert [word for word in pinned if f"\n{word} " not in lock] == []
    assert all(port.startswith("127.0.0.1:") for port in mlflow["ports"])
    assert "ports" not in database
    assert all(service["secrets"] == ["password"] for service in (mlflow, database))
    assert "PASSWORD" not in json.dumps({**mlflow, "command": ""})


def test_a_sweep_that_grew_is_sent_as_one_and_what_was_deleted_comes_back(
    filled: RunStore, question: str, local: str
) -> None:
    [sweep] = Ledger(filled)
    small = Sweep(question, sweep.keys[:2], sweep.keys[0], id=digest("small"))
    Ledger(filled).write(small)
    send(filled, local)
    assert keys(local, question) == {*filled.keys(), "parent"}
    tracker = publish.target(local)
    parent = tracker.parent(question, sweep.id)
    assert parent is not None
    assert tracker.parent(question, small.id).info.run_id == parent.info.run_id  # type: ignore[union-attr]
    client = tracker.connection.client
    for run in client.search_runs([tracker.connection.experiment(question)]):
        if run.data.tags.get("run.key") in (None, sweep.keys[0]):
            client.delete_run(run.info.run_id)
    assert keys(local, question) == set(sweep.keys[1:])
    send(filled, local)
    assert keys(local, question) == {*filled.keys(), "parent"}
    assert {filled.published(key)["parent_run_id"] for key in sweep.keys} == {parent.info.run_id}


def test_the_tags_of_a_sweep_are_on_its_runs_and_a_single_run_has_its_tags_and_note(
    filled: RunStore, question: str, local: str
) -> None:
    [sweep] = Ledger(filled)
    sweep.tags = {"stage": "draft"}
    Ledger(filled).write(sweep)
    single, other = make_result(9), f"{question}, alone"
    filled.write(single)
    Ledger(filled).write(Sweep(other, [single.key], tags={"stage": "final"}, note="Why?", id=digest(other)))
    send(filled, local)
    assert [row["tags"]["stage"] for row in rows(local, question).values()] == ["draft"] * 5
    tags = rows(local, other)[single.key]["tags"]
    assert (tags["stage"], tags["mlflow.note.content"]) == ("final", "Why?")


def test_a_sweep_in_training_is_left_to_its_own_command(
    filled: RunStore, question: str, local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [sweep], tracker, trains = Ledger(filled), publish.target(local), psutil.Process(os.getppid())
    parent = tracker.begin(ParentRun(question, "in training", {}, sweep.id))
    found = {"host": process.host(), "pid": trains.pid, "started": trains.create_time()}
    tracker.set_tags(parent, {process.TAG: json.dumps(found)})
    send(filled, local)
    assert "left out: 1 sweep in training" in capsys.readouterr().out
    there = rows(local, question)
    assert (there.keys(), there["parent"]["status"]) == ({"parent"}, "RUNNING")


@pytest.mark.parametrize("changed", [False, True])
def test_a_model_that_standardises_is_sent_only_with_the_data_it_was_trained_on(
    tmp_path: Path,
    processed: Path,
    digits: Arrays,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: bool,
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "processed").symlink_to(processed)
    data = "d" * 64 if changed else digits.digest
    numerics = {"precision": "float32"}
    run = stored(job=make_job(standardize=True), identity={"data": data, "source": "5" * 64, "numerics": numerics})
    store, sent = RunStore(tmp_path / "runs"), []
    store.write(run)
    monkeypatch.setattr(models, "PROJECT", tmp_path)
    monkeypatch.setattr(models.devices, "start", lambda *_, **__: None)
    monkeypatch.setattr(models, "send_model", lambda *words: sent.append(words[4].digest))
    models.send_winner(
        store, publish.target(f"sqlite:///{tmp_path}/mlflow.db"), run.key, {run.key: {"run_id": "1", "store": "here"}}
    )
    assert sent == ([] if changed else [data])
    assert ("is not sent: its preprocessed data is missing or has changed" in capsys.readouterr().out) == changed


def test_a_run_of_two_sweeps_counts_once(
    filled: RunStore, question: str, local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [sweep], more = Ledger(filled), make_result(4)
    filled.write(more)
    Ledger(filled).write(Sweep(question, [*sweep.keys[:3], more.key], id=digest("overlapping")))
    send(filled, local)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("5 runs (2 sweeps, 0 single runs): 0 at ")
    assert "[5/5 runs]" in lines
    assert max(line for line in lines if line.startswith("[")) == "[5/5 runs]"
