"""A sweep over learning rates: the names of its runs, and what diff, results and clean do with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import clean, diff, results
from pipeline.cli.errors import UserError
from pipeline.storage import cleaning, identity
from pipeline.storage.find import find_run
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from pipeline.tracking import open_tracker
from pipeline.tracking.describe import NOTE
from tests.support.formula import installed
from tests.unit.training.command import Place, Said, command

NAMES = ["sgd-w4-d1-lr0.01-s0", "sgd-w4-d1-lr0.1-s0"]


@dataclass
class Swept:
    place: Place
    said: Said
    uri: str

    @property
    def words(self) -> list[str]:
        return [f"runs={self.place.root / 'runs'}", f"data={self.place.processed}"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, processed: Path, blank_store: Path) -> Iterator[Swept]:
    place = Place(tmp_path_factory.mktemp("project"), processed)
    database = place.root / "mlflow.db"
    database.write_bytes(blank_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        installed(patch)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        words = [word for word in place.words if word != "tracking=none"]
        values = [
            "optimizer=sgd",
            "optimizer.learning_rate=0.01,0.1",
            "model.width=4",
            "training.epochs=2",
            "question=rates",
        ]
        said = command("-m", *words, *values, "tags={stage:draft}", "note=Which *rate*?")
        assert (said.status, said.err) == (0, "")
        yield Swept(place, said, f"sqlite:///{database}")


@pytest.fixture
def client(swept: Swept) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(swept.uri)


def of_mlflow(client: Any) -> tuple[Any, list[Any]]:
    """Return the parent run, and its children sorted by name."""
    experiment = client.get_experiment_by_name("rates").experiment_id
    runs = client.search_runs([experiment])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parent, sorted((run for run in runs if run is not parent), key=lambda run: run.info.run_name)


# --- names, tags, note, system metrics


def test_a_run_s_name_has_its_rate_at_the_terminal_and_in_mlflow(swept: Swept, client: Any) -> None:
    shown = [line for line in swept.said.out.splitlines() if line.startswith("[")]
    assert all(sum(f" {name}: " in line for line in shown) == 1 for name in NAMES)
    assert [run.info.run_name for run in of_mlflow(client)[1]] == NAMES


def test_a_run_can_be_asked_for_by_this_name(swept: Swept) -> None:
    rates = [find_run(name, swept.place.store).job.optimizer["learning_rate"] for name in NAMES]
    assert rates == [0.01, 0.1]
    with pytest.raises(UserError, match=r"s0: 2 runs have that name; expected one of the keys .*sgd-w4-d1-lr0\.01-s0"):
        find_run("sgd-w4-d1-s0", swept.place.store)


def test_tags_and_note_are_in_mlflow_and_in_the_record(swept: Swept, client: Any) -> None:
    parent, runs = of_mlflow(client)
    assert {run.data.tags["stage"] for run in (parent, *runs)} == {"draft"}
    assert parent.data.tags[NOTE] == "Which *rate*?"
    assert (swept.place.record.tags, swept.place.record.note) == ({"stage": "draft"}, "Which *rate*?")


def test_the_page_of_a_sweep_shows_what_it_took_of_the_machine(client: Any) -> None:
    parent, runs = of_mlflow(client)
    assert 0 < parent.data.metrics["system/system_memory_usage_percentage"] < 100
    assert 0 <= parent.data.metrics["system/cpu_utilization_percentage"] <= 100
    assert not any(name.startswith("system/") for run in runs for name in run.data.metrics)


# --- diff


def test_two_runs_differ_in_their_rate_and_what_came_of_it(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff.main([*NAMES, *swept.words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", *NAMES]
    assert lines[lines.index("configuration") + 1].split() == ["optimizer.learning_rate", "0.01", "0.1"]
    assert "code, data, numerics, packages, machine: the same" in lines
    first, second = (find_run(name, swept.place.store) for name in NAMES)
    apart = np.abs(np.subtract(second.history["val/loss"], first.history["val/loss"]))
    assert any(line.startswith(f"  val/loss, epoch {apart.argmax() + 1} ") for line in lines)
    assert any("McNemar" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_run_is_not_compared_with_a_sweep_or_itself(swept: Swept) -> None:
    for words, problem in (
        ([NAMES[0], "rates"], f"expected two runs, or two sweeps; {NAMES[0]} is a run"),
        ([NAMES[0], NAMES[0]], "both are the run"),
        ([NAMES[0]], "expected two runs, or two sweeps"),
        ([NAMES[0], "nothing"], "nothing: no such run"),
    ):
        with pytest.raises(UserError, match=problem):
            diff.main([*words, *swept.words])


def test_of_two_sweeps_the_runs_of_one_configuration_are_pairs(
    swept: Swept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second sweep is a copy of the first, changed as if other code had trained it."""
    other, keys = RunStore(tmp_path / "other"), []
    for run in swept.place.runs:
        run.sources = run.sources | {"training/engine.py": "e" * 64}
        run.identity = run.identity | {"source": identity.digest(run.sources)}
        run.key = identity.key_of(run.job, run.identity)
        run.metrics["test/accuracy"] += 0.01
        other.write(run)
        keys.append(run.key)
    Sweep("rates", keys).write(other.root)
    assert diff.main([str(swept.place.root / "results"), str(other.root), *swept.words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "configuration: the same" in lines
    assert "2 pairs of the same configuration and seed:" in lines
    assert lines[lines.index("code") + 1].split()[0] == "pipeline/training/engine.py"
    assert "  test accuracy, %: mean +1.00, 2 pairs" in lines
    assert max(map(len, lines)) <= 80


# --- results


def test_runs_are_a_table(swept: Swept) -> None:
    table = results.frame(swept.place.root / "runs")
    assert sorted(table["name"]) == NAMES
    [run] = [run for run in swept.place.runs if run.job.optimizer["learning_rate"] == 0.1]
    row = table.set_index("optimizer.learning_rate").loc[0.1]
    assert (row["key"], row["status"], row["model.width"], row["seed"]) == (run.key, "finished", 4, 0)
    assert (row["test/accuracy"], row["training.epochs"]) == (run.metrics["test/accuracy"], 2)
    assert len(table.groupby("model.hidden")) == 1
    assert len(results.frame(swept.place.root / "runs", sweep="rates")) == 2
    assert len(results.frame(swept.place.root / "results")) == 2
    with pytest.raises(UserError, match="no such folder"):
        results.frame("nowhere")


def test_a_store_without_runs_is_an_empty_table(tmp_path: Path) -> None:
    assert list(results.frame(tmp_path).columns) == ["key", "name", "status", "reason", "started"]


# --- clean: last, because it removes runs


def test_what_a_sweep_or_a_model_needs_stays(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"runs={swept.place.root / 'runs'}"]
    assert clean.main(words) == 0
    assert capsys.readouterr().out.startswith("nothing to remove\n")
    record = Ledger(swept.place.store).path(swept.place.record.id)
    text = record.read_text()
    record.unlink()
    clean.main(words)
    lines = capsys.readouterr().out.splitlines()
    record.write_text(text)
    assert lines[0] == f"unneeded: {cleaning.REASONS['unneeded']}"
    assert sorted(line.split()[-1] for line in lines[1:3]) == NAMES
    assert lines[3].startswith("2 entries, ")
    assert "mlflow gc" in lines[-1]


def test_checkpoints_go_with_yes_alone(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    root = swept.place.root / "runs"
    (root / ".checkpoints").mkdir(exist_ok=True)
    ended, unknown = swept.place.runs[0].key, "c" * 64
    for key in (ended, unknown):
        (root / ".checkpoints" / f"{key}.npz").write_text("12345")
    kept = sorted(root.rglob("*"))
    clean.main([f"runs={root}"])
    assert "              5 bytes  .checkpoints/" in capsys.readouterr().out
    assert sorted(root.rglob("*")) == kept, "a dry run"
    clean.main([f"runs={root}", "only=checkpoints", "--yes"])
    assert "removed 2 entries, 10 bytes" in capsys.readouterr().out
    assert [run.key for run in swept.place.store] == sorted(run.key for run in swept.place.runs)


def test_of_other_code_or_deleted_in_mlflow_it_goes_unless_a_model_needs_it(
    swept: Swept, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store = swept.place.store
    first, second = (find_run(name, store) for name in NAMES)
    client.delete_run(store.published(first.key)["run_id"])
    second.sources = second.sources | {"training/engine.py": "e" * 64}
    second.identity = second.identity | {"source": identity.digest(second.sources)}
    second.key = identity.key_of(second.job, second.identity)
    store.write(second)
    assert {item.reason for item in cleaning.removable(store, registered=[second.key])} == set()
    clean.main([f"runs={store.root}", "--yes"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if line.split(":")[0] in cleaning.REASONS] == ["old", "deleted"]
    assert [run.job.optimizer["learning_rate"] for run in store] == [0.1]
    assert Ledger(store).find("rates").keys == store.keys()


def test_a_registered_model_is_known_by_its_run(swept: Swept, client: Any) -> None:
    _, [run] = of_mlflow(client)
    client.create_registered_model("best")
    client.create_model_version("best", source=run.info.artifact_uri, run_id=run.info.run_id)
    assert open_tracker("sqlite").registered_keys() == {run.data.tags["run.key"]}


def test_a_reason_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"only=checkpoint: expected one of .*did you mean 'checkpoints'"):
        clean.main(["only=checkpoint"])
