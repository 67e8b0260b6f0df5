"""Pins pyproject.toml's dependencies into requirements.lock, requirements-gpu.lock and requirements-s3.lock: with hashes,
without addresses.

Called by `make lock`; words are passed on to `uv pip compile` (`--upgrade`). One lock serves every platform and Python
that uv's `--universal` covers. The other two hold only what `tensorflow[and-cuda]` and `dvc-s3` add to it, so that they are
installed together with it and the versions of everything else are the same with and without them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path("requirements.lock")
ADDED = {"gpu": Path("requirements-gpu.lock"), "s3": Path("requirements-s3.lock")}
"""What extras add that is too large, or too special, for everybody."""
COMPILE = [
    *["uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--python-version", "3.11"],
    *["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"],
]


def main(words: list[str]) -> int:
    if not shutil.which("uv"):
        print("error: make lock needs uv on the PATH (pip install uv)", file=sys.stderr)
        return 2
    status = compile_to(LOCK, "--extra", "dev", *words)
    for extra, lock in ADDED.items():
        if status:
            break
        with tempfile.TemporaryDirectory() as folder:
            everything = Path(folder) / "everything.lock"
            everything.write_text(LOCK.read_text() + (lock.read_text() if lock.exists() else ""))
            status = compile_to(everything, "--extra", "dev", "--extra", extra, "--constraint", str(LOCK), *words)
            if status == 0:
                known = set(packages(LOCK.read_text()))
                lock.write_text("".join(entry for entry in packages(everything.read_text()) if entry not in known))
    return status


def compile_to(lock: Path, *words: str) -> int:
    return subprocess.run([*COMPILE, "--output-file", str(lock), *words], stdout=subprocess.DEVNULL).returncode


def packages(lock: str) -> list[str]:
    """Each package with its hashes, as one piece of text."""
    return re.findall(r"^\S.*\n(?:[ ].*\n)*", lock, re.MULTILINE)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
