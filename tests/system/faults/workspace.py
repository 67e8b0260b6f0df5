"""A folder for everything that commands write, including an MLflow store of its own."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from pipeline.cli.console import PROJECT
from tests.unit.training.command import Place, Said, command

SMALL = ["-m", "optimizer=sgd", "model.width=4", "seed=range(3)", "training.epochs=1"]


class Workspace(Place):
    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    def tracked(self, *words: str, uri: str = "") -> Said:
        """Run `python -m pipeline.train` in this process, with MLflow."""
        return command(*self._tracked(words, uri))

    def _tracked(self, words: tuple[str, ...], uri: str = "") -> list[str]:
        kind = "server" if uri else "sqlite"
        options = [word for word in words if word.startswith("-")]
        given = [word for word in self.words if word != "tracking=none"]
        tracking = [f"tracking={kind}", f"tracking.uri={uri or f'sqlite:///{self.database}'}"]
        return [*options, *given, "device.xla=false", "question=tests", *tracking, *words[len(options) :]]

    def statuses(self) -> dict[str, int]:
        """Count the MLflow runs of each status."""
        with closing(sqlite3.connect(self.database)) as connection:
            return dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall())

    def start(self, *words: str, program: tuple[str, str] = ("-m", "pipeline.train")) -> subprocess.Popen[str]:
        """Start the same command in a subprocess."""
        line = [sys.executable, *program, *self._tracked(words)]
        pipe = subprocess.PIPE
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
        return subprocess.Popen(
            line, cwd=self.root, env=environment | {"PYTHONPATH": str(PROJECT)}, stdout=pipe, stderr=pipe, text=True
        )


def last_line(text: str) -> str:
    """Return the last line of stderr, which names cause and remedy, and assert that there is no traceback."""
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]
