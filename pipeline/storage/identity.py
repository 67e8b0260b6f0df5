"""The identity of a run: its key, its source code and the environment in which it was trained."""

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

PATCHED = ("*.py", "conf", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock")
"""Files in a run's patch: all that can change a run, custom code included, and no outputs."""
UNPATCHED = ("conf/tracking", "conf/local", "tests", "benchmarks", "scripts", "docs")
"""Files left out of it: where results go changes no result, and an address may have a password."""

LARGEST_PATCH = 2**20
"""Bytes."""


def sources(
    numerics: Mapping[str, Any], package: Path = PROJECT / "pipeline", *, custom_code: Sequence[str] = ()
) -> dict[str, str]:
    """Return the digest of each module that trains a run with these `numerics`, by its path in the package.

    `custom_code` are import paths in the run's configuration. Raises UserError if a module cannot be read.
    """
    entry = f"training/{devices.program(numerics.get('trainer', ''), numerics.get('backend', ''))}.py"
    try:
        found = source_code.reached(entry, package)
        for name in custom_code:
            found = found | source_code.of_custom_code(name, PROJECT)
        return found
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the source code of a run cannot be read: {error}") from error


def source_digest(
    numerics: Mapping[str, Any], package: Path = PROJECT / "pipeline", *, custom_code: Sequence[str] = ()
) -> str:
    """Return the sha256 of names and digests of the modules that train a run with these `numerics`."""
    return digest(sources(numerics, package, custom_code=custom_code))


def path_of(name: str) -> str:
    """Return the path of a source file in the checkout: `pipeline/models/dense.py`, `my_networks.py`."""
    return name.removeprefix("../") if name.startswith(("../", "installed:")) else f"pipeline/{name}"


def changed_sources(then: Mapping[str, str], numerics: Mapping[str, Any], custom_code: Sequence[str] = ()) -> list[str]:
    """Return the names of source files that differ from `then`, the record of a run with these `numerics`.

    Paths in a record are never opened, since anyone may have written it.
    """
    try:
        now = sources(numerics, custom_code=custom_code)
    except UserError:  # custom code that was removed
        now = sources(numerics)
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def identity(data_digest: str, numerics: dict[str, Any], custom_code: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a key consists of besides the RunConfig: digests of data and source code, and the numerics."""
    return {"data": data_digest, "source": source_digest(numerics, custom_code=custom_code), "numerics": numerics}


def key_of(job: RunConfig, identity: dict[str, Any]) -> str:
    """Return the key of a run, a sha256 (hex). Two runs with one key are the same run."""
    return digest({"job": job.to_dict(), **identity})


def as_typed(command: str) -> str:
    """Return `command` as it works in any checkout: Python puts the absolute path of the module's file first, which may be in
    the temporary folder of a DVC experiment."""
    return re.sub(r"^(?:'[^']*|\S*)/pipeline/(\w+)\.py'?(?=\s|$)", r"python -m pipeline.\1", command)


@cache
def environment() -> dict[str, str]:
    """Return what is known of this process: versions, machine, command, commit. It is not part of a key. Unknown values are
    left out."""
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
"""Files that make a checkout dirty; not dvc.lock, which the pipeline itself writes."""


@cache
def uncommitted() -> bytes:
    """Return the uncommitted changes of this checkout, new files included, as a patch for `git apply`.

    Empty without changes, without git, and over a megabyte, in which case only `git_dirty` tells of changes.
    """
    git_folder = _git("rev-parse", "--absolute-git-dir")
    if git_folder is None:
        return b""
    with tempfile.TemporaryDirectory() as temporary:
        # A copy of the index, so that nothing is staged in the user's.
        index = Path(temporary) / "index"
        with suppress(OSError):
            shutil.copy(Path(git_folder) / "index", index)
        paths = [name for name in PATCHED if "*" in name or (PROJECT / name).exists()]
        paths += [f":(exclude){name}" for name in UNPATCHED]
        environment = {"GIT_INDEX_FILE": str(index)}
        if _run_git("add", "--all", "--", *paths, environment=environment) is None:
            return b""
        patch = _run_git("diff", "--cached", "--binary", "HEAD", "--", *paths, environment=environment) or b""
    return patch if len(patch) <= LARGEST_PATCH else b""


def _git(*arguments: str) -> str | None:
    output = _run_git(*arguments)
    return None if output is None else output.decode(errors="replace").strip()


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
    """Return the lines of /proc/cpuinfo that begin with one of `names`; none if there is no such file."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(names)]
    return []
