"""What importing costs. That imports run downhill is checked by import-linter, in `make lint`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest

from tests.support.imports import CHECKOUT, modules

HEAVY = ["jax", "jaxlib", "keras", "mlflow", "tensorflow"]
COMMANDS = sorted(
    name
    for name, path in modules().items()
    if name.startswith("pipeline.") and 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)
IMPORT_SECONDS = 1.0
"""TensorFlow takes 7 s and MLflow 3 s: neither `--help` nor a wrong word nor a stage that is up to date may pay for them."""


def run(code: str) -> dict[str, float]:
    """What `code`, which leaves a dict in `said`, says in a process of its own."""
    program = f"import json, sys, time\n{code}\nprint(json.dumps(said))"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_importing_everything_loads_nothing_heavy() -> None:
    # `served` is a file that MLflow loads where it serves a model.
    names = ", ".join(set(modules()) - {"pipeline.tracking.served"})
    said = run(f"import {names}\nsaid = {{name: 1 for name in {HEAVY} if name in sys.modules}}")
    assert said == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_starts_at_once(command: str) -> None:
    # By the processor's clock: another process at work on the machine does not count.
    clock = f"start = time.process_time()\nimport {command}\nsaid = {{'seconds': time.process_time() - start}}"
    best = min(run(clock)["seconds"] for _ in range(3))
    assert best < IMPORT_SECONDS


def test_the_picture_of_the_rooms_is_that_of_the_layers() -> None:
    """CONTRIBUTING.md draws what import-linter checks."""
    [contract] = [
        contract
        for contract in tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    layers = [{name.strip().removeprefix("pipeline.") for name in layer.split("|")} for layer in contract["layers"]]
    page = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = page.split("```\n")[1].splitlines()
    rooms = [set(re.split(r"\s{2,}", line)[:-1]) for line in drawn]
    commands = set(drawn[1].partition(": ")[2].split())
    assert [commands if room == {"commands"} else room for room in rooms] == layers
