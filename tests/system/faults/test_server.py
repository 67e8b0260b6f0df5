"""Training does not wait for a tracking server that is down, comes back, answers 500 or hangs."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.sweep import publisher
from pipeline.tracking.server import HOST, is_free
from pipeline.training.result import FINISHED
from tests.system.faults.sound import assert_sound
from tests.system.faults.workspace import SMALL, Workspace, last_line
from tests.unit.data import loopback
from tests.unit.data.loopback import Server

pytestmark = [
    pytest.mark.fault("tracking server"),
    # MLflow's server imports that module.
    pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated"),
]


class Mlflow:
    """MLflow's own server on a port of 127.0.0.1, in this process; it can be stopped and restarted."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        self.uri = f"http://{HOST}:{port}"
        self.running: Any = None

    def start(self) -> "Mlflow":
        from mlflow.server import app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.running = make_server(HOST, self.port, app, threaded=True)
        threading.Thread(target=self.running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self.running is not None:
            self.running.shutdown()
            self.running.server_close()
            self.running = None


@pytest.fixture
def mlflow(workspace: Workspace, blank_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mlflow]:
    """A stopped server on a store in the workspace. Clients have short timeouts."""
    from mlflow.server import handlers
    from mlflow.tracking._model_registry import utils as registry
    from mlflow.tracking._tracking_service import utils as tracking

    workspace.database.write_bytes(blank_store.read_bytes())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{workspace.database}")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (workspace.root / "mlartifacts").as_uri())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for name in ("_tracking_store", "_model_registry_store"):
        monkeypatch.setattr(handlers, name, None)
    # The server sets these for the whole process; monkeypatch restores them.
    for module, name in ((tracking, "_tracking_uri"), (registry, "_registry_uri")):
        monkeypatch.setattr(module, name, getattr(module, name))
    port = next(port for port in range(20_000, 60_000) if is_free(port))
    server = Mlflow(workspace.root, port)
    yield server
    server.stop()


def not_there_yet(workspace: Workspace, uri: str) -> None:
    """Assert that training ends with results on disk, and that stderr and exit status say that MLflow lacks them."""
    said = workspace.tracked(*SMALL, uri=uri)
    line = last_line(said.err)
    assert said.status == 5
    assert line.startswith("error: not in MLflow yet: 3 of the results (tracking at http://127.0.0.1:")
    assert line.endswith("and are published when the same command is run again.")
    assert "3 of 3 runs finished" in said.out
    assert [run.status for run in workspace.runs] == [FINISHED] * 3


@pytest.mark.usefixtures("formula")
def test_down_at_the_start_and_back_for_the_next_command(workspace: Workspace, mlflow: Mlflow) -> None:
    not_there_yet(workspace, mlflow.uri)
    mlflow.start()
    said = workspace.tracked(*SMALL, uri=mlflow.uri)
    assert (said.status, said.err) == (0, "")
    assert_sound(workspace)
    assert workspace.statuses() == {"FINISHED": 3 + 1}


@pytest.mark.parametrize("answer", [loopback.status(500), loopback.silent], ids=["answers 500", "hangs"])
@pytest.mark.usefixtures("formula", "mlflow")
def test_a_server_that_is_no_good(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, answer: loopback.Answer
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    bad = Server({})
    bad.answer = answer
    try:
        not_there_yet(workspace, bad.url)
    finally:
        bad.close()


@pytest.mark.slow
@pytest.mark.usefixtures("keras")
def test_away_for_a_while_in_the_middle(workspace: Workspace, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server stops after the first run is published and is back before the sweep ends: one command is enough."""
    mlflow.start()
    publish, away = publisher.Tracker.publish, threading.Event()

    def interrupted(self: Any, *rest: Any, **named: Any) -> dict[str, str]:
        ids = publish(self, *rest, **named)
        if not away.is_set():
            away.set()
            mlflow.stop()
            threading.Timer(0.2, mlflow.start).start()
        return ids

    monkeypatch.setattr(publisher, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(publisher.Tracker, "publish", interrupted)
    said = workspace.tracked(*SMALL, "seed=range(8)", "training.epochs=30", uri=mlflow.uri)
    assert away.is_set()
    assert (said.status, said.err) == (0, "")
    assert_sound(workspace)
