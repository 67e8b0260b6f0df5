"""A real local tracking server, MLflow on PostgreSQL, and a connection to it that can be made to fail."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.tracking.server import HOST, is_free, settings, wait_until_it_answers


class TrackingServer:
    def __init__(self, folder: Path) -> None:
        programs = [Path(found).parent for found in (shutil.which("initdb"),) if found]
        programs += [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        if not programs:
            pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
        self.programs, self.folder, self.data = programs[0], folder, folder / "postgres"
        self.port = next(port for port in range(20_000, 60_000) if is_free(port) and is_free(port + 1))
        self.uri = f"http://{HOST}:{self.port}"

    def start(self) -> "TrackingServer":
        self.data.mkdir(parents=True)
        if not os.geteuid():
            shutil.chown(self.data, "postgres", "postgres")
        self.postgres("initdb", "-D", str(self.data), "-U", "mlflow", "-A", "trust")
        options = f"-p {self.port + 1} -c listen_addresses={HOST} -c unix_socket_directories=''"
        self.postgres("pg_ctl", "-D", str(self.data), "-w", "-o", options, "start")
        database = f"postgresql+psycopg2://mlflow@{HOST}:{self.port + 1}/postgres"
        stores = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_REGISTRY_STORE_URI": database}
        artifacts = ["--serve-artifacts", "--artifacts-destination", (self.folder / "artifacts").as_uri()]
        self.mlflow = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port), *artifacts],
            # The wires of the tests listen on other ports.
            env=settings(self.port) | stores | {"MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:*"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        wait_until_it_answers(self.mlflow, self.port)
        return self

    def stop(self) -> None:
        self.mlflow.terminate()
        self.mlflow.wait(20)
        self.postgres("pg_ctl", "-D", str(self.data), "-w", "-m", "fast", "stop")

    def postgres(self, program: str, *words: str) -> None:
        """Run one of PostgreSQL's programs, as user postgres if this is root: they refuse to run as root."""
        who = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
        null = subprocess.DEVNULL
        subprocess.run([str(self.programs / program), *words], check=True, cwd="/", stdout=null, stderr=null, **who)  # type: ignore[call-overload]


class Wire:
    """Forwards connections to a server. `down` refuses them; `late` delays every answer by that many seconds."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.down = False
        self.late = 0.0
        self.listening = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self.listening.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                if self.down:
                    client.close()
                    continue
                server = socket.create_connection((HOST, self.to))
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if asking and self.down:
                    break
                if not asking and self.late:
                    time.sleep(self.late)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
