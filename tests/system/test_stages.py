"""dvc.yaml against the source: DVC does not follow imports, so nothing else says when a list of deps is wrong."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import commandline
from tests.support.imports import CHECKOUT, PACKAGES, closure, modules, path_of, upstream

PIPELINE = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text("utf-8"))
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]
TEMPLATES = CHECKOUT / ".dvc" / "plots"

PARAMS = {
    "dataset": "digits",
    "train.experiment": "book",
    "train.seeds": 2,
    "sweep.optimizers": "sgd,adam",
    "sweep.widths": "8,16",
    "sweep.seeds": 3,
    "sweep.epochs": 4,
}
"""A value for each entry of params.yaml, none like another."""

COMMANDS = {
    "fetch": "python -m pipeline.fetch dataset=digits",
    "preprocess": "python -m pipeline.preprocess dataset=digits",
    "train": (
        "python -m pipeline.train --multirun experiment=book dataset=digits 'seed=range(2)'"
        " paths.results=results/baseline"
    ),
    "sweep": (
        "python -m pipeline.train --multirun dataset=digits optimizer=sgd,adam model.width=8,16 'seed=range(3)'"
        " training.epochs=4 'question=optimizers by width' paths.results=results/sweep"
    ),
    "compare": "python -m pipeline.compare results/baseline results/sweep",
}

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
def test_no_dep_lies_in_another(stage: str) -> None:
    assert [(one, other) for one in deps(stage) for other in deps(stage) if one != other and covers(one, other)] == []
    assert len(deps(stage)) == len(set(deps(stage)))


@in_each_stage
def test_conf_is_a_dep_where_hydra_composes(stage: str) -> None:
    assert ("conf" in deps(stage)) == composes(stage)


def test_what_is_declared_is_a_dep_of_the_comparison() -> None:
    assert [stage for stage in STAGES if "conf/comparison.yaml" in deps(stage)] == ["compare"]


def test_hydra_composes_what_trains() -> None:
    assert [stage for stage in STAGES if composes(stage)] == ["train", "sweep"]


@in_each_stage
def test_each_dep_is_there_or_made_by_an_earlier_stage(stage: str) -> None:
    earlier = [out for other in list(STAGES)[: list(STAGES).index(stage)] for out in outs(other)]
    assert [dep for dep in deps(stage) if dep not in earlier and not (CHECKOUT / dep).exists()] == []
    assert [dep for dep in deps(stage) if dep in earlier and dep.partition("/")[0] in (*PACKAGES, "conf")] == []


def test_everything_made_is_needed_or_looked_at() -> None:
    needed = {dep for stage in STAGES for dep in deps(stage)}
    left = [out for stage in STAGES for out in outs(stage) if out not in needed]
    assert {path.partition("/")[0] for path in left} == {"data", "reports"}
    assert [path for path in left if path.startswith("data/")] == [
        "data/samples/${dataset}.png",
        "data/cards/${dataset}.json",
    ]


@in_each_stage
def test_the_command_is_the_documented_one(stage: str) -> None:
    assert filled(STAGES[stage]["cmd"]) == COMMANDS[stage]


def test_no_stage_is_undocumented() -> None:
    assert list(STAGES) == list(COMMANDS)


def test_params_are_all_used() -> None:
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text("utf-8"))
    assert set(flat(params)) == set(PARAMS)
    assert {name for stage in STAGES for name in re.findall(r"\$\{([\w.]+)}", STAGES[stage]["cmd"])} == set(PARAMS)


@in_each_stage
def test_the_stage_lists_the_params_in_its_command(stage: str) -> None:
    used = {name.partition(".")[0] for name in re.findall(r"\$\{([\w.]+)}", STAGES[stage]["cmd"])}
    assert set(STAGES[stage].get("params", [])) == used


@pytest.mark.parametrize("stage", ["train", "sweep"])
def test_the_words_of_training_are_valid(stage: str) -> None:
    params = flat(yaml.safe_load((CHECKOUT / "params.yaml").read_text("utf-8")))
    command = re.sub(r"\$\{([\w.]+)}", lambda match: str(params[match[1]]), STAGES[stage]["cmd"])
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", command)[3:]]
    assert words[0] == "--multirun"
    assert commandline.check(words, multirun=True) == []


@pytest.mark.parametrize("stage", ["fetch", "preprocess"])
def test_the_stage_knows_its_words(stage: str) -> None:
    defaults = import_module(module_of(stage)).DEFAULTS
    assert {word.partition("=")[0] for word in COMMANDS[stage].split()[3:]} <= set(defaults)


@in_each_stage
def test_the_stage_says_what_it_does(stage: str) -> None:
    assert STAGES[stage]["desc"].endswith(".")


@in_each_stage
def test_no_two_stages_make_one_file(stage: str) -> None:
    others = [out for other in STAGES if other != stage for out in outs(other)]
    assert [out for out in outs(stage) for other in others if covers(out, other) or covers(other, out)] == []


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


def test_metrics_are_files_that_dvc_reads_as_numbers() -> None:
    """A table in CSV it takes for YAML: a number of 10,000 letters in `dvc metrics diff`."""
    assert {Path(path).suffix for stage in STAGES.values() for path in names(stage.get("metrics", []))} == {".json"}


# --- plots

PLOTS = [(entry, {}) if isinstance(entry, str) else next(iter(entry.items())) for entry in PIPELINE["plots"]]
DRAWN = [(title, plot) for title, plot in PLOTS if plot]


@pytest.mark.parametrize(("title", "plot"), PLOTS, ids=[title for title, _ in PLOTS])
def test_what_is_drawn_is_made(title: str, plot: dict[str, Any]) -> None:
    made = [out for stage in STAGES for out in outs(stage)]
    assert [path for path in plot.get("y", [title]) if path not in made] == []


@pytest.mark.parametrize(("title", "plot"), DRAWN, ids=[title for title, _ in DRAWN])
def test_a_plot_names_its_axes(title: str, plot: dict[str, Any]) -> None:
    assert all(plot[key] for key in ("x", "y", "x_label", "y_label"))
    assert (TEMPLATES / f"{plot['template']}.json").is_file()


def test_each_template_is_used() -> None:
    assert {path.stem for path in TEMPLATES.iterdir()} == {plot["template"] for _, plot in DRAWN}


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.stem)
def test_a_template_takes_what_dvc_has_to_say(template: Path) -> None:
    text = template.read_text("utf-8")
    json.loads(text)
    anchors = set(re.findall(r"<DVC_METRIC_(\w+)>", text))
    assert anchors == {"DATA", "TITLE", "X", "X_LABEL", "Y", "Y_LABEL"}
