"""Start MLflow's server: quiet, on this machine only, and for loopback host names only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.tracking import front
from pipeline.tracking.tracker import Tracker

HOST = "127.0.0.1"
"""MLflow's server has no login."""
START_SECONDS, STOP_SECONDS = 120, 10


def settings(port: int) -> dict[str, str]:
    """Return the environment of MLflow's server: loopback names at `port`, no telemetry, no background jobs, no warnings.

    MLflow's default host patterns, such as `10.*`, match `10.evil.com`: a web page could read everything (DNS rebinding).
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_SERVER_")}
    return inherited | {
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port},localhost:{port}",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def showing(tracker: Tracker, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a server on the store of `tracker` for the block, which begins once it answers. Raises UserError if it fails."""
    address = tracker.address
    if address.database is not None and not address.database.exists():
        # Creates the store. MLflow would leave it incomplete if interrupted, with artifacts in the working directory.
        tracker.close_stale()
    artifacts = address.artifacts.as_uri() if address.artifacts else "mlartifacts"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts", "--default-artifact-root", artifacts, "--uvicorn-opts", "--log-level warning"]
    command += ["--app-name", front.NAME]
    # Not as options: `ps` shows them to everybody, and the address may contain a password.
    stores = {front.STORE: address.uri, "MLFLOW_REGISTRY_STORE_URI": address.uri}
    process = subprocess.Popen(
        command,
        env=settings(port) | stores,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    threading.Thread(target=_print_complaints, args=(process.stderr,), daemon=True).start()
    try:
        wait_until_it_answers(process, port)
        yield process
    finally:
        process.terminate()  # it forwards the signal to its worker and waits
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_it_answers(process: subprocess.Popen[str], port: int) -> None:
    """Wait for the server: 5 to 10 s, mostly for importing MLflow twice. Raises UserError if it does not answer."""
    deadline = time.monotonic() + START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy is not for this machine
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            direct.open(f"http://{HOST}:{port}/health", timeout=5).close()
            return
        time.sleep(0.1)
    state = f"ended with exit status {process.returncode}" if process.returncode else "does not answer"
    raise UserError(f"the MLflow server for port {port} {state}; its messages are above")


def _print_complaints(lines: IO[str]) -> None:
    for line in lines:
        if not line.startswith(("[MLflow] Security middleware", "INFO:")) and " INFO mlflow" not in line:
            print(line, end="", file=sys.stderr, flush=True)


def free_port(text: str) -> int:
    """Return the port that `text` names. Raises UserError if it is in use."""
    port = rules.parsed("port", text, rules.integer(1, 65535))
    if not is_free(port):
        raise UserError(
            f"port {port} is in use (perhaps by this server already: http://{HOST}:{port});"
            f" choose another: python -m pipeline.ui port={port + 1}"
        )
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
