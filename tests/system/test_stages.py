"""dvc.yaml against the source: DVC does not follow imports, so nothing else says when a list of deps is wrong."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from pipeline.config import commandline
from tests.support.imports import CHECKOUT, PACKAGES, closure, modules, path_of, upstream

PIPELINE = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text("utf-8"))
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]

PARAMS = {
    "dataset": "digits",
    "train.experiment": "book",
    "train.seeds": 2,
    "sweep.optimizers": "sgd,adam",
    "sweep.widths": "8,16",
    "sweep.seeds": 3,
    "sweep.epochs": 4,
    "overfitting.optimizers": "momentum,adam",
    "overfitting.widths": "16,64",
    "overfitting.train_sizes": "300,1000",
    "overfitting.seeds": 5,
}
"""A value for each entry of params.yaml, none like another."""


in_each_stage = pytest.mark.parametrize("stage", STAGES)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def filled(text: str) -> str:
    return re.sub(r"\$\{([\w.]+)}", lambda match: str(PARAMS[match[1]]), text)


def names(entries: list[Any]) -> list[str]:
    """Paths of a list in dvc.yaml, in which one may stand with its settings or without."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def deps(stage: str) -> list[str]:
    return names(STAGES[stage]["deps"])


def outs(stage: str) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in names(STAGES[stage].get(kind, []))]


def module_of(stage: str) -> str:
    return STAGES[stage]["cmd"].split()[2]


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def source(stage: str) -> set[str]:
    """Files with something in them among those that the stage's command imports."""
    found = closure(module_of(stage))
    if composes(stage):
        # Hydra imports what it finds under this name.
        found |= {name for name in modules() if name.startswith("hydra_plugins.")}
    return {path_of(name) for name in found if modules()[name].stat().st_size}


def composes(stage: str) -> bool:
    """Whether Hydra puts a configuration together for it."""
    return "hydra" in upstream(module_of(stage))


@in_each_stage
def test_each_file_that_is_imported_is_a_dep(stage: str) -> None:
    assert [path for path in sorted(source(stage)) if not any(covers(dep, path) for dep in deps(stage))] == []


@in_each_stage
def test_each_dep_is_imported(stage: str) -> None:
    code = [dep for dep in deps(stage) if dep.partition("/")[0] in PACKAGES]
    assert code
    assert [dep for dep in code if not any(covers(dep, path) for path in source(stage))] == []


@in_each_stage
def test_conf_is_a_dep_where_hydra_composes(stage: str) -> None:
    assert ("conf" in deps(stage)) == composes(stage)


@in_each_stage
def test_each_dep_is_there_or_made_by_an_earlier_stage(stage: str) -> None:
    earlier = [out for other in list(STAGES)[: list(STAGES).index(stage)] for out in outs(other)]
    assert [dep for dep in deps(stage) if dep not in earlier and not (CHECKOUT / filled(dep)).exists()] == []
    assert [dep for dep in deps(stage) if dep in earlier and dep.partition("/")[0] in (*PACKAGES, "conf")] == []


def test_params_are_all_used() -> None:
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text("utf-8"))
    assert set(flat(params)) == set(PARAMS)
    assert {name for stage in STAGES for name in re.findall(r"\$\{([\w.]+)}", STAGES[stage]["cmd"])} == set(PARAMS)


@in_each_stage
def test_the_stage_lists_the_params_in_its_command(stage: str) -> None:
    used = {name.partition(".")[0] for name in re.findall(r"\$\{([\w.]+)}", STAGES[stage]["cmd"])}
    assert set(STAGES[stage].get("params", [])) == used


@pytest.mark.parametrize("stage", ["train", "sweep", "overfitting"])
def test_the_words_of_training_are_valid(stage: str) -> None:
    params = flat(yaml.safe_load((CHECKOUT / "params.yaml").read_text("utf-8")))
    command = re.sub(r"\$\{([\w.]+)}", lambda match: str(params[match[1]]), STAGES[stage]["cmd"])
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", command)[3:]]
    assert words[0] == "--multirun"
    assert commandline.check(words, multirun=True) == []


@pytest.mark.fault("what a run makes, in git")
def test_what_commands_make_is_in_no_folder_that_git_tracks() -> None:
    """So that no command leaves `git status` with more than dvc.lock."""
    made = ["data", "reports", "results", "runs", "multirun", "outputs", "mlflow.db", "mlartifacts"]
    listed = subprocess.run(["git", "ls-files", "--", *made], cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository here")
    assert listed.stdout == ""
    paths = [f"{name}/any" for name in made] + [filled(out) for stage in STAGES for out in outs(stage)]
    ignored = subprocess.run(["git", "check-ignore", "--", *paths], cwd=CHECKOUT, capture_output=True, text=True)
    assert ignored.stdout.splitlines() == paths
    entries = [entry for stage in STAGES.values() for kind in ("outs", "metrics") for entry in stage.get(kind, [])]
    uncached = [entry for entry in entries if isinstance(entry, dict) and {"cache": False} in entry.values()]
    assert uncached == [], "what neither git nor DVC's cache has cannot be compared with that of another commit"


# --- plots

PLOTS = [(entry, {}) if isinstance(entry, str) else next(iter(entry.items())) for entry in PIPELINE["plots"]]


@pytest.mark.parametrize(("title", "plot"), PLOTS, ids=[title for title, _ in PLOTS])
def test_what_is_drawn_is_made(title: str, plot: dict[str, Any]) -> None:
    made = [out for stage in STAGES for out in outs(stage)]
    assert [path for path in plot.get("y", [title]) if path not in made] == []
