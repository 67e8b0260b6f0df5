"""Imports run downhill: stages → training, tracking, report → models, statistics → results → data → config.

Heavy libraries are reached from few rooms, and only when they are used: TensorFlow costs 7 s, MLflow 3 s, and neither
`--help` nor a wrong word nor a stage that is up to date may pay for them.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from tests.imports import CHECKOUT, Import, cycles, imports, modules, path_of, read, room_of

HEIGHT = {
    "training": 4,
    "tracking": 4,
    "report": 4,
    "models": 3,
    "statistics": 3,
    "results": 2,
    "data": 1,
    "config": 0,
}
STAGES = 5
FOR_ALL = {"errors", "console", "formatting"}
"""Any module may import these; they import nothing but each other and config."""

KERAS = {"keras", "tensorflow", "jax", "jaxlib"}
HEAVY = sorted({*KERAS, "mlflow"})
REACH_KERAS = {"pipeline/models", "pipeline/training", "pipeline/tracking/models.py"}
REACH_MLFLOW = {"pipeline/tracking"}

COMMANDS = sorted(
    module
    for module, path in modules().items()
    if module.startswith("pipeline.") and "__main__" in path.read_text("utf-8")
)
IMPORT_SECONDS = 1.0


def height(module: str) -> int:
    return HEIGHT.get(room_of(module), STAGES)


def within(found: Import, places: set[str]) -> bool:
    return any(path_of(found.by) == place or path_of(found.by).startswith(f"{place}/") for place in places)


PROJECT = [found for found in imports() if found.name in modules() and found.name != "pipeline"]


def test_every_room_has_its_height() -> None:
    rooms = {path.parent.name for path in (CHECKOUT / "pipeline").glob("*/*.py")}
    assert rooms == set(HEIGHT)


def test_imports_run_downhill() -> None:
    inside = [found for found in PROJECT if found.by.startswith("pipeline.")]
    assert len(inside) > 100
    uphill = [
        str(found)
        for found in inside
        if room_of(found.name) not in {*FOR_ALL, room_of(found.by)}
        and room_of(found.by) not in FOR_ALL
        and height(found.name) >= height(found.by)
        and not height(found.name) == height(found.by) == STAGES
    ]
    assert uphill == []


def test_what_all_may_import_stands_on_the_ground() -> None:
    above = [str(f) for f in PROJECT if room_of(f.by) in FOR_ALL and room_of(f.name) not in {*FOR_ALL, "config"}]
    assert above == []


def test_no_module_needs_itself() -> None:
    assert [" → ".join([*way, way[0]]) for way in cycles()] == []


def test_the_plugin_knows_nothing_of_the_project() -> None:
    assert [str(f) for f in imports() if f.by.startswith("hydra_plugins") and f.top == "pipeline"] == []


def test_the_project_knows_the_plugin_only_by_its_name_in_hydra() -> None:
    assert [str(f) for f in imports() if f.by.startswith("pipeline") and f.top == "hydra_plugins"] == []


def test_only_models_and_training_reach_keras() -> None:
    found = [f for f in imports() if f.top in KERAS]
    assert found
    assert [str(f) for f in found if not within(f, REACH_KERAS)] == []


def test_only_tracking_reaches_mlflow() -> None:
    found = [f for f in imports() if f.top == "mlflow"]
    assert found
    assert [str(f) for f in found if not within(f, REACH_MLFLOW)] == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_nothing_is_imported_by_a_string(name: str) -> None:
    """What no list of imports shows, nor go-to-definition."""
    calls = [
        node.func for node in ast.walk(ast.parse(modules()[name].read_text("utf-8"))) if isinstance(node, ast.Call)
    ]
    assert not {"import_module", "__import__"} & {ast.unparse(call).rpartition(".")[2] for call in calls}


def test_no_configuration_names_a_class() -> None:
    assert [str(path) for path in (CHECKOUT / "conf").rglob("*.yaml") if "_target_" in path.read_text("utf-8")] == []


def run(code: str) -> dict[str, float]:
    """What `code`, which leaves a dict in `said`, says in a process of its own."""
    whole = f"import json, sys, time\n{code}\nprint(json.dumps(said))"
    done = subprocess.run([sys.executable, "-c", whole], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_importing_everything_loads_nothing_heavy() -> None:
    # `served` is a file that MLflow loads where it serves a model.
    names = ", ".join(set(modules()) - {"pipeline.tracking.served"})
    said = run(f"import {names}\nsaid = {{name: 1 for name in {HEAVY} if name in sys.modules}}")
    assert said == {}


def test_the_commands_are_known() -> None:
    assert {"pipeline.fetch", "pipeline.preprocess", "pipeline.train", "pipeline.compare", "pipeline.ui"} <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_starts_at_once(command: str) -> None:
    # By the processor's clock: another process at work on the machine does not count.
    clock = f"start = time.process_time()\nimport {command}\nsaid = {{'seconds': time.process_time() - start}}"
    best = min(run(clock)["seconds"] for _ in range(3))
    assert best < IMPORT_SECONDS


# --- the reader of imports itself


def names(text: str, module: str = "pipeline.report.page") -> list[str]:
    return [found.name for found in read(module, text)]


def test_lazy_imports_count() -> None:
    assert names("def f():\n    if x:\n        import keras.ops") == ["keras.ops"]


def test_imports_for_type_checkers_do_not() -> None:
    assert names("if TYPE_CHECKING:\n    import keras\nimport json") == ["json"]


def test_a_name_in_a_module_is_not_a_module() -> None:
    assert names("from pipeline.errors import UserError\nfrom pipeline import console") == [
        "pipeline.errors",
        "pipeline.console",
    ]


def test_relative_imports_are_understood() -> None:
    assert names("from . import tables\nfrom ..results import result") == [
        "pipeline.report.tables",
        "pipeline.results.result",
    ]
    assert names("from . import store", "pipeline.tracking") == ["pipeline.tracking.store"]


def test_nothing_lies_at_the_top_that_does_not_belong_there() -> None:
    """What a measurement by hand leaves is committed all too easily."""
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = {name for name in listed.stdout.splitlines() if "/" not in name and not name.startswith(".")}
    expected = ["BENCHMARKS.md", "Makefile", "README.md", "compose.yaml", "dvc.lock", "dvc.yaml", "params.yaml"]
    locks = {"requirements.lock", "requirements-gpu.lock", "requirements-s3.lock"}
    assert files == {*expected, "pyproject.toml", *locks}
