"""docs/tour.md: every command in it is run, and every number in it is one that a command gave."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as pictures

from pipeline import console
from pipeline.console import PROJECT
from pipeline.errors import UserError
from pipeline.tour import __main__ as tour
from pipeline.tour import page
from pipeline.tour.material import Material
from pipeline.tour.page import Block
from pipeline.tour.stations import STATIONS
from tests.training.command import as_before

pytestmark = pytest.mark.timeout(480)  # all of the page is walked at once, on a machine with much else to do

PAGE = page.PAGE.read_text("utf-8")
BLOCKS = page.blocks(PAGE)

ELSEWHERE = {
    "make setup": "tests/test_setup.py::test_the_first_setup_installs_by_hash_and_the_project_without_network",
    "source .venv/bin/activate": "tests/test_readme.py::test_the_environment_can_be_entered",
    "python -m pipeline.fetch": "tests/conftest.py::mnist",
    "python -m pipeline.preprocess": "tests/conftest.py::mnist",
    "python -m pipeline.tour": "tests/tour/test_page.py::test_without_a_station_all_are_listed",
    "python -m pipeline.compare runs": "tests/test_readme.py::test_it_says_what_it_should",
}
"""Commands below which no output stands, and what runs them."""

PLAIN = {"2", "3", "9", "32"}
"""Numbers of the sentences that no command gives: the chapter, digits by their names, bits of a float32."""


@dataclass
class Walked:
    """What each block's command said, and where the pictures are."""

    said: list[str]
    here: Material


@pytest.fixture(scope="module")
def here(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Material:
    """MNIST, fetched and preprocessed, and folders for what the tour leaves."""
    folder = tmp_path_factory.mktemp("tour")
    # Compiling with XLA would take the tests longer than all the rest; the bits differ, the figures within tolerance not.
    return Material(mnist / "raw", mnist / "processed", folder / "runs", folder / "pictures", ("device.xla=false",))


@pytest.fixture(scope="module")
def walked(here: Material) -> Walked:
    """Every command of the page, in the order in which they stand."""
    with as_before(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        return Walked([page.run(block.command, here) for block in BLOCKS], here)


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(BLOCKS)), ids=[block.command.split(" ", 2)[2] for block in BLOCKS])
def test_a_command_says_what_stands_below_it(walked: Walked, place: int) -> None:
    assert page.difference(BLOCKS[place], walked.said[place]) is None


def test_every_station_is_on_the_page() -> None:
    assert [block.words[3] for block in BLOCKS if block.words[:3] == page.TOUR] == [*STATIONS]


def test_every_command_is_run() -> None:
    fenced = [line for block in re.findall(r"(?ms)^```bash\n(.*?)^```", PAGE) for line in block.splitlines()]
    prose = re.sub(r"(?ms)^```.*?^```", "", PAGE)
    inline = re.findall(r"`((?:python -m|make|dvc|source) ?[^`]*)`", prose)
    assert sorted({*fenced, *inline} - {block.command for block in BLOCKS}) == sorted(ELSEWHERE)


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_runs_a_command_elsewhere_is_there(command: str) -> None:
    path, _, name = ELSEWHERE[command].partition("::")
    assert re.search(rf"^def {name}\(", (PROJECT / path).read_text("utf-8"), re.MULTILINE)


def test_the_prose_has_no_number_that_no_command_gave() -> None:
    prose = re.sub(r"(?ms)^```.*?^```|`[^`]*`|\]\([^)]*\)|^#.*?$", "", PAGE)
    # The README's row of the book's network is held against the last comparison by a test of its own.
    readme = (PROJECT / "README.md").read_text("utf-8")
    given = "\n".join(
        [*(block.command + "\n" + block.said for block in BLOCKS), readme[readme.index("| the book's") :]]
    )
    number = re.compile(r"\d[\d,]*(?:\.\d+)?")
    known = {found.replace(",", "") for found in number.findall(given)} | PLAIN
    assert [found for found in number.findall(prose) if found.strip(",").replace(",", "") not in known] == []


CURES = {"model.width=64": "w64", "model.dropout=0.2": "w512", "training.epochs=3": "w512"}
"""Words that the page's last sentences tell the reader to try, and how the run's name then goes on."""

MORE_SEEDS = "'seed=range(10)'"


def test_each_word_that_the_reader_is_told_to_add_is_tried() -> None:
    prose = re.sub(r"(?ms)^```.*?^```", "", PAGE)
    assert sorted(set(re.findall(r"`('?[a-z.]+=[^`]*)`", prose))) == sorted([MORE_SEEDS, *CURES])


@pytest.mark.slow
@pytest.mark.parametrize("word", CURES)
def test_a_word_against_overfitting(walked: Walked, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    [first] = [block for block in BLOCKS if block.words[:3] == page.TRAIN and "-m" not in block.words[3:]]
    with as_before():
        said = page.run(f"{first.command} {word}", walked.here)
    assert f"rmsprop-{CURES[word]}-d1-s0" in said
    assert re.search(r"gap −?\d\.\d\d points", said)
    assert ("epoch 3/3" in said) == (word == "training.epochs=3")


@pytest.mark.slow
def test_more_seeds_give_intervals_and_say_what_is_shown(
    walked: Walked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sweep of station 10 with the word added, and then the comparison, as the page tells the reader."""
    from pipeline import compare

    monkeypatch.setattr(sys, "argv", ["train.py"])
    [sweep] = [block for block in BLOCKS if block.words[:3] == page.TRAIN and "-m" in block.words[3:]]
    with as_before():
        said = page.run(f"{sweep.command} {MORE_SEEDS}", walked.here)
    assert "20 runs: 2 finished, 18 new; 18 to train" in said
    words = [str(walked.here.runs), f"data={walked.here.data}", f"out={tmp_path / 'reports'}", "tracking=none"]
    assert compare.main(words) == 0
    told = capsys.readouterr().out
    assert "interval" in told
    assert "10 seeds" in told
    assert "nothing is chosen" in (tmp_path / "reports" / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_the_pictures_are_those_that_the_commands_draw(walked: Walked) -> None:
    shown = re.findall(r"!\[[^\]]+\]\(tour/([\w.]+)\)", PAGE)
    drawn = sorted(path.name for path in walked.here.pictures.glob("*.png"))
    assert sorted(shown) == drawn == sorted(path.name for path in page.PICTURES.iterdir())
    apart = {name: _apart(page.PICTURES / name, walked.here.pictures / name) for name in drawn}
    assert max(apart.values()) < 0.05, apart
    assert _apart(page.PICTURES / "gap.png", walked.here.pictures / "gap.png", turned=True) > 0.1


def _apart(one: Path, other: Path, turned: bool = False) -> float:
    """Share of the ink that is elsewhere, by squares of 20 pixels: strokes that moved by a little do not count."""

    def ink(path: Path) -> np.ndarray:
        grey = 1 - np.asarray(pictures.imread(path))[..., :3].mean(axis=2)
        rows, columns = (20 * (length // 20) for length in grey.shape)
        return np.asarray(grey[:rows, :columns].reshape(rows // 20, 20, columns // 20, 20).sum(axis=(1, 3)))

    a, b = ink(one), ink(other)
    assert a.shape == b.shape, f"{one.name}: {a.shape} is {b.shape} now"
    return float(np.abs(a - (b[::-1] if turned else b)).sum() / (a.sum() + b.sum()))


# --- what holds the page


@pytest.mark.parametrize(
    ("stands", "said", "told"),
    [
        ("test 94.36 %\n", "test 94.31 %\n", False),
        ("test 94.36 %\n", "test 96.01 %\n", True),
        ("test 94.36 %\n", "training 94.36 %\n", True),
        ("test 94.36 %\n", "test 94.36 %\nmore\n", True),
        ("apart 3e-09\n", "apart 7e-07\n", False),
        ("apart 3e-09\n", "apart 0\n", False),
        ("apart 3e-09\n", "apart 3e-02\n", True),
        ("test 94.36 %\n", "test 94.4 %\n", True),
        ("a  1  ██▏\n", "a   1  ███\n", False),
        ("on CPU, TensorFlow\nin 3.1 s\n", "on GPU, JAX\nin 0.2 s\n", False),
    ],
)
def test_what_counts_as_a_difference(stands: str, said: str, told: bool) -> None:
    assert bool(page.difference(Block("python -m pipeline.tour gap", stands), said)) is told


def test_counts_must_be_the_same_to_the_letter() -> None:
    block = Block("python -m pipeline.tour classes", "all  60,000\n")
    assert page.difference(block, "all  60,001\n") == "'all  60,000' is 'all  60,001' now"
    assert page.difference(block, "all  60,000\n") is None


def test_a_stale_page_is_written_anew(here: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, tail = "before\n\n```bash\npython -m pipeline.tour classes\n```\n\n```text\n", "```\nafter\n"
    (tmp_path / "tour.md").write_text(f"{head}stale\n{tail}")
    monkeypatch.setattr(page, "PAGE", tmp_path / "tour.md")
    monkeypatch.setattr(page, "PICTURES", tmp_path / "tour")
    assert tour.main(["--write", f"raw={here.raw}", f"data={here.data}"]) == 0
    [block] = [block for block in BLOCKS if block.command == "python -m pipeline.tour classes"]
    assert (tmp_path / "tour.md").read_text() == f"{head}{block.said}{tail}"
    assert (tmp_path / "tour" / "classes.png").exists()


# --- the command


def test_without_a_station_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tour.main([]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[: len(STATIONS)]] == [*STATIONS]


def test_a_wrong_station_is_refused_at_once() -> None:
    code = (
        "import atexit, sys; from pipeline import console; from pipeline.tour.__main__ import main;"
        "atexit.register(lambda: print('tensorflow' in sys.modules)); console.run(main)"
    )
    done = subprocess.run([sys.executable, "-c", code, "gradient"], cwd=PROJECT, capture_output=True, text=True)
    names = ", ".join(STATIONS)
    told = f"error: gradient: no such station; expected one of {names} (did you mean 'gradients'?)\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, told, "False\n")


@pytest.mark.parametrize("words", [["gap", "loss"], ["gap", "--write"], ["dat=x", "gap"]], ids=str)
def test_words_that_mean_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"expected one STATION|expected KEY=VALUE"):
        tour.main(words)


def test_a_network_that_is_not_trained_is_asked_for(
    here: Material, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_before(), pytest.raises(SystemExit) as ended:
        console.run(tour.main, ["sieve", f"raw={here.raw}", f"data={here.data}", f"runs={tmp_path}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: this station looks at a network that is not trained yet; "
        "first: python -m pipeline.train experiment=book dataset.train_size=10000\n"
    )


def test_data_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no preprocessed data here\. To have it: python -m pipeline\.fetch"):
        tour.main(["tensors", f"data={tmp_path}"])
