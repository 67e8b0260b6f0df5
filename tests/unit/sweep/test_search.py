"""Searches with results from a formula: sampling, storing, pruning, resuming after a kill, and refused arguments."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipeline.cli.errors import UserError
from pipeline.search import main
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger
from pipeline.sweep import search_settings, search_space, search_study
from pipeline.sweep.plan import look_up, to_train
from pipeline.sweep.search import Search
from pipeline.sweep.search_study import Study
from tests.support.formula import Formula

RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
SPACE = [RATE, "model.width=tag(log,interval(4,64))", "model.dropout=interval(0,0.5)"]


pytestmark = pytest.mark.usefixtures("hydra_as_before")


@dataclass
class Place:
    root: Path
    processed: Path
    trainer: Formula

    def words(self, *more: str) -> list[str]:
        own = [f"paths.data={self.processed}", f"paths.runs={self.root / 'runs'}", f"out={self.root}", "tracking=none"]
        return ["dataset=digits", "device=cpu", "training.epochs=4", "name=s", "batch=2", *own, *SPACE, *more]

    def search(self, *more: str) -> Study:
        return self.made(*more).run()

    def made(self, *more: str) -> Search:
        defaults, ranges = search_settings.declared()
        given = dict(word.split("=", 1) for word in self.words(*more))
        own = {key: value for key, value in given.items() if key in defaults}
        words = [f"{key}={value}" for key, value in given.items() if key not in defaults]
        settings = search_settings.SearchSettings.of(defaults | own)
        return Search(settings, search_space.space_of(words, ranges))

    def reread(self, name: str = "s") -> optuna.Study:
        """Load the study with Optuna alone, without the pipeline's code."""
        journal = JournalStorage(JournalFileBackend(str(self.root / name / "study.journal")))
        return optuna.load_study(study_name=name, storage=journal)

    @property
    def store(self) -> RunStore:
        return RunStore(self.root / "runs")


@pytest.fixture
def place(tmp_path: Path, processed: Path, formula: Formula) -> Place:
    return Place(tmp_path, processed, formula)


def values(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the parameters of the completed and pruned trials, in order."""
    return [trial.params for trial in study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])]


# --- trials


def test_optuna_reads_the_study_and_its_best_trial_is_the_best_run(place: Place) -> None:
    place.search("n_trials=20")
    study = place.reread()
    assert len(study.trials) == 20
    best = max(place.store, key=lambda run: run.metrics["val/accuracy"])
    assert study.best_value == best.metrics["val/accuracy"]
    assert study.best_params["optimizer.learning_rate"] == best.job.optimizer["learning_rate"]
    assert study.best_params["model.width"] == best.job.width
    assert study.best_trial.user_attrs["key"] == best.key


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_search_that_was_killed_goes_on_to_the_same_trials(place: Place, sampler: str) -> None:
    place.search("n_trials=16", f"sampler={sampler}", "name=whole", f"paths.runs={place.root / 'other'}")
    whole = values(place.reread("whole"))
    place.trainer.trained.clear()
    place.trainer.dies_at = 6
    with pytest.raises(KeyboardInterrupt):
        place.search("n_trials=16", f"sampler={sampler}")
    assert len(values(place.reread())) == 4  # Optuna has no results of the interrupted batch
    place.search("n_trials=16", f"sampler={sampler}")
    assert values(place.reread()) == whole
    assert len(place.trainer.trained) == 17, "of the batch that died, the run that had ended is not trained again"
    place.search("n_trials=18", f"sampler={sampler}")
    assert len(values(place.reread())) == 18


def test_a_search_that_goes_on_counts_the_trials_before(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.search("n_trials=4")
    assert "[4/4] " in capsys.readouterr().out
    place.search("n_trials=6")
    numbers = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert numbers == ["[5/6]", "[6/6]"]


def test_a_journal_that_was_cut_off_is_read(place: Place) -> None:
    place.search("n_trials=4")
    with (place.root / "s" / "study.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    place.search("n_trials=6")
    assert len(values(place.reread())) == 6


def test_what_the_store_has_is_not_trained(place: Place) -> None:
    place.search("n_trials=6", "sampler=random")
    place.search("n_trials=6", "sampler=random", "name=again")
    assert len(place.trainer.trained) == 6
    assert values(place.reread("again")) == values(place.reread())


def test_a_name_stands_for_one_search(place: Place) -> None:
    place.search("n_trials=2")
    with pytest.raises(UserError, match=r"name=s: its trials have another training.epochs \(4, now 5\)"):
        place.search("n_trials=2", "training.epochs=5")


def test_without_a_name_it_follows_from_what_decides_the_trials(place: Place) -> None:
    first = place.made("name=null").name
    assert place.made("name=null", "n_trials=7", "minutes=3").name == first
    assert place.made("name=null", "seed=1").name != first
    assert place.made("name=null", "sampler=random").name != first


@pytest.mark.parametrize(
    ("shared", "one", "other"),
    [
        ("optimizer=sgd,adam", "optimizer.learning_rate=0.01", "optimizer.learning_rate=0.1"),
        ("model=dense,residual", "model.width=16", "model.width=64"),
        ("model=dense,residual", "experiment=blundell_400", "experiment=blundell_800"),
        ("training.schedule=exponential training.decay=0.1,0.5", "training.decay_epochs=1", "training.decay_epochs=2"),
    ],
)
def test_searches_with_other_fixed_values_have_other_names(place: Place, shared: str, one: str, other: str) -> None:
    words = ["name=null", "dataset.validation_size=100", *shared.split()]
    assert place.made(*words, one).name != place.made(*words, other).name


def test_a_run_that_diverged_counts_nothing_and_one_that_failed_is_left_out(place: Place) -> None:
    place.trainer.diverges = lambda job: float(job.optimizer["learning_rate"] or 0) > 0.03
    place.trainer.fails = lambda job: len(place.trainer.trained) == 3
    place.search("n_trials=20", "sampler=random")
    told = {trial.user_attrs["key"]: trial for trial in place.reread().trials}
    by_status: dict[str, list[Any]] = {}
    for run in place.store:
        by_status.setdefault(run.status, []).append(told[run.key])
    assert {trial.value for trial in by_status["diverged"]} == {0.0}
    assert {trial.state for trial in by_status["failed"]} == {TrialState.FAIL}
    assert len(told) == 20


def test_after_a_failure_fail_fast_ends_the_search_and_the_same_command_goes_on(place: Place) -> None:
    place.trainer.fails = lambda job: len(place.trainer.trained) == 3
    words = ["n_trials=8", "sampler=random", "fail_fast=true"]
    place.search(*words)
    assert len(place.trainer.trained) == 3
    before = place.reread().trials
    assert [trial.state for trial in before] == [*[TrialState.COMPLETE] * 2, TrialState.FAIL, TrialState.RUNNING]
    place.search(*words)
    assert len(place.trainer.trained) == 8
    assert before[3].params in values(place.reread())


def test_the_command_with_other_seeds_leaves_the_folder_of_results_alone(place: Place) -> None:
    found = place.made("n_trials=2", f"paths.results={place.root}/results")
    command = found.with_other_seeds(found.run())
    assert "seed=range(10)" in command
    assert "paths.results" not in command


def test_if_all_runs_diverge_none_is_the_best(place: Place) -> None:
    place.trainer.diverges = lambda job: True
    assert place.search("n_trials=4").best == []
    assert len(place.trainer.trained) == 4, "none is trained once more for its weights"
    assert [sweep.winner for sweep in Ledger(place.store)] == [None]


def test_a_range_that_the_chosen_optimizer_lacks_is_left_out(place: Place) -> None:
    place.search("n_trials=8", "optimizer=sgd,adam", "optimizer.beta_1=interval(0.5,0.9)")
    betas = {run.job.optimizer.name: dict(run.job.optimizer.hyperparameters).get("beta_1") for run in place.store}
    assert betas["sgd"] is None
    assert betas["adam"] != 0.9


def test_values_that_cannot_be_together_are_refused_as_a_trial(place: Place) -> None:
    place.search("n_trials=8", "batch=1", "training.batch_size=100,20000", "sampler=random")
    states = [trial.state for trial in place.reread().trials]
    assert len(states) == 8
    assert {*states} == {TrialState.COMPLETE, TrialState.FAIL}
    with (place.root / "s" / "trials.csv").open() as file:
        [why, *_] = [row["reason"] for row in csv.DictReader(file) if row["status"] == "refused"]
    assert why == "training.batch_size=20000: expected at most 1,200, the training samples left"


def test_the_minutes_are_those_of_one_call(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr("pipeline.sweep.search.time.monotonic", lambda: float(next(clock)))
    place.search("n_trials=20", "minutes=1")
    assert 0 < len(values(place.reread())) < 20


# --- several objectives


def test_a_study_of_two_objectives_has_the_front_that_optuna_has(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    study = place.search("n_trials=24", "objectives=val/accuracy,overfitting_gap/accuracy")
    again = place.reread()
    assert again.metric_names == ["val/accuracy", "overfitting_gap/accuracy"]
    assert [direction.name for direction in again.directions] == ["MAXIMIZE", "MINIMIZE"]
    front = {trial.number for trial in again.best_trials}
    assert {trial.number for trial in study.best} == front
    points = {trial.number: (-trial.values[0], trial.values[1]) for trial in again.trials}
    undominated = {
        number
        for number, point in points.items()
        if not any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points.values())
    }
    assert front == undominated
    with (place.root / "s" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {int(row["trial"]) for row in rows if row["best"] == "True"} == front
    assert [float(row["overfitting_gap/accuracy"]) for row in rows] == [trial.values[1] for trial in again.trials]
    best = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("best on the validation split")
    )
    assert best.endswith(f", {100 * max(float(row['val/accuracy']) for row in rows):.2f} %")


# --- pruning


def test_a_pruned_run_is_no_finished_one_and_a_sweep_trains_it_whole(place: Place) -> None:
    search = place.made("n_trials=30", "pruner=median", "training.epochs=8")
    search.run()
    trials = place.reread().trials
    pruned = {trial.user_attrs["key"]: trial for trial in trials if trial.state == TrialState.PRUNED}
    assert len(trials) == 30
    assert 5 < len(pruned) < 21
    for key, trial in pruned.items():
        run = place.store.read(key)
        assert (run.status, run.weights, run.predictions) == ("pruned", None, None)
        assert run.metrics["time/epochs"] == len(run.epochs) == len(trial.intermediate_values) < 8
        assert run.history["val/accuracy"] == list(trial.intermediate_values.values())
    assert {run.status for run in place.store} == {"finished", "pruned"}
    plan = tuple(search.runs.run(trial.params) for trial in pruned.values())
    found = look_up(plan, place.store, search.runs.values, single=False)
    assert {run.key for run in to_train(found)} == pruned.keys()
    assert {run.found for run in found} == {"new"}


@pytest.mark.parametrize(("epochs", "most"), [("3", 3), ("5,20", 20), ("range(2,9)", 8)])
def test_a_pruner_knows_the_most_epochs(place: Place, monkeypatch: pytest.MonkeyPatch, epochs: str, most: int) -> None:
    told: list[int] = []
    monkeypatch.setattr(search_study, "_pruner", lambda name, epochs: told.append(epochs) or NopPruner())
    place.search("n_trials=1", "pruner=median", f"training.epochs={epochs}")
    assert told == [most]


# --- search space and arguments


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("model.width=interval(16,64)", optuna.distributions.IntDistribution(16, 64)),
        ("model.width=tag(log,int(interval(16,64)))", optuna.distributions.IntDistribution(16, 64, log=True)),
        ("model.width=range(16,65,16)", optuna.distributions.IntDistribution(16, 64, step=16)),
        ("model.dropout=range(0,0.5,0.1)", optuna.distributions.FloatDistribution(0, 0.4, step=0.1)),
        (RATE, optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)),
        ("optimizer=sgd,adam", optuna.distributions.CategoricalDistribution(["sgd", "adam"])),
        ("model.hidden=[30],[30,10]", optuna.distributions.CategoricalDistribution(["[30]", "[30,10]"])),
        ("model.max_norm=null,2", optuna.distributions.CategoricalDistribution([None, 2])),
    ],
    ids=str,
)
def test_hydra_s_words_are_optuna_s_distributions(word: str, expected: Any) -> None:
    assert search_space.space_of([word], {}).distributions == {word.partition("=")[0]: expected}


def test_a_fixed_value_takes_the_place_of_a_declared_range() -> None:
    declared = {"model.width": "interval(16,64)", "model.depth": "range(1,4)"}
    assert [*search_space.space_of(["model.depth=2"], declared).distributions] == ["model.width"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model.widht=interval(1,2)", "model.widht: no such key (did you mean 'model.width'?)"),
        ("model.width=interval(0,64)", "model.width=0: expected a whole number from 1"),
        ("model.width=interval(64,16)", "model.width=interval(64,16): `low <= high` must hold"),
        ("model.dropout=tag(log,interval(0,0.5))", "`low > 0` must hold for `log=True`"),
        ("model.width=tag(lg,interval(4,8))", "no such tag: lg; expected log or none"),
        ("model.width=tag(log,range(4,64,4))", "only accept step is 1 when `log` argument is True"),
        ("optimizer=interval(1,2)", "optimizer=interval(1,2): expected choice(A,B,…)"),
        ("optimizer=sgd,adma", "optimizer=adma: expected one of"),
        ("optimizer=sgd,sgd", "expected each value once"),
        ("dataset=digits,mnist", "cannot be searched, since trials would not be comparable"),
        ("dataset.validation_size=interval(100,200)", "cannot be searched, since trials would not be comparable"),
        ("dataset.validation_size=0", "dataset.validation_size=0: expected over 0; a search looks at the validation"),
        ("n_trials=0", "n_trials=0: expected a whole number from 1"),
        ("sampler=tep", "sampler=tep: expected one of tpe, random, qmc, gp (did you mean 'tpe'?)"),
        ("pruner=hyper", "pruner=hyper: expected one of none, median, hyperband"),
        ("name=../elsewhere", "name=../elsewhere: expected a name of letters"),
        ("objectives=test/accuracy", "of the test split, on which nothing may be chosen"),
        ("objectives=val/acuracy", "needs training.metrics=[acuracy] (did you mean 'val/accuracy'?)"),
        ("objectives=val/macro_f1", "objectives=val/macro_f1: needs training.metrics=[macro_f1]"),
        ("sweep=smoke", "sweep=smoke: set by this command"),
        ("hydra/launcher=batched_slurm", "hydra/launcher=batched_slurm: set by this command"),
        ("++force=true", "++force=true: set by this command"),
    ],
    ids=str,
)
def test_a_wrong_word_is_refused_in_one_line(place: Place, word: str, said: str) -> None:
    key = word.partition("=")[0]
    others = [other for other in place.words() if other.partition("=")[0] != key]
    with pytest.raises(UserError) as refused:
        main([*others, word])
    [line] = refused.value.lines
    assert said in line
    assert place.trainer.trained == []


def test_what_a_sampler_and_a_pruner_need(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="sampler=gp: needs torch, which is not installed"):
        place.made("sampler=gp")
    with pytest.raises(UserError, match="pruner=median: needs one objective, got 2"):
        place.made("pruner=median", "objectives=val/accuracy,val/loss")


def test_one_command_at_a_time_works_on_a_study(place: Place) -> None:
    from filelock import FileLock

    (place.root / "s").mkdir()
    with (
        FileLock(place.root / "s" / ".study.lock"),
        pytest.raises(UserError, match="another command works on this study"),
    ):
        place.search("n_trials=2")


def test_a_plan_says_what_it_takes_and_writes_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*place.words(), "plan=true", "n_trials=30"]) == 0
    said = capsys.readouterr().out
    assert "plan of 30 trials, 2 at a time" in said
    assert "for 30 that are not stored, at values drawn at random" in said
    assert [*place.root.iterdir()] == []
