"""The MLflow UI on this project's runs, on 127.0.0.1: python -m pipeline.ui port=5000. Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from types import FrameType
from typing import IO

from pipeline import console
from pipeline.errors import UserError
from pipeline.tracking import SQLITE, Tracker, open_tracker

HOST = "127.0.0.1"
"""The UI has no login: it is for this machine only."""
DEFAULTS = {"port": "5000"}
START_SECONDS = 120
SHOWN = 10
RUNS_VIEW = "workflowType=machine_learning"


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS, __doc__ or "")
    tracker = open_tracker(SQLITE)
    if tracker.uri.startswith("http"):
        print(f"runs are kept by the MLflow server at {tracker.shown_uri}: open that address")
        return 0
    port = _port(values["port"])
    database = tracker.address.database
    if database is not None and not database.exists():
        # MLflow would make it too, but halfway where it is interrupted, and with artifacts in the working directory.
        tracker.close_stale()
    signal.signal(signal.SIGTERM, _terminated)
    server = _start(tracker, port)
    try:
        _wait(server, port)
        print(f"MLflow shows the runs of {tracker.shown_uri} at http://{HOST}:{port} (Ctrl-C ends it)")
        for name, address in _experiments(port):
            print(f"  {name}: {address}")
        sys.stdout.flush()
        status = server.wait()
        if status:
            raise UserError(f"the MLflow server ended with exit status {status}; its last words are above")
    except KeyboardInterrupt:
        print("stopped")
    finally:
        _stop(server)
    return 0


def _port(word: str) -> int:
    """The port, free at this moment. Raises UserError, with one that is."""
    if not word.isdecimal() or not 1 <= int(word) <= 65535:
        raise UserError(f"port={word}: expected a number from 1 to 65535")
    port = int(word)
    if not _free(port):
        free = next((other for other in range(port + 1, min(port + 100, 65536)) if _free(other)), 0)
        raise UserError(
            f"port {port} is in use (perhaps by this UI already: http://{HOST}:{port});"
            f" choose another: python -m pipeline.ui port={free or 'NUMBER'}"
        )
    return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _start(tracker: Tracker, port: int) -> subprocess.Popen[str]:
    """MLflow's own server with one worker, without its background jobs and reports to its makers."""
    artifacts = tracker.address.artifacts
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts", "--default-artifact-root", artifacts.as_uri() if artifacts else "mlartifacts"]
    command += ["--uvicorn-opts", "--log-level warning"]
    settings = {
        # Not as words of the command: `ps` shows those to everybody, and a database's address may hold a password.
        "MLFLOW_BACKEND_STORE_URI": tracker.uri,
        "MLFLOW_REGISTRY_STORE_URI": tracker.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    server = subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    threading.Thread(target=_pass_on, args=(server.stderr,), daemon=True).start()
    return server


def _pass_on(lines: IO[str]) -> None:
    """What the server complains of, without what it says each time."""
    for line in lines:
        if not line.startswith("[MLflow] Security middleware"):
            sys.stderr.write(line)
            sys.stderr.flush()


def _wait(server: subprocess.Popen[str], port: int) -> None:
    """Until the server answers: 5 to 10 s, most of it importing MLflow, twice. Raises UserError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"the MLflow server did not start (exit status {server.returncode}); its words are above")
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise UserError(f"the MLflow server does not answer on port {port} after {START_SECONDS} s")


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


def _stop(server: subprocess.Popen[str]) -> None:
    # It passes the signal on to its worker and waits for that.
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    console.run(main)
