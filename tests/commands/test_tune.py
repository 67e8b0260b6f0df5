"""The tuning command, on runs computed from a formula: equal budgets, rates beyond the edge of the grid, divergence."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from pipeline import tune
from pipeline.cli.errors import UserError
from tests.support.formula import installed
from tests.unit.training.command import as_before

OWN = ["optimizers=adam,adamw", "decades=-1,0,1", "step=5", "rates=4", "choosing_seeds=2", "final_seeds=2"]
"""By the formula, ten times the default is the best of the first three rates. AdamW diverges five decades above it."""
SMALL = ["dataset=digits", "model.width=8", "training.epochs=1", "tracking=none", "device=cpu"]


pytestmark = pytest.mark.usefixtures("hydra_as_before")


@dataclass
class Tuned:
    root: Path
    words: list[str]
    said: list[str]
    """Output of each of two calls."""

    @property
    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "tuned.csv").set_index("optimizer")

    @property
    def tried(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "tuned_rates.csv")


@pytest.fixture(scope="module")
def tuned(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    root, said = tmp_path_factory.mktemp("tune"), []
    words = [*OWN, *SMALL, f"paths.data={processed}", f"paths.runs={root}/runs", f"out={root}"]
    with as_before(), pytest.MonkeyPatch.context() as patch:
        formula = installed(patch)
        formula.diverges = lambda job: job.optimizer.name == "adamw" and job.optimizer["learning_rate"] == 1000
        for _ in range(2):
            lines: list[str] = []
            patch.setattr("builtins.print", lambda *each, lines=lines, **_: lines.append(" ".join(map(str, each))))
            assert tune.main(words) == 0
            said.append("\n".join(lines))
    return Tuned(root, words, said)


def test_each_optimizer_has_the_same_budget(tuned: Tuned) -> None:
    assert tuned.table["rates"].tolist() == [4, 4]
    assert tuned.table["runs"].tolist() == [8, 8]


def test_the_grid_goes_on_beyond_the_edge_that_the_best_lies_at(tuned: Tuned) -> None:
    assert tuned.table["beyond"].tolist() == [1, 1]
    assert sorted(tuned.tried["learning_rate"].unique()) == [0.0001, 0.001, 0.01, 1000]
    assert not tuned.table["at_edge"].any()


def test_a_rate_that_diverges_is_a_result_and_is_not_chosen(tuned: Tuned) -> None:
    lost = tuned.tried[tuned.tried["status"].eq("diverged")]
    assert lost[["optimizer", "learning_rate", "val_accuracy"]].values.tolist() == [["adamw", 1000, 0]] * 2
    assert tuned.table["tuned_rate"].tolist() == [0.01, 0.01]
    assert "2 runs of 8 diverged and counted as 0" in (tuned.root / "tuned.md").read_text()


def test_a_second_call_trains_nothing(tuned: Tuned) -> None:
    first, second = tuned.said
    assert "12 runs: 12 new" in first
    assert "12 runs: 12 finished; nothing to train" in second
    assert " new" not in second
    assert second.splitlines()[-1] == f"the report is {tuned.root / 'tuned.md'}"


def test_a_plan_says_what_it_takes_and_writes_nothing(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tuned.root.rglob("*"))
    assert tune.main([*tuned.words, "plan=true", "rates=6"]) == 0
    said = capsys.readouterr().out
    assert "plan of at most 32 runs: 2 optimizers, 6 rates with 2 seeds each" in said
    assert "for 12 that are not there" in said  # two more rates for each optimizer, and another tuned rate
    assert sorted(tuned.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rates=2"], "rates=2: expected a whole number from 3 to 30"),
        (["decades=1,2,3"], "decades=1,2,3: expected three or more numbers"),
        (["optimizer.learning_rate=1"], "optimizer.learning_rate=1: set by this command"),
        (["++seed=5"], "++seed=5: set by this command"),
        (["hydra/launcher=batched_slurm"], "hydra/launcher=batched_slurm: set by this command"),
        (["hydra.launcher.shares=2"], "hydra.launcher.shares=2: set by this command"),
        (["model.widht=8"], "model.widht: no such key (did you mean 'model.width'?)"),
        (["dataset=digits", "dataset.validation_size=0"], "chosen on the validation split only"),
        (
            ["paths.results=results/tuned"],
            "paths.results=results/tuned: expected null; a tuning would keep only its last round",
        ),
        (["dataset=digits", "decades=-1,0,6", "optimizers=sgd"], "decades: the rate of sgd=10000.0: expected"),
    ],
    ids=str,
)
def test_a_wrong_word_is_refused(processed: Path, words: list[str], said: str) -> None:
    data = [f"paths.data={processed}"] if "dataset=digits" in words else []
    with pytest.raises(UserError) as refused:
        tune.main([*words, *data])
    assert said in "\n".join(refused.value.lines)
