"""Manage this checkout's environment with uv, for `make setup`, `site`, `lock` and `audit`. Standard library only.

Uses uv from the PATH, or else the checkout's own in `.uv`, which pip installs when it is first needed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VENV, UV = Path(".venv"), Path(".uv")
STAMP = VENV / ".setup"
"""What `.venv` was made from. This file is removed before packages are installed and written last, so that the next
set-up starts afresh after an interrupted one."""

LOCK = "requirements.lock"
ADDED = {extra: f"requirements-{extra}.lock" for extra in ("gpu", "s3", "dashboard")}
"""Locks of the extras that add packages."""
LOCKS = ADDED | {"jax": LOCK, "cluster": LOCK, "server": LOCK}
"""The lock that pins each extra. JAX, the cluster's launcher and the server's driver are also used by the tests."""

SITE_LOCK = "requirements-site.lock"
"""All packages that build the site. They are installed beside .venv, not in it."""

DEV = ("pyproject.toml", "--extra", "dev")

# In an activated .venv, sys.executable belongs to the environment that may be replaced.
PYTHON = getattr(sys, "_base_executable", sys.executable)


class SetupError(Exception):
    """An error that is shown in one line."""


def setup() -> None:
    """Bring `.venv` up to date."""
    # If two `make` run at once, the second waits here and then finds the work done.
    with open(LOCK, "r+b") as lock:  # for writing, without which NFS gives no exclusive lock
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = recorded()
        extras = asked_extras() or made.get("extras", [])
        locks = sorted({LOCK, *(LOCKS[extra] for extra in extras)})
        content = b"".join(Path(name).read_bytes() for name in [*locks, "pyproject.toml"])
        wanted = {"extras": extras, "python": sys.version.split()[0], "checkout": os.getcwd()}
        # A moved environment cannot be repaired in place: its scripts contain its path.
        usable = bool(made) and all(made.get(name) == wanted[name] for name in ("python", "checkout"))
        wanted["content"] = hashlib.sha256(content).hexdigest()
        if made == wanted and starts(VENV / "bin" / "python"):
            STAMP.touch()
        else:
            install(usable and starts(VENV / "bin" / "python"), locks, wanted)
    tell_dvc_of_missing_git()


def install(usable: bool, locks: list[str], wanted: dict[str, Any]) -> None:
    begin = time.monotonic()
    into = ["--quiet", "--python", str(VENV / "bin" / "python")]
    uv = find_uv()
    if not usable:
        if VENV.is_symlink():
            raise SetupError(
                f".venv is a link to {os.readlink(VENV)}, the environment of another checkout: remove the link"
            )
        say(f"making .venv with Python {wanted['python']}")
        work(uv, "venv", "--quiet", "--clear", "--python", PYTHON, str(VENV))
    STAMP.unlink(missing_ok=True)
    pinned = sum(len(packages(Path(lock).read_text())) for lock in locks)
    say(f"installing {pinned} pinned packages (half a minute to several minutes, by the network)")
    # Compiled here on all cores, TensorFlow starts in a third of the time, even if Python may write no bytecode.
    work(uv, "pip", "sync", *into, "--compile-bytecode", "--require-hashes", *locks)
    # Install the project itself, editable. hatchling is in the lock, so this needs no network.
    work(uv, "pip", "install", *into, "--no-deps", "--no-build-isolation", "--no-index", "--editable", ".")
    STAMP.write_text(json.dumps(wanted, indent=1, ensure_ascii=False), encoding="utf-8")
    say(f".venv is ready ({time.monotonic() - begin:.0f} s)")


def tell_dvc_of_missing_git() -> None:
    """Configure DVC to work without git in a downloaded archive; else it ends with "not a git repository"."""
    here, local = Path.cwd(), Path(".dvc/config.local")
    if not local.parent.is_dir() or any((folder / ".git").exists() for folder in (here, *here.parents)):
        return
    if not local.exists() or "no_scm" not in local.read_text(encoding="utf-8"):
        work(str(VENV / "bin" / "dvc"), "config", "--quiet", "--local", "core.no_scm", "true")
        say(f"note: no git repository here; DVC goes without one (core.no_scm in {local}), and so without experiments")


def site() -> None:
    """Build the site in its own environment."""
    python, uv = str(UV / "site" / "bin" / "python"), find_uv()
    if not starts(python):
        work(uv, "venv", "--quiet", "--clear", "--python", PYTHON, str(UV / "site"))
    work(uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", SITE_LOCK)
    work(python, "scripts/site.py")


def lock(*words: str) -> None:
    """Pin the dependencies in pyproject.toml for every platform and Python, with hashes, without index addresses.

    The locks of the extras hold only what they add. They are installed together with requirements.lock, so all other
    versions are the same with and without them. `words` go to `uv pip compile` (`--upgrade`).
    """
    compile_to(Path(LOCK), *DEV, *words)
    compile_to(Path(SITE_LOCK), "--group", "site", *words)
    for extra, name in ADDED.items():
        added = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            everything = Path(folder) / "everything.lock"
            everything.write_text(Path(LOCK).read_text() + (added.read_text() if added.exists() else ""))
            compile_to(everything, *DEV, "--extra", extra, "--constraint", LOCK, *words)
            known = set(packages(Path(LOCK).read_text()))
            added.write_text("".join(entry for entry in packages(everything.read_text()) if entry not in known))


def compile_to(path: Path, *words: str) -> None:
    how = ["--quiet", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
    how += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--output-file", str(path)]
    work(find_uv(), "pip", "compile", *how, *words)


def packages(text: str) -> list[str]:
    """Return the packages of a lock, each with its hashes in one text."""
    return re.findall(r"^\S.*\n(?:[ ].*\n)*", text, re.MULTILINE)


def audit() -> None:
    """Check the pinned packages against known advisories; pip-audit looks them up and prints what it finds."""
    locks = [word for name in sorted({*LOCKS.values(), SITE_LOCK}) for word in ("--requirement", name)]
    how = ["--strict", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    work(find_uv(), "tool", "run", "--quiet", "--python", PYTHON, "pip-audit", *locks, *how)


def find_uv() -> str:
    own = UV / "bin" / "uv"
    if (there := shutil.which("uv")) and starts(there):
        return there
    if not starts(own):
        say("installing uv into .uv")
        work(PYTHON, "-m", "venv", "--clear", str(UV))
        work(str(UV / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv")
    return str(own)


def starts(program: str | Path) -> bool:
    """Return whether a program starts. A pyenv shim may be on the PATH although its Python lacks the program."""
    try:
        return subprocess.run([program, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def work(*command: str) -> None:
    """Run a program, which itself prints why it fails. Raises SetupError if it does."""
    if status := subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
        raise SetupError(f"{Path(command[0]).name} {command[1]} ended with status {status}; it says why above")


def recorded() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def asked_extras() -> list[str]:
    """Return the extras named in EXTRAS."""
    words = os.environ.get("EXTRAS", "").replace(",", " ").split()
    for word in words:
        if word not in LOCKS:
            raise SetupError(f"EXTRAS={word}: expected gpu, s3, dashboard, jax, cluster or server")
    if "gpu" in words and sys.platform != "linux":
        raise SetupError("EXTRAS=gpu: the CUDA libraries exist for Linux only")
    return sorted(set(words))


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        {"setup": setup, "site": site, "lock": lock, "audit": audit}[sys.argv[1]](*sys.argv[2:])
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nstopped; the next make goes on", file=sys.stderr)
        raise SystemExit(130) from None
