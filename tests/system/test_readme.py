"""README.md: its numbers are those of the last results, its commands exist, and what trains is run with small values."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dvc.cli.parser import get_main_parser

from pipeline.config import commandline, published_rows
from tests.support import clone as clones
from tests.support.clone import CHECKOUT, Clone

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(480)]  # on a machine with much else to do

README = (CHECKOUT / "README.md").read_text("utf-8")
SNAPSHOT = CHECKOUT / "docs" / "results"
"""What README quotes; reports/ is what was last run here."""

SWEEP, OVERFITTING = "optimizers by width", "overfitting"

TRAINING = {
    "python -m pipeline.train -m optimizer=sgd,rmsprop,adam model.width=64,512 'seed=range(10)'": (
        "-m optimizer=sgd,adam model.width=8,16 'seed=range(2)'",
        8,
    ),
    "python -m pipeline.train -m model.dropout=0,0.2,0.5 dataset.train_size=2000,10000 'seed=range(10)'": (
        "-m model.dropout=0,0.2 model.width=8 dataset.train_size=300,1000 seed=0",
        4,
    ),
    "python -m pipeline.train -m 'model.hidden=[300],[300,100],[512,512]' 'seed=range(10)'": (
        "-m 'model.hidden=[8],[8,8]' seed=0",
        2,
    ),
    "python -m pipeline.train -m experiment=book 'seed=range(5)'": ("-m experiment=book 'seed=range(2)'", 2),
    "python -m pipeline.train -m sweep=smoke dataset=digits": ("-m sweep=smoke", 8),
}
"""The same with small values, for one epoch on digits: seconds instead of minutes. And how many runs that makes."""

IN_THE_CLONE = {
    "python -m pipeline.train --help": "What can be chosen",
    "python -m pipeline.compare runs": "the report is",
}
"""What each command says where it is run here, as it stands in the README."""

PAGES = {
    str(path.relative_to(CHECKOUT)): path.read_text("utf-8")
    for path in (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md")))
}


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"(?ms)^```(?:{language})\n(.*?)^```", page)


def commands(page: str) -> list[str]:
    """Those of shell blocks, without prompt and comment, a line that ends in a backslash with the next; and within sentences."""
    fenced = "\n".join(blocks("bash|console|sh|shell", page)).replace("\\\n", " ").splitlines()
    spans = re.findall(r"`([^`]+)`", re.sub(r"(?ms)^```.*?^```", "", page))
    lines = [re.sub(r"\s+#\s.*|^\s*#.*", "", line).removeprefix("$ ") for line in fenced]
    lines += [span for span in spans if re.match(r"(python -m|make|dvc) ", span)]
    return list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))


def results() -> list[str]:
    """The rows of the result table, as the snapshot has them."""
    table = pd.read_csv(SNAPSHOT / "comparison.csv")

    def row(one: Any, name: str) -> str:
        def spread(figure: str) -> str:
            mean, low, high = (100 * one[f"{figure}_{part}"] for part in ("mean", "low", "high"))
            return f"{mean:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")

        validation = one["val_accuracy_mean"]
        held_out = "none held out" if pd.isna(validation) else f"{100 * validation:.2f}"
        return f"| {name} | {one['n']} | {held_out} | {spread('test_accuracy')} | {spread('gap_accuracy')} |"

    book = table[table["experiment"].eq("book")].iloc[0]
    swept = table[table["experiment"].eq("optimizers by width")]
    best = swept.loc[swept.groupby("optimizer")["val_accuracy_mean"].idxmax()]
    ordered = best.sort_values("val_accuracy_mean", ascending=False)
    rows = [row(book, "the book's: rmsprop, width 512, all 60,000 training images")]
    return rows + [row(one, f"{one['optimizer']}, width {one['width']}") for _, one in ordered.iterrows()]


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 150
    assert len(README.split()) < 1_400


def test_the_results_are_those_of_the_snapshot() -> None:
    first = README.index("| the book's")
    assert README[first : README.index("\n\n", first)].splitlines() == results()


def contrasts(experiment: str, factor: str, figure: str) -> pd.Series:
    """The verdicts of the snapshot's contrasts of this factor and figure."""
    table = pd.read_csv(SNAPSHOT / "contrasts.csv", keep_default_na=False)
    rows = table[table["experiment"].eq(experiment) & table["contrast"].eq(factor) & table["figure"].eq(figure)]
    return rows["verdict"]


@pytest.mark.parametrize(
    ("experiment", "factor", "figure", "verdict", "said"),
    [
        (SWEEP, "model.width", "gap_accuracy", "larger", "the larger gap in {} of {} comparisons"),
        (OVERFITTING, "model.width", "gap_accuracy", "smaller", "the smaller gap in {} of {}."),
        (OVERFITTING, "model.width", "fit_loss", "smaller", "The narrower network, in {} of {} comparisons"),
        (OVERFITTING, "dataset.train_size", "fit_loss", "smaller", "the one with fewer images, in {} of {}."),
        (
            OVERFITTING,
            "model.width",
            "excess_loss",
            "smaller",
            "the narrower network the most, in {} of {} comparisons",
        ),
        (SWEEP, "model.width", "test_accuracy", "larger", "more accurate in {} of {} comparisons"),
    ],
)
def test_each_claim_is_that_of_the_contrasts(
    experiment: str, factor: str, figure: str, verdict: str, said: str
) -> None:
    found = contrasts(experiment, factor, figure)
    assert said.format(int(found.eq(verdict).sum()), len(found)) in " ".join(README.split())


def test_no_optimizer_generalises_worse_everywhere() -> None:
    """Nor better: the answer depends on width and size."""
    table = pd.read_csv(SNAPSHOT / "contrasts.csv", keep_default_na=False)
    rows = table[
        table["experiment"].eq(OVERFITTING) & table["contrast"].eq("optimizer") & table["figure"].eq("fit_loss")
    ]
    assert (rows.groupby(rows["a"].str.partition(",")[0])["verdict"].value_counts() < 6).all()
    assert "the answer depends on width and size" in " ".join(README.split())


def test_who_has_been_trained_too_long_is_counted() -> None:
    table = pd.read_csv(SNAPSHOT / "comparison.csv")
    over = table["excess_loss_mean"].gt(0.005)
    fitted = over[table["experiment"].eq(OVERFITTING)]
    assert f"{fitted.sum()} of {len(fitted)} networks have lost more than 0.005 nats" in " ".join(README.split())
    assert not over[table["experiment"].eq(SWEEP)].any()
    assert f"What {table['n'].sum()} runs show" in README


def test_the_tie_is_that_of_the_intervals() -> None:
    table = pd.read_csv(SNAPSHOT / "comparison.csv")
    swept = table[table["experiment"].eq(SWEEP)].sort_values("val_accuracy_mean", ascending=False)
    tied = swept[swept["val_accuracy_high"] >= swept["val_accuracy_low"].max()]
    names = [f"{row.optimizer}" for row in tied.itertuples() if row.width == 512]
    assert len(names) == len(tied) == 4
    assert f"Four are tied: {', '.join(names[:-1])} and {names[-1]} at width 512" in " ".join(README.split())


def test_the_book_is_within_the_published_band() -> None:
    table = pd.read_csv(SNAPSHOT / "comparison.csv")
    book = table[table["experiment"].eq("book")].iloc[0]
    [band] = [row for row in published_rows.rows() if row.id == "book"]
    assert band.low is not None
    assert band.high is not None
    assert book["n"] >= 3
    assert band.low <= 100 * book["test_accuracy_mean"] <= band.high


def test_what_trains_is_in_the_readme() -> None:
    assert {*TRAINING} <= {*commands(README)}
    assert {*IN_THE_CLONE} <= {command for page in PAGES.values() for command in commands(page)}


def complaints(command: str) -> list[str]:
    """What is wrong with a command, as far as it can be seen without running it."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word) or "make" in command]
    program, options = words[0], [word.partition("=")[0] for word in words if "=" in word]
    if program == "make":
        [known] = re.findall(r"(?m)^\.PHONY: (.*)$", (CHECKOUT / "Makefile").read_text("utf-8"))
        return [word for word in words[1:] if "=" not in word and word not in known.split()]
    if program == "dvc":
        return [] if get_main_parser().parse_args(words[1:]) else [command]
    if words[:3] == ["python", "-m", "pipeline.train"]:
        return commandline.check(words[3:], multirun="-m" in words[3:])
    if words[:2] == ["python", "-m"]:
        known = getattr(importlib.import_module(words[2]), "DEFAULTS", options)
        return [option for option in options if option not in known]
    return [name for name in words[1:2] if program == "python" and not (CHECKOUT / name).is_file()]


@pytest.mark.parametrize("command", dict.fromkeys(command for page in PAGES.values() for command in commands(page)))
def test_a_documented_command_is_one_that_there_is(command: str) -> None:
    assert complaints(command) == []


# --- run for real


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of the clone, with data and results and a store of its own: others count what is in the other one's."""
    path = tmp_path_factory.mktemp("readme") / "clone"
    return clones.after_repro(tmp_path_factory).copy(path, "mlflow.db*", "mlartifacts", "runs")


DRIVER = """
import contextlib, io, json, sys
from pipeline import train, tune

wanted, code = json.load(sys.stdin)
said = {}
for command, words in wanted.items():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = train.main(words)
    said[command] = {"status": status, "said": out.getvalue()}

import numpy
from mlflow.tracking import MlflowClient

client = MlflowClient("sqlite:///mlflow.db")
experiments = [one.experiment_id for one in client.search_experiments()]
parent = next(run for run in client.search_runs(experiments) if "winner.run_id" in run.data.tags)
scope = {}
exec(code.replace("<run id>", parent.data.tags["winner.run_id"]), scope)
images = numpy.load("data/processed/digits/test_images.npy")
said["python"] = numpy.asarray(scope["model"].predict(images)).sum(axis=1).tolist()
with contextlib.redirect_stdout(io.StringIO()):
    tune.main("dataset=digits model.width=8 training.epochs=1 optimizers=sgd rates=3 choosing_seeds=2 final_seeds=2".split())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def trained(clone: Clone) -> dict[str, Any]:
    """What the training commands say and the Python code gives, in one process: TensorFlow is imported once."""
    small = {
        command: shlex.split(f"{words} dataset=digits training.epochs=1") for command, (words, _) in TRAINING.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=clone.path,
        env=clones.environment() | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
        input=json.dumps([small, "\n".join(blocks("python"))]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINING)
def test_it_trains(trained: dict[str, Any], command: str) -> None:
    assert trained[command]["status"] == 0
    runs = TRAINING[command][1]
    assert f"{runs} of {runs} runs finished" in trained[command]["said"]


@pytest.mark.slow
def test_the_model_is_loaded_and_predicts(trained: dict[str, Any]) -> None:
    assert trained["python"] == pytest.approx([1.0] * 360, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("command", IN_THE_CLONE)
def test_it_says_what_it_should(clone: Clone, trained: dict[str, Any], command: str) -> None:
    assert IN_THE_CLONE[command] in clone.run(command)
    assert clone.run("git status --porcelain") == ""


@pytest.mark.slow
def test_run_runs_the_pipeline(clone: Clone) -> None:
    """`make run`, once the set-up is done."""
    clone.restore()
    assert "the report is reports/index.html" in clone.run("python scripts/run.py")


# --- in a shell


def bash(script: str, folder: Path = CHECKOUT) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=clones.environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_environment_can_be_entered() -> None:
    activate = Path(sys.prefix) / "bin" / "activate"
    if not activate.exists():
        pytest.skip("not in a virtual environment")
    assert bash(f"source '{activate}' && command -v python") == [str(activate.with_name("python"))]


COMPLETE = """
eval "$(gap-train -sc install=bash)"
function=$(complete -p gap-train | sed -E 's/.*-F ([^ ]+).*/\\1/')
COMP_LINE='gap-train optimizer=ad' COMP_CWORD=1
COMP_POINT=${#COMP_LINE} COMP_WORDS=($COMP_LINE)
$function gap-train optimizer=ad gap-train
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_words_are_completed() -> None:
    if not (Path(sys.executable).parent / "gap-train").exists():
        pytest.skip("the project is not installed in this environment")
    if " " in sys.executable:
        pytest.skip("Hydra's completion splits the path of a program at its spaces")
    assert {"optimizer=adam", "optimizer=adamw"} <= {*bash(COMPLETE)}
