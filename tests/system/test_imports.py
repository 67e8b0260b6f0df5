"""Importing stays cheap. The direction of imports is checked by import-linter, in `make lint`."""

import re
import subprocess
import sys
import tomllib

from tests.support.imports import CHECKOUT, modules

HEAVY = ["jax", "jaxlib", "keras", "mlflow", "tensorflow"]


def test_importing_everything_loads_nothing_heavy() -> None:
    # MLflow loads `served` itself, when it serves a model.
    names = ", ".join(set(modules()) - {"pipeline.tracking.served"})
    code = f"import sys, {names}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "neither --help nor a wrong word nor a stage that is up to date may pay for them"


def test_the_picture_of_the_rooms_is_that_of_the_layers() -> None:
    """The diagram in CONTRIBUTING.md shows the layers that import-linter checks."""
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
