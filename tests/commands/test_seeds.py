"""The command that trains the seeds that compare asks for, on real digits, followed by a second compare."""

import contextlib
import io
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline import compare, seeds
from pipeline.cli.errors import RunsLost, UserError
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.tracking import TrackingUnavailable
from pipeline.training.result import RunResult
from tests.unit.training.command import Place, as_before

SUBSET = [("sgd", 4), ("sgd", 8), ("adam", 8)]
"""Not a full grid of optimizers and widths."""


@dataclass
class Subset:
    place: Place
    compared: list[str]
    """Output of compare for the runs of one seed."""

    @property
    def folder(self) -> Path:
        return self.place.root / "results"

    @property
    def words(self) -> list[str]:
        return [f"paths.data={self.place.processed}", f"paths.runs={self.place.root}/runs", "tracking=none"]

    def compare(self, *folders: Path) -> list[str]:
        words = [f"out={self.place.root}/reports", f"data={self.place.processed}", "tracking=none"]
        return said(compare.main, [*map(str, folders), *words])

    def runs(self, folder: Path) -> list[RunResult]:
        return [RunStore(folder).record(key) for key in Sweep.read(folder).keys]


def said(main, words: list[str]) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as out, as_before():
        assert main(words) == 0
    return out.getvalue().splitlines()


@pytest.fixture(scope="module")
def subset(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Subset:
    place = Place(tmp_path_factory.mktemp("seeds"), processed)
    words = ["optimizer=sgd,adam", "model.width=4,8", "training.epochs=1", "training.batch_size=50"]
    assert place.train("-m", *words).status == 0
    whole = place.record
    keys = [run.key for run in place.runs if (run.job.optimizer.name, run.job.width) in SUBSET]
    Sweep(whole.name, keys, id=whole.id).write(place.root / "results")
    found = Subset(place, [])
    found.compared = found.compare(found.folder)
    return found


def test_compare_names_the_command(subset: Subset) -> None:
    [line] = [number for number, line in enumerate(subset.compared) if "This command trains 27 more runs:" in line]
    assert subset.compared[line].startswith("It takes 10 seeds to explore these differences")
    assert shlex.split(subset.compared[line + 1]) == ["python", "-m", "pipeline.seeds", str(subset.folder)]
    page = (subset.place.root / "reports/index.html").read_text()
    assert subset.compared[line + 1].strip() in page


def test_it_trains_exactly_the_missing_runs_and_compare_has_them_all(subset: Subset) -> None:
    new = subset.folder.with_name("results-10-seeds")
    planned = said(seeds.main, [str(subset.folder), "plan=true", *subset.words])
    assert planned[0] == "plan of 27 runs: 27 new; 27 to train"
    assert not new.exists()
    said(seeds.main, [str(subset.folder), *subset.words])
    trained = subset.runs(new)
    there = {(run.job.optimizer.name, run.job.width, run.job.seed) for run in [*trained, *subset.runs(subset.folder)]}
    assert there == {(*name, seed) for name in SUBSET for seed in range(10)}
    assert len(trained) == 27
    assert Sweep.read(new).name == Sweep.read(subset.folder).name
    [made_of] = {str(run.identity) for run in [*trained, *subset.runs(subset.folder)]}
    assert "'xla': False" in made_of, "the device is that of the stored runs"

    assert "27 finished; nothing to train" in said(seeds.main, [str(subset.folder), *subset.words])[0]
    after = subset.compare(subset.folder, new)
    table = pd.read_csv(subset.place.root / "reports/comparison.csv")
    assert table["n"].tolist() == [10, 10, 10]
    assert not any("This command trains" in line and "10 seeds" in line for line in after)


def test_runs_that_failed_come_before_what_mlflow_lacks(subset: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = SimpleNamespace(outcomes={"": SimpleNamespace(failed=True)}, unsent=TrackingUnavailable("away"))
    session = SimpleNamespace(run=lambda: ended)
    monkeypatch.setattr("pipeline.sweep.session.Session", lambda *_: session)
    with pytest.raises(RunsLost, match="1 run failed"):
        seeds.main([str(subset.folder), *subset.words])


def test_fail_fast_begins_no_further_sweep(subset: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"plan": False, "fail_fast": True}
    sweeps = [SimpleNamespace(plan=name, settings=settings) for name in ("first", "second")]
    ended, begun = SimpleNamespace(outcomes={"": SimpleNamespace(failed=True)}), []
    session = SimpleNamespace(run=lambda: ended)
    monkeypatch.setattr("pipeline.sweep.seeds.seed_sweeps", lambda *_: sweeps)
    monkeypatch.setattr("pipeline.sweep.estimate.show_plan", lambda *_: None)
    monkeypatch.setattr("pipeline.sweep.session.Session", lambda plan, _: begun.append(plan) or session)
    with pytest.raises(RunsLost, match="1 run failed"):
        seeds.main([str(subset.folder), *subset.words, "fail_fast=true"])
    assert begun == ["first"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trakcing=none"], "did you mean 'tracking'"),
        (["optimizer=adam"], "expected KEY=VALUE with one of the keys plan"),
        (["tracking=sqllite"], "'sqlite'"),
    ],
)
def test_what_would_change_the_runs_is_refused(words: list[str], problem: str, subset: Subset) -> None:
    with pytest.raises(UserError, match=problem):
        seeds.main([str(subset.folder), *words])


def test_seeds_that_would_be_no_pairs_are_refused(subset: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.storage.identity.source_digest", lambda *_, **__: "0" * 64)
    with pytest.raises(UserError, match=r"sgd-w4-d1-s0: this has changed since: the code; .* no pairs"):
        seeds.main([str(subset.folder), *subset.words])
