"""dvc.yaml matches the source: DVC does not follow imports, so only these tests notice a wrong list of deps."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from pipeline.config import commandline
from tests.support.imports import CHECKOUT, PACKAGES, closure, modules, path_of

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text("utf-8"))["stages"]

in_each_stage = pytest.mark.parametrize("stage", STAGES)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


PARAMS = flat(yaml.safe_load((CHECKOUT / "params.yaml").read_text("utf-8")))


def filled(text: str) -> str:
    return re.sub(r"\$\{([\w.]+)}", lambda match: str(PARAMS[match[1]]), text)


def names(entries: list[Any]) -> list[str]:
    """Return the paths of a list in dvc.yaml; an entry is a path, or a mapping from a path to its settings."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outs(stage: str) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in names(STAGES[stage].get(kind, []))]


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def composes(stage: str) -> bool:
    """Whether the stage composes a configuration with Hydra."""
    return STAGES[stage]["cmd"].startswith("python -m pipeline.train ")


def used(stage: str) -> set[str]:
    """Return the values of params.yaml that the stage's command uses, directly or through a file of conf/sweep/."""
    command = STAGES[stage]["cmd"]
    files = [CHECKOUT / f"conf/sweep/{name}.yaml" for name in re.findall(r" sweep=(\w+)", command)]
    swept = [name for file in files for name in re.findall(r"\$\{params:([a-z_.]+)}", file.read_text("utf-8"))]
    return {*re.findall(r"\$\{([\w.]+)}", command), *swept}


def source(stage: str) -> set[str]:
    """Return the non-empty files that the stage's command imports."""
    found = closure(STAGES[stage]["cmd"].split()[2])
    if composes(stage):
        # Hydra imports every module of this package.
        found |= {name for name in modules() if name.startswith("hydra_plugins.")}
    return {path_of(name) for name in found if modules()[name].stat().st_size}


@in_each_stage
def test_the_deps_are_what_is_imported_and_read(stage: str) -> None:
    deps = names(STAGES[stage]["deps"])
    code = [dep for dep in deps if dep.partition("/")[0] in PACKAGES]
    assert [path for path in sorted(source(stage)) if not any(covers(dep, path) for dep in deps)] == []
    assert [dep for dep in code if not any(covers(dep, path) for path in source(stage))] == []
    assert ("conf" in deps) == composes(stage)
    earlier = [out for other in list(STAGES)[: list(STAGES).index(stage)] for out in outs(other)]
    assert [dep for dep in deps if dep not in earlier and not (CHECKOUT / filled(dep)).exists()] == []


@in_each_stage
def test_the_params_are_those_of_the_command_and_its_words_are_valid(stage: str) -> None:
    assert set(STAGES[stage].get("params", [])) == {name.partition(".")[0] for name in used(stage)}
    if composes(stage):
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", filled(STAGES[stage]["cmd"]))[3:]]
        assert words[0] == "--multirun"
        assert commandline.check(words, multirun=True) == []


def test_params_are_all_used() -> None:
    assert {name for stage in STAGES for name in used(stage)} == set(PARAMS)


@pytest.mark.fault("git status after a run")
def test_what_commands_make_is_in_no_folder_that_git_tracks() -> None:
    """After a run, `git status` lists only dvc.lock and, from the last stage, summary/, which DVC shows."""
    made = ["data", "reports", "results", "runs", "multirun", "outputs", "mlflow.db", "mlartifacts"]
    listed = subprocess.run(["git", "ls-files", "--", *made], cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository here")
    assert listed.stdout == ""
    entries = [out for stage in STAGES for kind in ("outs", "metrics") for out in STAGES[stage].get(kind, [])]
    uncached = names([out for out in entries if "cache" in str(out)])
    assert {path.partition("/")[0] for path in uncached} == {"summary"}, (
        "what neither git nor DVC's cache has cannot be compared with that of another commit"
    )
    paths = [f"{name}/any" for name in made] + [filled(out) for out in names(entries) if out not in uncached]
    ignored = subprocess.run(["git", "check-ignore", "--", *paths], cwd=CHECKOUT, capture_output=True, text=True)
    assert ignored.stdout.splitlines() == paths
