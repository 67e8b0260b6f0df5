"""The MLflow UI on this project's runs, on 127.0.0.1: python -m pipeline.ui port=5000. Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from types import FrameType
from typing import IO, Any

from pipeline.cli import console, ui_address
from pipeline.cli.errors import UserError
from pipeline.tracking import SQLITE, Tracker, open_tracker, server, views
from pipeline.tracking.address import DATABASE, home
from pipeline.tracking.server import HOST

DEFAULTS = {"port": "5000"}
REPORT = "reports/index.html"
SHOWN = 10
"""Experiments whose pages are printed."""


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS, __doc__ or "")
    tracker = open_tracker(SQLITE)
    if tracker.uri.startswith("http"):
        print(f"runs are kept by the MLflow server at {tracker.shown_uri}: open that address")
        return 0
    port = server.free_port(values["port"], "python -m pipeline.ui")
    database = tracker.address.database
    if database is not None and not database.exists():
        # MLflow would make it too, but halfway where it is interrupted, and with artifacts in the working directory.
        tracker.close_stale()
    _run(tracker, port)
    return 0


def _run(tracker: Tracker, port: int) -> None:
    """Start the server, print the pages once it answers, and end it with this program."""
    signal.signal(signal.SIGTERM, _terminated)
    process = _start(tracker, port)
    try:
        _wait(process, port)
        print("\n".join([*_pages(tracker, port), *_note_address(tracker, port)]), flush=True)
        if status := process.wait():
            raise UserError(f"the MLflow server ended with exit status {status}; its last words are above")
    except KeyboardInterrupt:
        print("stopped")
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
    stores = {
        # Not as words of the command: `ps` shows those to everybody, and a database's address may hold a password.
        "MLFLOW_BACKEND_STORE_URI": tracker.uri,
        "MLFLOW_REGISTRY_STORE_URI": tracker.uri,
    }
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
    """Until the server answers: 5 to 10 s, most of it importing MLflow, twice. Raises UserError where it does not."""
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


def _pages(tracker: Tracker, port: int) -> list[str]:
    """What is printed: the server's address and the pages of the newest experiments."""
    lines = [f"MLflow shows the runs of {tracker.shown_uri} at http://{HOST}:{port} (Ctrl-C ends it)"]
    try:
        # One more, since MLflow's own "Default" is not shown.
        found = _ask(port, "experiments/search", {"max_results": SHOWN + 1}).get("experiments", [])
        experiments = [experiment for experiment in found if experiment["name"] != "Default"][:SHOWN]
        pages = [f"  {one['name']}: http://{HOST}:{port}/#{_page(one, port)}" for one in experiments]
    except (OSError, ValueError):
        return lines
    return [*lines, *pages]


def _note_address(tracker: Tracker, port: int) -> list[str]:
    """Let reports link to this server if it shows the checkout's own store; a line where the present one does not."""
    if tracker.address.database != home() / DATABASE:
        return []
    address = f"http://{HOST}:{port}"
    ui_address.note(home(), address)
    stale = ui_address.stale(home() / REPORT, address)
    return [stale] if stale else []


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


def _terminated(signum: int, frame: FrameType | None) -> None:
    """A handler of SIGTERM that lets `finally` run."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    console.run(main)
