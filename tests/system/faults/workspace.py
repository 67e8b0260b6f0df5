"""A folder that commands put everything into, their own MLflow store included."""

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
        """`python -m pipeline.train -m …` in this process, with MLflow."""
        return command(*self._tracked(words, uri))

    def _tracked(self, words: tuple[str, ...], uri: str = "") -> list[str]:
        kind = "server" if uri else "sqlite"
        options = [word for word in words if word.startswith("-")]
        given = [word for word in self.words if word != "tracking=none"]
        tracking = [f"tracking={kind}", f"tracking.uri={uri or f'sqlite:///{self.database}'}"]
        return [*options, *given, "device.xla=false", "question=tests", *tracking, *words[len(options) :]]

    def statuses(self) -> dict[str, int]:
        """How many rows of MLflow have which status."""
        with closing(sqlite3.connect(self.database)) as connection:
            return dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall())

    def start(self, *words: str, program: tuple[str, str] = ("-m", "pipeline.train")) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        line = [sys.executable, *program, *self._tracked(words)]
        pipe = subprocess.PIPE
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
        return subprocess.Popen(
            line, cwd=self.root, env=environment | {"PYTHONPATH": str(PROJECT)}, stdout=pipe, stderr=pipe, text=True
        )


def last_line(text: str) -> str:
    """The last line on stderr, which names cause and remedy; there is no traceback before it."""
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]
