"""docs/*.ipynb: they run, their outputs match their code, and each number in their prose is shown by a cell.

After a change to a cell: python scripts/run_notebook.py docs/tour.ipynb
"""

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from pipeline.cli.console import PROJECT
from scripts import run_notebook
from tests.conftest import ALL
from tests.support import factory

DOCS = PROJECT / "docs"
SMALL = {"TOUR_TRAIN_SIZE": "1000", "TOUR_EPOCHS": "1"}
UNTRAINED = [2, 3, 7, 8, 9]
"""Sections of the tour whose outputs do not depend on the network trained in section 1."""

PLAIN = {"2", "9", "32", "95"}
"""Numbers in the prose that no cell shows: digits used as names, the bits of a float32 and the level of intervals."""

NUMBER = re.compile(r"(?<![\w.])-?\d[\d,_]*(?:\.\d+)?(?:e[-+]?\d+)?")


def sections(notebook: Any) -> list[list[Any]]:
    """Return the cells of each section; number 0 is what precedes the first heading."""
    found: list[list[Any]] = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            found.append([])
        found[-1].append(cell)
    return found


def code(cells: list[Any]) -> list[Any]:
    return [cell for cell in cells if cell.cell_type == "code"]


def prose(cells: list[Any]) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def printed(cells: list[Any]) -> str:
    """Return the outputs of the cells as text."""
    outputs = [output for cell in code(cells) for output in cell.outputs]
    return "\n".join(output["text"] if "text" in output else output["data"]["text/plain"] for output in outputs)


def numbers(text: str) -> list[str]:
    return [found.strip(",_").replace(",", "").replace("_", "") for found in NUMBER.findall(text)]


COMMITTED = {name: sections(nbformat.read(DOCS / f"{name}.ipynb", as_version=4)) for name in ("tour", "analysis")}
CELLS = {name: [cell for section in parts for cell in section] for name, parts in COMMITTED.items()}
TOUR = COMMITTED["tour"]

each_notebook = pytest.mark.parametrize("name", COMMITTED)
each_section = pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, parts in COMMITTED.items() for number in range(1, len(parts))]
)


# --- the committed outputs


@each_notebook
def test_every_cell_that_shows_something_has_its_output_and_none_a_warning(name: str) -> None:
    shows = [cell for cell in code(CELLS[name]) if isinstance(ast.parse(cell.source).body[-1], ast.Expr)]
    assert len(shows) >= len(COMMITTED[name])
    settings = code(COMMITTED[name][0])
    assert [cell.source for cell in shows if cell not in settings and not printed([cell]).strip()] == []
    outputs = [output for cell in code(CELLS[name]) for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "execute_result", "display_data"}
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}


@each_section
def test_the_prose_has_only_numbers_that_its_section_shows(name: str, number: int) -> None:
    # Another test checks the README's row of the book's network against the last comparison.
    readme = (PROJECT / "README.md").read_text("utf-8")
    book = next(line for line in readme.splitlines() if line.startswith("| the book's"))
    section = COMMITTED[name][number]
    settings = "\n".join(cell.source for cell in code(COMMITTED[name][0]))
    shown = [printed(section), *(cell.source for cell in code(section)), settings, book]
    said = re.sub(r"(?ms)^```.*?^```|^#.*?$|`[^`]*`|\]\([^)]*\)|section \d+", "", prose(section))
    assert sorted(set(numbers(said)) - set(numbers("\n".join(shown))) - PLAIN) == []


# --- the outputs of a new run


def run(name: str, **environment: str) -> list[list[Any]]:
    # One thread: the matrix products are small, and other tests run in parallel.
    now = sections(run_notebook.run(DOCS / f"{name}.ipynb", OPENBLAS_NUM_THREADS="1", **environment))
    assert len(now) == len(COMMITTED[name])
    return now


def near(committed: str, now: str, units: int) -> bool:
    """Whether two numbers differ by at most `units` in the last place; numbers such as 3e-09 are rounding errors."""
    if "e" in committed or "e" in now:
        return max(abs(float(committed)), abs(float(now))) < 1e-4
    places = len(committed.partition(".")[2])
    allowed = units if places or units > 2 else 0
    return abs(float(committed) - float(now)) <= (allowed + 0.5) * 10.0**-places


def assert_alike(committed: list[Any], now: list[Any], units: int) -> None:
    """Assert that the outputs have the same words and nearly the same numbers."""
    first, second = printed(committed), printed(now)
    assert re.sub(r"\s+", " ", NUMBER.sub("#", first)) == re.sub(r"\s+", " ", NUMBER.sub("#", second))
    pairs = zip(numbers(first), numbers(second), strict=True)
    assert [pair for pair in pairs if not near(*pair, units)] == []


@pytest.mark.timeout(480)
def test_the_outputs_of_the_tour_are_those_of_mnist(mnist_folder: Path) -> None:
    """Unless TESTS=all, training is short, and sections that depend on the network are run but not compared."""
    now = run("tour", TOUR_DATA=str(mnist_folder), **({} if ALL else SMALL))
    for number in range(1, len(TOUR)):
        if number in UNTRAINED:
            assert_alike(TOUR[number], now[number], units=2)
        elif ALL:
            # Between processors, results of trained networks differed by up to 5 units, those of one hard image by 60.
            assert_alike(TOUR[number], now[number], units=100)


def test_the_analysis_runs_on_a_folder_of_results(tmp_path: Path) -> None:
    """The folder includes a failed and a diverged run."""
    runs, winner = factory.sweep_runs()
    factory.write_experiment(tmp_path / "sweep", runs, winner)
    now = run("analysis", ANALYSIS_RUNS=str(tmp_path / "sweep"))
    assert "nadam" in printed(now[2])
    assert all(printed([cell]) for section in now[1:] for cell in code(section)[-1:])
