"""docs/extending.md: what each section says to write is written, what it says to type is typed, in an empty clone."""

from __future__ import annotations

import json
import re

import pytest

from tests.support import clone as clones
from tests.support.clone import CHECKOUT, Clone

PAGE = (CHECKOUT / "docs" / "extending.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", PAGE))

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return clones.fresh(tmp_path_factory.mktemp("extending"))


def follow(clone: Clone, section: str) -> dict[str, str]:
    """What each command of a section says, once its files are there and its Python code has run."""
    said = {}
    for language, text in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", SECTIONS[section]):
        first = text.partition("\n")[0]
        if re.fullmatch(r"# [\w/]+\.\w+", first):
            clone.write(first.removeprefix("# "), text)
        elif language == "python":
            clone.write("example.py", text)
            clone.run("python example.py")
        else:
            for command in text.splitlines():
                said[command] = clone.run(command + " tracking=none" * ("pipeline.train" in command))
    return said


def test_your_data(clone: Clone) -> None:
    fetched, preprocessed, trained = follow(clone, "Your data").values()
    assert "sha256 recorded in data/raw/wine/digests.json" in fetched
    assert "142 training and 36 test samples, 13 features, 3 classes" in preprocessed
    assert "6 runs" in trained
    card = json.loads(clone.read("data/cards/wine.json"))
    assert (card["features"][0], len(card["features"])) == ("alcohol", 13)
    assert (clone.path / "data/samples/wine.png").is_file()
    # A network that learnt the columns tells nearly all wines apart; without their scales it would guess.
    records = [json.loads(path.read_text())["record"] for path in clone.path.glob("runs/*/result.json")]
    assert max(record["figures"]["test/accuracy"] for record in records) > 0.9
