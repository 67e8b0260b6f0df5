"""A sweep leaves one checkout as a file and arrives in another as it was."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline import bundle, compare, console
from pipeline.errors import UserError
from pipeline.results.store import RunStore
from pipeline.results.sweep import Sweep
from pipeline.tracking import Tracker, TrackingUnavailable
from tests.training.command import Place


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("project"), processed)
    assert place.train("-m", "optimizer=sgd,adam", "model.width=4", "seed=0,1", "training.epochs=1").status == 0
    return place


@pytest.fixture(scope="module")
def file(swept: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "sweep.zip"
    words = [str(swept.root / "results"), f"out={path}", f"data={swept.processed}", f"runs={swept.root / 'runs'}"]
    assert bundle.main(words) == 0
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another checkout, with nothing in it."""
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_opens_in_another_checkout(
    swept: Place, file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{elsewhere / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert bundle.main(["open", str(file)]) == 0
    store = RunStore(elsewhere / "runs")
    assert [store.read(run.key).record() for run in swept.runs] == [run.record() for run in swept.runs]

    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri, uri)
    [experiment] = [one for one in client.search_experiments() if one.name == "tests"]
    runs = client.search_runs([experiment.experiment_id])
    accuracies = {
        run.data.tags["run.key"]: run.data.metrics["test/accuracy"] for run in runs if "run.key" in run.data.tags
    }
    assert accuracies == {run.key: run.figures["test/accuracy"] for run in swept.runs}
    [parent] = [run for run in runs if "bundle" in run.data.tags]
    assert parent.info.status == "FINISHED"

    [folder] = (elsewhere / "results").iterdir()
    record = Sweep.read(folder)
    assert (record.keys, record.winner, record.parent_run_id) == (
        swept.record.keys,
        swept.record.winner,
        parent.info.run_id,
    )
    assert (folder / "report" / "index.html").is_file()
    assert list((folder / "report" / "figures").glob("*.png"))

    compare.compare([folder], elsewhere / "reports", swept.processed)
    table = pd.read_csv(elsewhere / "reports" / "runs.csv")
    assert set(table["key"]) == {run.key for run in swept.runs}


@pytest.mark.slow
def test_what_mlflow_does_not_take_is_said_when_all_else_is_done(
    file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> str:
        raise TrackingUnavailable("the store is away")

    monkeypatch.setattr(Tracker, "begin", away)
    with pytest.raises(TrackingUnavailable, match=r"not in MLflow yet: 4 of the results \(the store is away"):
        bundle.main(["open", str(file)])
    assert len(RunStore(elsewhere / "runs").keys()) == 4
    assert len(list((elsewhere / "results").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "expected SWEEP, or open FILE"),
        (["open", "nowhere.zip"], "nowhere.zip: no such file"),
        (["nothing"], "nothing: no such sweep here"),
    ],
)
def test_mistakes(elsewhere: Path, words: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        bundle.main([*words, "tracking=none"])
