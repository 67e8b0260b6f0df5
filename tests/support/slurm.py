"""A sweep on a real one-node Slurm: runs the command in a subprocess and inspects its shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.cli.console import PROJECT
from tests.unit.training.command import Place

PATIENCE_SECONDS = 200.0


class Cluster:
    """Runs Slurm's commands, which find their daemons through SLURM_CONF."""

    def __init__(self, found: dict[str, str]) -> None:
        self.environment = os.environ | found
        self.commands: list[Command] = []

    def says(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    def left(self) -> list[str]:
        return self.says("squeue", "-h", "-r", "-o", "%i").split()

    def start(self, place: Place, *words: str) -> Command:
        self.commands.append(Command(self, place, words))
        return self.commands[-1]

    def end(self) -> None:
        """Kill the commands that a failed test has left running."""
        for command in self.commands:
            command.process.kill()
            command.process.wait()


class Command:
    """A running `python -m pipeline.train -m hydra/launcher=batched_slurm …`."""

    def __init__(self, cluster: Cluster, place: Place, words: tuple[str, ...]) -> None:
        self.cluster = cluster
        self.place, self.said = place, place.root / f"said-{time.monotonic_ns()}"
        launched = ["hydra/launcher=batched_slurm", "hydra.launcher.poll_seconds=0.5"]
        fixed = [*place.words, "device.xla=false", "question=tests", *launched]
        with open(self.said, "w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.train", "-m", *fixed, *words],
                cwd=place.root,
                env=cluster.environment | {"PYTHONPATH": str(PROJECT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def out(self) -> str:
        return self.said.read_text()

    def ends(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def folder(self) -> Path:
        """The folder of its shares."""
        [folder] = (self.place.root / "runs" / "shares").iterdir()
        return folder

    def journal(self, share: int) -> list[dict[str, Any]]:
        try:
            text = (self.folder / f"{share}.journal").read_text()
        except (OSError, ValueError):
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def trained(self, share: int) -> list[str]:
        return [line["key"] for line in self.journal(share) if "key" in line]

    def pid(self, share: int) -> int:
        """Return the process id of the share's worker, or 0 if it has not started."""
        return int(self.journal(share)[0]["started"].split()[1]) if self.journal(share) else 0

    def jobs(self) -> list[str]:
        """Return the Slurm job ids, in the order of the shares."""
        return sorted(self.cluster.says("squeue", "-h", "-r", "-o", "%i", f"--name={self.folder.name}").split())

    def wait(self, true: Callable[[], Any]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert self.process.poll() is None, self.out
            assert time.monotonic() < until, self.out
            time.sleep(0.02)
