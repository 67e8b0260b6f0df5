"""Holds the pinned packages against the known advisories: called by `make audit`; pip-audit does the looking up.

Exit status: 0 nothing is known against them, 1 something is, 4 no index of advisories could be asked about all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCKS = ["requirements.lock", "requirements-gpu.lock", "requirements-s3.lock"]
SERVICES = ["pypi", "osv"]
"""Indexes that pip-audit can ask, in the order in which they are asked."""
KNOWN, UNREACHABLE = 1, 4
SECONDS = 300
"""Longest time that one index is given."""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = pip_audit(Path(folder))
        if command is None:
            print("error: pip-audit is not here and cannot be installed: no package index answers", file=sys.stderr)
            return UNREACHABLE
        asked: list[dict[str, Any]] = []
        for service in SERVICES:
            asked = ask(command, service)
            if any("vulns" in one for one in asked):
                break
    return tell(asked)


def pip_audit(folder: Path) -> list[str] | None:
    """What starts pip-audit: with uv or in an environment of its own, so that it is no part of this project's."""
    if shutil.which("uvx"):
        command = ["uvx", "--quiet", "--python", sys.executable, "pip-audit"]
        return command if run([*command, "--version"]) is not None else None
    python = folder / "bin" / "python"
    steps = [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "--quiet", "pip-audit"]]
    return None if any(run(step) is None for step in steps) else [str(python), "-m", "pip_audit"]


def ask(command: Sequence[str], service: str) -> list[dict[str, Any]]:
    """A record for each pinned package; none where the index does not answer at all."""
    locks = [word for lock in LOCKS if Path(lock).exists() for word in ("--requirement", lock)]
    how = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    said = run([*command, *locks, *how, "--vulnerability-service", service], (0, 1))
    try:
        return list(json.loads(said or "")["dependencies"])
    except (ValueError, KeyError, TypeError):
        return []


def run(command: Sequence[str], statuses: Sequence[int] = (0,)) -> str | None:
    """What a program writes to stdout; None where it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, env=os.environ
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in statuses else None


def tell(asked: Sequence[dict[str, Any]]) -> int:
    """A line for each advisory, and one for the whole."""
    audited = [one for one in asked if "vulns" in one]
    skipped = [one["name"] for one in asked if "vulns" not in one]
    found = [(one, advisory) for one in audited for advisory in one["vulns"]]
    for one, advisory in found:
        fixed = ", ".join(advisory.get("fix_versions") or []) or "no version yet"
        names = " ".join([advisory["id"], *advisory.get("aliases", [])])
        print(f"{one['name']} {one['version']}: {names}; mended in {fixed}")
    if not audited:
        print("error: no index of advisories can be reached (asked: PyPI, OSV); nothing was audited", file=sys.stderr)
        return UNREACHABLE
    if found:
        print(f"error: {len(found)} known advisories; make lock UPGRADE=1 takes mended versions", file=sys.stderr)
        return KNOWN
    if skipped:
        some = ", ".join(skipped[:5]) + (" …" if len(skipped) > 5 else "")
        print(f"error: {len(skipped)} of {len(asked)} packages are in no index of advisories: {some}", file=sys.stderr)
        return UNREACHABLE
    print(f"{len(audited)} pinned packages: no known advisory")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
