"""MLflow's own server on this project's store: started, waited for, and asked for the pages to open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from pipeline.cli.errors import UserError
from pipeline.tracking import Tracker, server, views
from pipeline.tracking.server import HOST

SHOWN = 10
"""Experiments whose pages are told."""


@contextmanager
def running(tracker: Tracker, port: int) -> Iterator[subprocess.Popen[str]]:
    """The server, once it answers; it ends with the block. Raises UserError if it does not start."""
    database = tracker.address.database
    if database is not None and not database.exists():
        # MLflow would make it too, but halfway where it is interrupted, and with artifacts in the working directory.
        tracker.close_stale()
    process = _start(tracker, port)
    try:
        _wait(process, port)
        yield process
    finally:
        # It passes the signal on to its worker and waits for that.
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _start(tracker: Tracker, port: int) -> subprocess.Popen[str]:
    """MLflow's own server with one worker. Its complaints go to stderr."""
    artifacts = tracker.address.artifacts
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts", "--default-artifact-root", artifacts.as_uri() if artifacts else "mlartifacts"]
    command += ["--uvicorn-opts", "--log-level warning"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_SERVER_")}
    # Not as words of the command: `ps` shows those to everybody, and a database's address may hold a password.
    stores = {"MLFLOW_BACKEND_STORE_URI": tracker.uri, "MLFLOW_REGISTRY_STORE_URI": tracker.uri}
    process = subprocess.Popen(
        command,
        env=inherited | server.settings(port) | stores,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
    return process


def _pass_on(lines: IO[str]) -> None:
    for line in lines:
        if not line.startswith(("[MLflow] Security middleware", "INFO:")) and " INFO mlflow" not in line:
            print(line, end="", file=sys.stderr, flush=True)


def _wait(process: subprocess.Popen[str], port: int) -> None:
    """Until the server answers: 5 to 10 s, most of it importing MLflow, twice."""
    deadline = time.monotonic() + server.START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"the MLflow server did not start (exit status {process.returncode}); its words are above")
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise UserError(f"the MLflow server does not answer on port {port} after {server.START_SECONDS} s")


def pages(port: int) -> list[str]:
    """A line for each of the newest experiments, with the address of its page; none if the server does not tell."""
    try:
        # One more, since MLflow's own "Default" is not shown.
        found = _ask(port, "experiments/search", {"max_results": SHOWN + 1}).get("experiments", [])
        experiments = [experiment for experiment in found if experiment["name"] != "Default"][:SHOWN]
        return [f"  {one['name']}: http://{HOST}:{port}/#{_page(one, port)}" for one in experiments]
    except (OSError, ValueError):
        return []


def _page(experiment: dict[str, Any], port: int) -> str:
    """The page of an experiment's runs. Where an earlier version of this project made it, it is given its kind."""
    tags = {tag["key"]: tag["value"] for tag in experiment.get("tags", [])}
    if views.TAG in tags and tags.get(views.KIND) != views.TRAINING:
        kind = {"experiment_id": experiment["experiment_id"], "key": views.KIND, "value": views.TRAINING}
        _ask(port, "experiments/set-experiment-tag", kind)
    return views.page(experiment["experiment_id"], tags)


def _ask(port: int, what: str, question: dict[str, Any]) -> dict[str, Any]:
    """The answer of MLflow's REST API."""
    asked = urllib.request.Request(
        f"http://{HOST}:{port}/api/2.0/mlflow/{what}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return dict(json.load(answer))
