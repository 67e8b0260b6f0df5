"""A real tracking server: PostgreSQL and MLflow, started as a person starts them; and a wire to it that can be bad."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.tracking.server import HOST, is_free

SCRIPT = [sys.executable, str(PROJECT / "scripts" / "tracking_server.py")]


class TrackingServer:
    def __init__(self, folder: Path) -> None:
        if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
            pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
        self.folder = folder
        self.port = next(port for port in range(20_000, 60_000) if is_free(port) and is_free(port + 1))
        self.uri = f"http://{HOST}:{self.port}"

    def do(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*SCRIPT, command, str(self.folder), *words], capture_output=True, text=True)

    def start(self) -> TrackingServer:
        done = self.do("start", f"port={self.port}", "workers=1")
        assert done.returncode == 0, done.stderr
        return self

    def stop(self) -> None:
        done = self.do("stop")
        assert done.returncode == 0, done.stderr


class Wire:
    """Passes connections on to a server; `down` refuses them, `late` holds every answer back for so many seconds."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.down = False
        self.late = 0.0
        self.requests = 0
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
                if asking:
                    self.requests += 1
                    if self.down:
                        break
                elif self.late:
                    time.sleep(self.late)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
