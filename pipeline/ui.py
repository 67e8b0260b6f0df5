"""The MLflow UI on this project's runs, on 127.0.0.1: python -m pipeline.ui port=5000. Ctrl-C ends it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence

from pipeline import console, servers
from pipeline.servers import HOST
from pipeline.tracking import SQLITE, Tracker, open_tracker

DEFAULTS = {"port": "5000"}
SHOWN = 10
RUNS_VIEW = "workflowType=machine_learning"


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS, __doc__ or "")
    tracker = open_tracker(SQLITE)
    if tracker.uri.startswith("http"):
        print(f"runs are kept by the MLflow server at {tracker.shown_uri}: open that address")
        return 0
    port = servers.port_of(values["port"], "python -m pipeline.ui")
    database = tracker.address.database
    if database is not None and not database.exists():
        # MLflow would make it too, but halfway where it is interrupted, and with artifacts in the working directory.
        tracker.close_stale()
    _run(tracker, port)
    return 0


def _run(tracker: Tracker, port: int) -> None:
    """MLflow's own server with one worker, without its background jobs and reports to its makers."""
    artifacts = tracker.address.artifacts
    command = ["-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts", "--default-artifact-root", artifacts.as_uri() if artifacts else "mlartifacts"]
    command += ["--uvicorn-opts", "--log-level warning"]
    settings = {
        # Not as words of the command: `ps` shows those to everybody, and a database's address may hold a password.
        "MLFLOW_BACKEND_STORE_URI": tracker.uri,
        "MLFLOW_REGISTRY_STORE_URI": tracker.uri,
    }
    # It answers after 5 to 10 s, most of it importing MLflow, twice.
    servers.run(command, servers.QUIET | settings, port, "health", lambda: "\n".join(_told(tracker, port)))


def _told(tracker: Tracker, port: int) -> list[str]:
    pages = [f"  {name}: {address}" for name, address in _experiments(port)]
    return [f"MLflow shows the runs of {tracker.shown_uri} at http://{HOST}:{port} (Ctrl-C ends it)", *pages]


def _experiments(port: int) -> list[tuple[str, str]]:
    """The newest experiments and the pages of their runs. From its front page MLflow 3 leads to an empty overview of
    traces of language models instead, until one switches to "Model training"."""
    asked = urllib.request.Request(
        f"http://{HOST}:{port}/api/2.0/mlflow/experiments/search",
        json.dumps({"max_results": SHOWN + 1}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            listed = json.load(answer).get("experiments", [])
    except (OSError, ValueError):
        return []
    pages = {
        one["name"]: f"http://{HOST}:{port}/#/experiments/{one['experiment_id']}/runs?{RUNS_VIEW}" for one in listed
    }
    return [(name, address) for name, address in pages.items() if name != "Default"][:SHOWN]


if __name__ == "__main__":
    console.run(main)
