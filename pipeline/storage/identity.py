"""Which run is which: the key of a run, and where and with what it was made."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError, redact_credentials
from pipeline.config.run_config import RunConfig, digest
from pipeline.models import devices
from pipeline.storage import source_code

DESCRIBED = ("*.py", "conf", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock")
"""What a run's patch covers: all that can change what a run means, code of one's own included, and nothing that is made."""
UNDESCRIBED = ("conf/tracking", "conf/local", "tests", "benchmarks", "scripts", "docs")
"""What it leaves out. Where results go decides nothing, and an address may hold a password."""

LARGEST_PATCH = 2**20


def sources(
    numerics: Mapping[str, Any], package: Path = PROJECT / "pipeline", *, own_code: Sequence[str] = ()
) -> dict[str, str]:
    """Digest of each module that trains a run of such `numerics`, by its path in the package.

    `own_code` are import paths that the run's configuration names. Raises UserError where a module cannot be read.
    """
    entry = f"training/{devices.program(numerics.get('trainer', ''), numerics.get('backend', ''))}.py"
    try:
        found = source_code.reached(entry, package)
        for name in own_code:
            found = found | source_code.of_own_code(name, PROJECT)
        return found
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the source code of a run cannot be read: {error}") from error


def source_digest(
    numerics: Mapping[str, Any], package: Path = PROJECT / "pipeline", *, own_code: Sequence[str] = ()
) -> str:
    """sha256 over names and digests of the modules that train a run of such `numerics`."""
    return digest(sources(numerics, package, own_code=own_code))


def path_of(name: str) -> str:
    """A source file from the checkout, as a person would type it: `pipeline/models/dense.py`, `my_networks.py`."""
    return name.removeprefix("../") if name.startswith(("../", "installed:")) else f"pipeline/{name}"


def changed_sources(then: Mapping[str, str], numerics: Mapping[str, Any], own_code: Sequence[str] = ()) -> list[str]:
    """Names of the source files that are not what they were `then`, in the record of a run of such `numerics`.

    The names of a record are never opened: anyone may have written it.
    """
    try:
        now = sources(numerics, own_code=own_code)
    except UserError:  # code of one's own that is not here any more
        now = sources(numerics)
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def identity(data_digest: str, numerics: dict[str, Any], own_code: Sequence[str] = ()) -> dict[str, Any]:
    """What a key is made from besides the RunConfig: decoded data, deciding source, numerics class."""
    return {"data": data_digest, "source": source_digest(numerics, own_code=own_code), "numerics": numerics}


def key_of(job: RunConfig, identity: dict[str, Any]) -> str:
    """sha256 (hex): two runs with one key are the same run."""
    return digest({"job": job.to_dict(), **identity})


def as_typed(command: str) -> str:
    """`command` as it is typed in any checkout. Python puts the absolute path of the module's file first, which is gone
    with the temporary folder of a DVC experiment."""
    return re.sub(r"^(?:'[^']*|\S*)/pipeline/(\w+)\.py'?(?=\s|$)", r"python -m pipeline.\1", command)


@cache
def environment() -> dict[str, str]:
    """Where this process runs. Decides nothing, explains much; a value that cannot be had is left out."""
    edited = _git("status", "--porcelain", "--untracked-files=no", "--", *EDITED)
    patch, lock = uncommitted(), PROJECT / "requirements.lock"
    known: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": next(iter(cpu_info("model name")), "").partition(":")[2].strip() or platform.processor() or None,
        "cores": str(os.cpu_count()),
        "command": redact_credentials(as_typed(shlex.join(sys.argv))),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if edited is None else str(bool(edited)).lower(),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "patch": hashlib.sha256(patch).hexdigest() if patch else None,
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        **{name: _version(name) for name in PACKAGES},
    }
    return {name: value for name, value in known.items() if value is not None}


PACKAGES = ("tensorflow", "keras", "jax", "jaxlib", "numpy", "mlflow", "hydra-core", "dvc")
EDITED = (".", ":(exclude)dvc.lock")
"""What a person edits: the pipeline itself writes dvc.lock, and a checkout is not dirty for having been run."""


@cache
def uncommitted() -> bytes:
    """What this checkout has beyond its commit, new files included, as a patch that `git apply` takes; empty for nothing.

    Also empty without git, and where it would be over a megabyte: `git_dirty` says that there is something.
    """
    git_folder = _git("rev-parse", "--absolute-git-dir")
    if git_folder is None:
        return b""
    with tempfile.TemporaryDirectory() as temporary:
        # In an index of its own, so that nothing is staged that the person did not stage.
        own = Path(temporary) / "index"
        with suppress(OSError):
            shutil.copy(Path(git_folder) / "index", own)
        there = [name for name in DESCRIBED if "*" in name or (PROJECT / name).exists()]
        there += [f":(exclude){name}" for name in UNDESCRIBED]
        environment = {"GIT_INDEX_FILE": str(own)}
        if _run_git("add", "--all", "--", *there, environment=environment) is None:
            return b""
        patch = _run_git("diff", "--cached", "--binary", "HEAD", "--", *there, environment=environment) or b""
    return patch if len(patch) <= LARGEST_PATCH else b""


def _git(*arguments: str) -> str | None:
    said = _run_git(*arguments)
    return None if said is None else said.decode(errors="replace").strip()


def _run_git(*arguments: str, environment: Mapping[str, str] | None = None) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments],
            capture_output=True,
            timeout=20,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_info(*names: str) -> list[str]:
    """Lines of /proc/cpuinfo that begin so; none where there is no such file."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(names)]
    return []
