"""docs/extending.md: each section's files are written and its commands run, in a fresh clone."""

import json
import re
from typing import Any

import pytest

from tests.support import clone as clones
from tests.support.clone import CHECKOUT, Clone

PAGE = (CHECKOUT / "docs" / "extending.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", PAGE))

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = clones.fresh(tmp_path_factory, tmp_path_factory.mktemp("extending"))
    follow(made, PAGE.partition("\n## ")[0])
    return made


def follow(clone: Clone, text: str) -> dict[str, str]:
    """Write the files and run the Python code and the commands of a text; return the output of each command."""
    said = {}
    for language, block in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", text):
        first = block.partition("\n")[0]
        if re.fullmatch(r"# [\w/]+\.\w+", first):
            clone.write(first.removeprefix("# "), block)
        elif language == "python":
            clone.write("example.py", block)
            clone.run("python example.py")
        else:
            for command in block.splitlines():
                said[command] = clone.run(
                    command + " tracking=none" * bool(re.search(r"pipeline\.(train|search)", command))
                )
    return said


def test_your_data(clone: Clone) -> None:
    fetched, preprocessed, trained = follow(clone, SECTIONS["Your data"]).values()
    assert "sha256 recorded in data/raw/wine/digests.json" in fetched
    assert "142 training and 36 test samples, 13 features, 3 classes" in preprocessed
    assert "6 runs" in trained
    card = json.loads(clone.read("data/cards/wine.json"))
    assert (card["features"][0], len(card["features"])) == ("alcohol", 13)
    assert (clone.path / "data/samples/wine.png").is_file()
    # A network that learnt from scaled columns classifies nearly all wines; without scaling it would guess.
    assert max(record["metrics"]["test/accuracy"] for record in records(clone, "wine")) > 0.9


def records(clone: Clone, *words: str) -> list[dict[str, Any]]:
    """Return the records of the runs whose configuration contains all these words."""
    found = [json.loads(path.read_text())["record"] for path in sorted(clone.path.glob("runs/*/result.json"))]
    return [record for record in found if all(word in json.dumps(record["job"]) for word in words)]


def test_a_network(clone: Clone) -> None:
    [trained] = follow(clone, SECTIONS["A network"]).values()
    assert "2 runs" in trained
    assert {record["job"]["model"]["width"] for record in records(clone, "wide_and_deep")} == {32, 64}
    assert all("../my_networks.py" in record["sources"] for record in records(clone, "wide_and_deep"))


def test_an_optimizer(clone: Clone) -> None:
    follow(clone, SECTIONS["An optimizer"])
    [record] = records(clone, "my_optimizers.SignSGD")
    assert record["status"] == "finished"
    assert record["metrics"]["test/accuracy"] > 0.5


def test_a_loss_a_schedule_a_metric(clone: Clone) -> None:
    follow(clone, SECTIONS["A loss, a schedule, a metric"])
    [record] = records(clone, "half_squared_error", "triangle")
    assert 0 <= record["metrics"]["val/worst_class"] <= record["metrics"]["val/accuracy"]
    assert "test/macro_f1" in record["metrics"]


def test_a_search(clone: Clone) -> None:
    short = SECTIONS["A search"].replace("n_trials=60", "n_trials=4 device.xla=false").replace("epochs=20", "epochs=2")
    said = [*follow(clone, short).values()]
    assert all("4 trials: " in each for each in said)
    assert "on the Pareto front" in said[2]
    for name in ("two_optimizers", "front"):
        assert len(clone.read(f"results/{name}/trials.csv").splitlines()) == 5
