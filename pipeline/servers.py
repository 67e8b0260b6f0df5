"""Servers of MLflow's that a person starts and ends: on 127.0.0.1, on a free port, ended with the program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO

from pipeline.errors import UserError

HOST = "127.0.0.1"
"""They have no login: they are for this machine only."""
START_SECONDS = 120

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
}
"""Settings of MLflow's server without reports to its makers, background jobs and warnings."""


def port_of(word: str, command: str) -> int:
    """The port, free at this moment. Raises UserError, with one that is; `command` is what to type with it."""
    if not word.isdecimal() or not 1 <= int(word) <= 65535:
        raise UserError(f"port={word}: expected a number from 1 to 65535")
    port = int(word)
    if not free(port):
        other = next((other for other in range(port + 1, min(port + 100, 65536)) if free(other)), 0)
        raise UserError(
            f"port {port} is in use (perhaps by this server already: http://{HOST}:{port});"
            f" choose another: {command} port={other or 'NUMBER'}"
        )
    return port


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def run(command: Sequence[str], settings: Mapping[str, str], port: int, page: str, told: Callable[[], str]) -> None:
    """Start `python COMMAND`, print `told()` once `page` answers, and end the server with this program."""
    signal.signal(signal.SIGTERM, _terminated)
    server = _start(command, settings)
    try:
        _wait(server, port, page)
        print(told(), flush=True)
        status = server.wait()
        if status:
            raise UserError(f"the MLflow server ended with exit status {status}; its last words are above")
    except KeyboardInterrupt:
        print("stopped")
    finally:
        _stop(server)


def _start(command: Sequence[str], settings: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start `python COMMAND`; what it complains of goes to stderr, what it says each time does not."""
    server = subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    threading.Thread(target=_pass_on, args=(server.stderr,), daemon=True).start()
    return server


def _pass_on(lines: IO[str]) -> None:
    for line in lines:
        if not line.startswith(("[MLflow] Security middleware", "INFO:")) and " INFO mlflow" not in line:
            sys.stderr.write(line)
            sys.stderr.flush()


def _wait(server: subprocess.Popen[str], port: int, page: str) -> None:
    """Until `page` of the server answers. Raises UserError where it ends instead, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"the MLflow server did not start (exit status {server.returncode}); its words are above")
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/{page}", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise UserError(f"the MLflow server does not answer on port {port} after {START_SECONDS} s")


def _stop(server: subprocess.Popen[str]) -> None:
    # It passes the signal on to its worker and waits for that.
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()


def _terminated(signum: int, frame: FrameType | None) -> None:
    """A handler of SIGTERM that lets `finally` run."""
    raise SystemExit(128 + signum)
