"""README.md and docs/: their numbers match the results snapshot; their commands, options and faults exist."""

import importlib
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml
from dvc.cli.parser import get_main_parser

from hydra_plugins.batched_launcher.batched_launcher import BatchedSlurmConf
from pipeline.config import commandline
from pipeline.statistics import published
from tests.support import clone as clones
from tests.support.clone import CHECKOUT

README = (CHECKOUT / "README.md").read_text("utf-8")
SNAPSHOT = CHECKOUT / "docs" / "results"
"""The results that README.md quotes; reports/ holds those of the last run in this checkout."""

SWEEP, OVERFITTING = "optimizers by width", "overfitting"

PAGES = {
    str(path.relative_to(CHECKOUT)): path.read_text("utf-8")
    for path in (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md")))
    if path.name != "extending.md"  # its commands need its example files: tests/system/test_extending.py
}
for path in (CHECKOUT / "docs").glob("*.ipynb"):
    cells = nbformat.read(path, as_version=4).cells
    PAGES[path.name] = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"(?ms)^```(?:{language})\n(.*?)^```", page)


def commands(page: str) -> list[str]:
    """Return the commands in shell blocks (continued lines joined, no prompts or comments) and in inline code."""
    fenced = "\n".join(blocks("bash|console|sh|shell", page)).replace("\\\n", " ").splitlines()
    spans = re.findall(r"`([^`]+)`", re.sub(r"(?ms)^```.*?^```", "", page))
    lines = [re.sub(r"\s+#\s.*|^\s*#.*", "", line).removeprefix("$ ") for line in fenced]
    lines += [span for span in spans if re.match(r"(python -m|make|dvc) ", span)]
    return list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))


def results() -> list[str]:
    """Build the rows of the result table from the snapshot."""
    table = pd.read_csv(SNAPSHOT / "comparison.csv")

    def row(entry: Any, name: str) -> str:
        def spread(metric: str) -> str:
            mean, low, high = (100 * entry[f"{metric}_{part}"] for part in ("mean", "low", "high"))
            return f"{mean:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")

        validation = entry["val_accuracy_mean"]
        held_out = "none held out" if pd.isna(validation) else f"{100 * validation:.2f}"
        return f"| {name} | {entry['n']} | {held_out} | {spread('test_accuracy')} | {spread('gap_accuracy')} |"

    book = table[table["experiment"].eq("book")].iloc[0]
    swept = table[table["experiment"].eq("optimizers by width")]
    best = swept.loc[swept.groupby("optimizer")["val_accuracy_mean"].idxmax()]
    ordered = best.sort_values("val_accuracy_mean", ascending=False)
    rows = [row(book, "the book's: rmsprop, width 512, all 60,000 training images")]
    return rows + [row(entry, f"{entry['optimizer']}, width {entry['width']}") for _, entry in ordered.iterrows()]


def test_the_results_are_those_of_the_snapshot() -> None:
    first = README.index("| the book's")
    assert README[first : README.index("\n\n", first)].splitlines() == results()


def contrasts(experiment: str, factor: str, metric: str) -> pd.Series:
    """Return the verdicts of the snapshot's contrasts for this experiment, factor and metric."""
    table = pd.read_csv(SNAPSHOT / "contrasts.csv", keep_default_na=False)
    rows = table[table["experiment"].eq(experiment) & table["contrast"].eq(factor) & table["figure"].eq(metric)]
    return rows["verdict"]


@pytest.mark.parametrize(
    ("experiment", "factor", "metric", "verdict", "said"),
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
            "the narrower network rises the most, in {} of {} comparisons",
        ),
        (SWEEP, "model.width", "test_accuracy", "larger", "more accurate in {} of {} comparisons"),
    ],
)
def test_each_claim_is_that_of_the_contrasts(
    experiment: str, factor: str, metric: str, verdict: str, said: str
) -> None:
    found = contrasts(experiment, factor, metric)
    assert said.format(int(found.eq(verdict).sum()), len(found)) in " ".join(README.split())


def test_who_has_been_trained_too_long_is_counted() -> None:
    table = pd.read_csv(SNAPSHOT / "comparison.csv")
    over = table["excess_loss_mean"].gt(0.005)
    fitted = over[table["experiment"].eq(OVERFITTING)]
    assert f"{fitted.sum()} of {len(fitted)} networks end more than 0.005 nats" in " ".join(README.split())
    assert not over[table["experiment"].eq(SWEEP)].any()
    assert f"What {table['n'].sum()} runs show" in README


def test_the_tie_is_that_of_the_intervals() -> None:
    table = pd.read_csv(SNAPSHOT / "comparison.csv")
    swept = table[table["experiment"].eq(SWEEP)].sort_values("val_accuracy_mean", ascending=False)
    tied = swept[swept["val_accuracy_high"] >= swept["val_accuracy_low"].max()]
    *names, last = (row.optimizer for row in tied.itertuples() if row.width == 512)
    [other] = (row.optimizer for row in tied.itertuples() if row.width == 256)
    assert len(names) + 2 == len(tied) == 5
    said = f"Five are tied: {', '.join(names)} and {last} at width 512, and {other} at width 256."
    assert said in " ".join(README.split())


def test_the_book_is_within_the_published_band() -> None:
    table = pd.read_csv(SNAPSHOT / "comparison.csv")
    book = table[table["experiment"].eq("book")].iloc[0]
    [band] = [row for row in published.rows() if row.id == "book"]
    assert book["n"] >= 3
    assert band.low <= 100 * book["test_accuracy_mean"] <= band.high


def complaints(command: str) -> list[str]:
    """Return what is wrong with a command, as far as can be checked without running it."""
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


def test_a_run_in_a_command_is_the_only_one_of_its_name_after_make_run() -> None:
    """The networks of `overfitting` also have names without their training size, and the default sweep has the same networks."""
    swept = yaml.safe_load((CHECKOUT / "conf/sweep/overfitting.yaml").read_text("utf-8"))["hydra"]["sweeper"]["params"]
    typed = [
        line
        for page in PAGES.values()
        for line in commands(page)
        if re.search(r"pipeline\.(reproduce|lineage|diff) ", line)
    ]
    named = {name for line in typed for name in re.findall(r"\b([a-z]+)-w\d+-d1-s\d+", line)}
    assert named
    assert not named & {*swept["optimizer"].split(",")}


def test_words_are_completed() -> None:
    """Send the query of the shell function that `gap-train -sc install=bash` installs."""
    command = [sys.executable, "-c", "from pipeline.train import cli; cli()", "-sc", "query=bash"]
    typed = clones.environment() | {"COMP_LINE": "gap-train optimizer=ad", "COMP_CWORD": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=typed, capture_output=True, text=True, check=True)
    assert {"optimizer=adam", "optimizer=adamw"} <= {*done.stdout.split()}


# --- docs/scaling.md, docs/faults.md


def test_each_option_of_the_launcher_for_slurm_is_on_its_page() -> None:
    options = {field.name for field in fields(BatchedSlurmConf)} - {"_target_", "_convert_"}
    assert {name for name in options if f"`{name}`" not in PAGES["docs/scaling.md"]} == set()


def test_each_fault_that_is_injected_has_its_row() -> None:
    table = PAGES["docs/faults.md"].partition("<!-- rows -->")[2].partition("<!-- /rows -->")[0]
    rows = re.findall(r"(?m)^\| (?!fault |---)(.+?) \| ", table)
    tests = [path.read_text("utf-8") for path in (CHECKOUT / "tests").rglob("test_*.py")]
    assert sorted(rows) == sorted({row for text in tests for row in re.findall(r'mark\.fault\("([^"]+)"\)', text)})
