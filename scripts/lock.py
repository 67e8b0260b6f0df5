"""Pins pyproject.toml's dependencies into requirements.lock and requirements-gpu.lock: with hashes, without addresses.

Called by `make lock`; words are passed on to `uv pip compile` (`--upgrade`). One lock serves every platform and Python
that uv's `--universal` covers. requirements-gpu.lock holds only what `tensorflow[and-cuda]` adds to it, so that both are
installed together and the versions of everything else are the same with and without a GPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path("requirements.lock")
GPU_LOCK = Path("requirements-gpu.lock")
COMPILE = [
    *["uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--python-version", "3.11"],
    *["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"],
]


def main(words: list[str]) -> int:
    if not shutil.which("uv"):
        print("error: make lock needs uv on the PATH (pip install uv)", file=sys.stderr)
        return 2
    status = compile_to(LOCK, "--extra", "dev", *words)
    if status == 0:
        with tempfile.TemporaryDirectory() as folder:
            everything = Path(folder) / "everything.lock"
            everything.write_text(LOCK.read_text() + (GPU_LOCK.read_text() if GPU_LOCK.exists() else ""))
            status = compile_to(everything, "--extra", "dev", "--extra", "gpu", "--constraint", str(LOCK), *words)
            if status == 0:
                known = set(packages(LOCK.read_text()))
                GPU_LOCK.write_text("".join(entry for entry in packages(everything.read_text()) if entry not in known))
    return status


def compile_to(lock: Path, *words: str) -> int:
    return subprocess.run([*COMPILE, "--output-file", str(lock), *words], stdout=subprocess.DEVNULL).returncode


def packages(lock: str) -> list[str]:
    """Each package with its hashes, as one piece of text."""
    return re.findall(r"^\S.*\n(?:[ ].*\n)*", lock, re.MULTILINE)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
