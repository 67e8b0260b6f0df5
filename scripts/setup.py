"""Makes `.venv` from requirements.lock, with uv where it is on the PATH and pip where not. Standard library only.

Called by make, from the root of the checkout. The stamp `.venv/.setup` says what the environment was made from and is
written last; while packages are being installed `.venv/.unfinished` stands there, so that an interrupted set-up is
started afresh by the next one.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".setup"
UNFINISHED = VENV / ".unfinished"
LOG = VENV / "setup.log"
DVC_LOCAL = Path(".dvc/config.local")
PIP = [str(PYTHON), "-m", "pip"]

LOCKS = {"": "requirements.lock", "gpu": "requirements-gpu.lock", "s3": "requirements-s3.lock"} | dict.fromkeys(
    ("jax", "cluster", "server"), "requirements.lock"
)
"""What each extra adds. All but CUDA and S3 stands in requirements.lock already, since the tests use it too."""

# What uv and pip say when nobody answers, each seen with a closed port, a wrong name or an air-gapped machine.
NO_NETWORK = re.compile(
    r"error sending request|dns error|tcp connect error|connection (refused|reset|error|timed out)|operation timed out"
    r"|network (is unreachable|was disabled)|name or service not known"
    r"|failed to establish a new connection|temporary failure in name resolution|no route to host|max retries exceeded",
    re.IGNORECASE,
)


class SetupError(Exception):
    """Told in one line."""


def main() -> None:
    extras = asked_extras()
    tell_dvc_of_missing_git()
    # Two `make` at once: the second waits here and then finds the work done.
    with open("requirements.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = recorded()
        wanted = what_decides(extras if extras is not None else made.get("extras", []))
        if made == wanted and not UNFINISHED.exists():
            STAMP.touch()
            return
        begin = time.monotonic()
        install(made, wanted)
        STAMP.write_text(json.dumps(wanted, indent=1, ensure_ascii=False), encoding="utf-8")
        UNFINISHED.unlink()
        say(f".venv is ready ({time.monotonic() - begin:.0f} s)")


def tell_dvc_of_missing_git() -> None:
    """DVC ends with "not a git repository" in a downloaded archive, unless it is told that there is none."""
    here = Path.cwd()
    if not DVC_LOCAL.parent.is_dir() or any((folder / ".git").exists() for folder in (here, *here.parents)):
        return
    settings = configparser.RawConfigParser()
    settings.read(DVC_LOCAL, encoding="utf-8")
    if settings.has_option("core", "no_scm"):
        return
    settings.read_dict({"core": {"no_scm": "true"}})
    with open(DVC_LOCAL, "w", encoding="utf-8") as file:
        settings.write(file)
    say(f"note: no git repository here; DVC goes without one (core.no_scm in {DVC_LOCAL}), and so without experiments")


def install(made: dict[str, Any], wanted: dict[str, Any]) -> None:
    uv = working_uv()
    same_packages = made.get("locks") == wanted["locks"]
    usable = is_usable(made, wanted, "sys" if uv else "pip")
    installer = "uv" if uv else "pip"
    if not usable:
        say(f"making .venv with Python {wanted['python']} and {installer}; log in {LOG}")
        create(uv)
    UNFINISHED.touch()
    if not (usable and same_packages):
        locks = list(wanted["locks"])
        count = len(pinned(locks))
        patience = "half a minute to several minutes, by the network" if uv else "several minutes"
        say(f"installing {count} pinned packages with {installer} ({patience})")
        if uv:
            # Compiled here, on all cores, as pip does by itself: TensorFlow starts in a third of the time, also where Python
            # is told not to write bytecode (many containers are), and pays it at every start.
            work([uv, "pip", "sync", "--python", str(PYTHON), "--compile-bytecode", "--require-hashes", *locks])
        else:
            files = [word for lock in locks for word in ("-r", lock)]
            work([*PIP, "install", "--require-hashes", "--no-deps", *files])
            remove_strangers(locks)
    # The project itself, in place. hatchling stands in the lock, so that this needs no network.
    pip = [uv, "pip", "install", "--python", str(PYTHON)] if uv else [*PIP, "install"]
    work([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--editable", "."])


def create(uv: str | None) -> None:
    # Started from an activated .venv, sys.executable is a file of the very environment that is about to be replaced.
    base = getattr(sys, "_base_executable", sys.executable)
    shutil.rmtree(VENV, ignore_errors=True)
    if uv:
        work([uv, "venv", "--quiet", "--python", base, str(VENV)])
        return
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        raise SetupError(f"{base} has no pip of its own: install Debian's python3-venv, or uv") from None
    work([base, "-m", "venv", str(VENV)])


def remove_strangers(locks: list[str]) -> None:
    """What an earlier lock had and this one has not; uv's `sync` does this by itself."""
    kept = {"pip", "setuptools", "overfitting-gap", *pinned(locks)}
    found = json.loads(subprocess.run([*PIP, "list", "--format=json"], capture_output=True, check=True).stdout)
    names = {re.sub(r"[-_.]+", "-", package["name"]).lower() for package in found}
    if names - kept:
        work([*PIP, "uninstall", "--yes", *sorted(names - kept)])


def pinned(locks: list[str]) -> set[str]:
    return {name for lock in locks for name in re.findall(r"^([\w.-]+)==", Path(lock).read_text(), re.MULTILINE)}


def work(command: list[str]) -> None:
    """Run one installer. Its words go to the log and, the latest one only, to the terminal."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    begin, lines = time.monotonic(), [f"$ {' '.join(command)}\n"]
    assert process.stdout is not None  # for the type checker
    for line in process.stdout:
        lines.append(line)
        show(f"  {time.monotonic() - begin:4.0f} s  {line.strip()}")
    show("")
    status = process.wait()
    if VENV.is_dir():
        with LOG.open("a") as log:
            log.writelines(lines)
    if status:
        raise SetupError(reason(lines[1:]))


def reason(lines: list[str]) -> str:
    if NO_NETWORK.search("".join(lines)):
        # Both fetch everything before they change anything: what stood in .venv still stands.
        UNFINISHED.unlink(missing_ok=True)
        return f"the packages are not all here yet, and no package index can be reached (whole log: {LOG})"
    said = [line.strip() for line in lines if line.strip()] or ["no reason given"]
    # pip and uv both begin what matters with `error`; the rest is context.
    errors = [re.sub(r"(?i)^error:\s*", "", line) for line in said if re.match("(?i)error", line)]
    return f"set-up failed: {(errors or said)[-1][:300]} (whole log: {LOG})"


def is_usable(made: dict[str, Any], wanted: dict[str, Any], module: str) -> bool:
    """Whether what stands in .venv can be brought up to date in place. One that was moved cannot: its scripts hold its address."""
    if UNFINISHED.exists() or made.get("checkout", wanted["checkout"]) != wanted["checkout"]:
        return False
    question = f"import sys, {module}; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.strip() == wanted["python"]


def what_decides(extras: list[str]) -> dict[str, Any]:
    """Everything that the environment is a function of."""
    locks = sorted({LOCKS[extra] for extra in ["", *extras]})
    return {
        "locks": {lock: hashlib.sha256(Path(lock).read_bytes()).hexdigest() for lock in locks},
        "project": hashlib.sha256(Path("pyproject.toml").read_bytes()).hexdigest(),
        "extras": extras,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "checkout": os.getcwd(),
    }


def recorded() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def asked_extras() -> list[str] | None:
    """The words of EXTRAS; None where it is not set, which keeps what was installed before."""
    words = os.environ.get("EXTRAS", "").replace(",", " ").split()
    for word in words:
        if word not in LOCKS:
            raise SetupError(f"EXTRAS={word}: expected gpu, s3, jax, cluster or server")
    if "gpu" in words and sys.platform != "linux":
        raise SetupError("EXTRAS=gpu: TensorFlow's CUDA libraries exist for Linux only")
    return sorted(set(words)) or None


def working_uv() -> str | None:
    """uv, where it starts: a pyenv shim is on the PATH even where its Python has no uv."""
    uv = shutil.which("uv")
    works = uv and subprocess.run([uv, "--version"], capture_output=True).returncode == 0
    return uv if works else None


def say(line: str) -> None:
    print(line, flush=True)


def show(line: str) -> None:
    """Overwrite the last line of the terminal; nothing where there is none."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{line[:width]}", end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nstopped; the next make sets up afresh", file=sys.stderr)
        raise SystemExit(130) from None
