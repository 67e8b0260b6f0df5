"""What every MLflow server of this project shares: it is for this machine only, quiet, and deaf to foreign host names."""

from __future__ import annotations

import socket

from pipeline.cli.errors import UserError

HOST = "127.0.0.1"
"""MLflow's server has no login."""
START_SECONDS = 120


def settings(port: int | None = None) -> dict[str, str]:
    """Environment of MLflow's server: answers to loopback names at `port` (None: any, since tunnels and proxies keep
    theirs), makes no reports to MLflow's makers, runs no background jobs and prints no warnings.

    MLflow's default host patterns, such as `10.*`, match `10.evil.com`: a web page could read everything (DNS rebinding).
    """
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name}:{port or '*'}" for name in (HOST, "localhost")),
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }


def free_port(word: str, command: str) -> int:
    """The port that `word` names. Raises UserError where it is in use, with one that is free to type after `command`."""
    if not word.isdecimal() or not 1 <= int(word) <= 65535:
        raise UserError(f"port={word}: expected a number from 1 to 65535")
    port = int(word)
    if not is_free(port):
        other = next((other for other in range(port + 1, min(port + 100, 65536)) if is_free(other)), 0)
        raise UserError(
            f"port {port} is in use (perhaps by this server already: http://{HOST}:{port});"
            f" choose another: {command} port={other or 'NUMBER'}"
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
