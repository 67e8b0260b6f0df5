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
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError, without_logins
from pipeline.config.run_config import RunConfig, digest
from pipeline.models import devices
from pipeline.storage import source_code

DESCRIBED = ("pipeline", "conf", "hydra_plugins", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock")
"""What a run's patch covers: all that can change what a run means, and nothing that is made."""

LARGEST_PATCH = 2**20


def sources(numerics: Mapping[str, Any], package: Path = PROJECT / "pipeline") -> dict[str, str]:
    """Digest of each module that trains a run of such `numerics`, by its path in the package.

    Raises UserError where one cannot be read.
    """
    entry = f"training/{devices.program(numerics.get('trainer', ''), numerics.get('backend', ''))}.py"
    try:
        return source_code.reached(entry, package)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the source code of this project cannot be read: {error}") from error


def source_digest(numerics: Mapping[str, Any], package: Path = PROJECT / "pipeline") -> str:
    """sha256 over names and digests of the modules that train a run of such `numerics`."""
    return digest(sources(numerics, package))


def changed_sources(then: Mapping[str, str], numerics: Mapping[str, Any]) -> list[str]:
    """Names of the source files that are not what they were `then`, in the record of a run of such `numerics`."""
    here = _digests_here()
    return sorted(name for name in {*then, *sources(numerics)} if then.get(name) not in here.get(name, ()))


@cache
def _digests_here() -> dict[str, tuple[str, ...]]:
    """All digests that a record may give to each source file as it is here. Its names are never opened: anyone may have
    written it."""
    package = PROJECT / "pipeline"
    files = [path for room in source_code.DECIDING for path in (package / room).rglob("*.py")]
    return {path.relative_to(package).as_posix(): _digests(path.read_bytes()) for path in files}


def _digests(content: bytes) -> tuple[str, ...]:
    """Of the syntax tree, and of the text, which older records have."""
    text = hashlib.sha256(content).hexdigest()
    try:
        return source_code.parse(content).digest, text
    except (SyntaxError, ValueError):
        return (text,)


def identity(data_digest: str, numerics: dict[str, Any]) -> dict[str, Any]:
    """What a key is made from besides the RunConfig: decoded data, deciding source, numerics class."""
    return {"data": data_digest, "source": source_digest(numerics), "numerics": numerics}


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
    known: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "command": without_logins(as_typed(shlex.join(sys.argv))),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": {None: None, "": "false"}.get(
            _git("status", "--porcelain", "--untracked-files=no", "--", *EDITED), "true"
        ),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
        "patch": hashlib.sha256(patch).hexdigest() if (patch := uncommitted()) else None,
        "lock": _file_digest(PROJECT / "requirements.lock"),
        **{
            name: _version(name)
            for name in ("tensorflow", "keras", "jax", "jaxlib", "numpy", "mlflow", "hydra-core", "dvc")
        },
    }
    return {name: value for name, value in known.items() if value is not None}


EDITED = (".", ":(exclude)dvc.lock")
"""What a person edits: the pipeline itself writes dvc.lock, and a checkout is not dirty for having been run."""


@cache
def uncommitted() -> bytes:
    """What this checkout has beyond its commit, new files included, as a patch that `git apply` takes; empty for nothing.

    Also empty without git, and where it would be over a megabyte: `git_dirty` says that there is something.
    """
    index = _git("rev-parse", "--absolute-git-dir")
    if index is None:
        return b""
    with tempfile.TemporaryDirectory() as temporary:
        # In an index of its own, so that nothing is staged that the person did not stage.
        own = Path(temporary) / "index"
        with suppress(OSError):
            shutil.copy(Path(index) / "index", own)
        # Where results go decides nothing, and an address may hold a password.
        there = [*(name for name in DESCRIBED if (PROJECT / name).exists()), ":(exclude)conf/tracking"]
        environment = {"GIT_INDEX_FILE": str(own)}
        if _run_git("add", "--all", "--", *there, environment=environment) is None:
            return b""
        patch = _run_git("diff", "--cached", "--binary", "HEAD", "--", *there, environment=environment) or b""
    return patch if len(patch) <= LARGEST_PATCH else b""


@cache
def has_commit(commit: str) -> bool:
    return _git("cat-file", "-e", f"{commit}^{{commit}}") is not None


def file_at(commit: str, name: str) -> str | None:
    """A file of the checkout as `commit` has it; None where it has none."""
    content = _run_git("show", f"{commit}:{name}")
    return None if content is None else content.decode(errors="replace")


def commit_has(commit: str, then: Mapping[str, str]) -> bool | None:
    """Whether `commit` has source files as a record gives them; None where there is no such commit."""
    if not has_commit(commit):
        return None
    committed = {name: _run_git("show", f"{commit}:pipeline/{name}") for name in then}
    return all(content is not None and then[name] in _digests(content) for name, content in committed.items())


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


def machine() -> str:
    """This machine, as far as how long a training takes goes."""
    return f"{platform.node()}, {_cpu()}, {os.cpu_count()} cores"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
