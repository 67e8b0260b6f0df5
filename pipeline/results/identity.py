"""Which run is which: the key of a run, and where and with what it was made."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.config.job import Job, digest

PROJECT = Path(__file__).resolve().parent.parent.parent
DECIDING = ("data", "models", "training")
"""Rooms whose source decides the numbers of a run."""


@cache
def source_digest(package: Path = PROJECT / "pipeline") -> str:
    """sha256 over names and contents of the source files that decide numbers."""
    files = sorted(path for room in DECIDING for path in (package / room).rglob("*.py"))
    return digest(
        {path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    )


def identity(data_digest: str, numerics: dict[str, Any]) -> dict[str, Any]:
    """What a key is made from besides the Job: decoded data, deciding source, numerics class."""
    return {"data": data_digest, "source": source_digest(), "numerics": numerics}


def key_of(job: Job, identity: dict[str, Any]) -> str:
    """sha256 (hex): two runs with one key are the same run."""
    return digest({"job": job.to_dict(), **identity})


@cache
def environment() -> dict[str, str]:
    """Where this process runs. Decides nothing, explains much; a value that cannot be had is left out."""
    known: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "command": " ".join(sys.argv),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": {None: None, "": "false"}.get(_git("status", "--porcelain", "--untracked-files=no"), "true"),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "lock": _file_digest(PROJECT / "requirements.lock"),
        **{name: _version(name) for name in ("tensorflow", "keras", "jax", "numpy", "mlflow", "hydra-core", "dvc")},
    }
    return {name: value for name, value in known.items() if value is not None}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
