"""What a comparison is made from: the runs of some folders, their summary, and the questions that it can answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.cli import ui_address
from pipeline.cli.errors import UserError
from pipeline.config.run_config import Model, RunConfig, Training
from pipeline.report.curves import bands, curve_points
from pipeline.report.ranking import places
from pipeline.statistics import declaration, summary
from pipeline.statistics.analysis import Analysis, analysis
from pipeline.statistics.equal_fit import gap_by_training_loss
from pipeline.storage.find import beginning
from pipeline.storage.record import OtherRelease, UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import SWEEP, Ledger, Lost, Sweep
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

RUN_PAGE = "{ui}/#/experiments/{experiment}/runs/{run}"
"""A run's page in the MLflow UI."""

LEAK = 0.991
"""A dense network that beats this on MNIST's test split without augmentation has seen test data in training."""

BOOK_SOURCE = "Chollet, Deep Learning with Python, chapter 2.1"
BOOK_ACCURACY, BOOK_BAND = 0.978, (0.972, 0.984)
"""Test accuracy that the book prints, and the band in which each seed of its network should lie."""


@dataclass(frozen=True)
class Source:
    """One folder of runs."""

    name: str
    folder: Path
    sweep: Sweep | None
    results: list[RunResult]
    published: dict[str, dict[str, str]] = field(default_factory=dict)
    """Ids in MLflow by key."""
    lost: list[Lost] = field(default_factory=list)
    """Runs that were asked for and did not finish, by the record of the sweep, or by all records of a store."""
    others: list[str] = field(default_factory=list)
    """The key of each run that another release of this project wrote, and why it is left out."""


@dataclass(frozen=True)
class LostRun:
    """A run that was asked for and did not finish."""

    experiment: str
    name: str
    status: str
    reason: str
    command: str
    key: str = ""


def ledger(store: RunStore) -> list[Lost]:
    """What the sweeps of a store lost and what no later one made good; the latest word on each run."""
    found: dict[str, Lost] = {}
    finished = {key for key in store.keys() if store.status(key) == FINISHED}  # noqa: SIM118
    for sweep in Ledger(store):
        for lost in sweep.lost:
            if lost.key not in finished:
                found.setdefault(lost.key, lost)
    return list(found.values())


def read_sources(folders: Sequence[Path]) -> list[Source]:
    """The runs of each folder; weights and probabilities only of the run that a picture will be made of.

    A thousand runs that each keep their probabilities would take 400 MB.
    """
    sources: list[Source] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of runs; train first (python -m pipeline.train, or dvc repro)")
        store = RunStore(folder)
        sweep = Sweep.read(folder) if (folder / SWEEP).is_file() else None
        keys = list(dict.fromkeys(sweep.keys)) if sweep else store.keys()
        absent = [key for key in keys if key not in store]
        if absent:
            missing = f"{len(absent)} of the {len(keys)} runs in its {SWEEP} are missing"
            raise UserError(f"{folder}: {missing}; train again to restore them")
        winner = sweep.winner if sweep else None
        results: list[RunResult] = []
        others: list[str] = []
        for key in keys:
            try:
                result = store.read(key)
            except OtherRelease as error:
                others.append(f"{beginning(key)}, {error.unknown}")
                continue
            keep = (
                key == winner if winner else result.weights is not None and not any(other.weights for other in results)
            )
            results.append(result if keep else dataclasses.replace(result, weights=None, probabilities=None))
        name = sweep.name if sweep else folder.name
        if name in {source.name for source in sources}:
            name = f"{name} ({folder.name})"
        published = {key: store.published(key) for key in keys}
        lost = sweep.lost if sweep else ledger(store)
        sources.append(Source(name, folder, sweep, results, published, lost, others))
    return sources


def is_book(job: RunConfig) -> bool:
    """Whether `job` is the first network of the book, on all of whatever data, as it is trained there."""
    training, own = job.training, dict(job.optimizer.hyperparameters)
    steady = training.schedule == "constant" or not training.decay_epochs
    plain = Training(5, 128, training.loss, training.curve_samples)
    return (
        job.model == Model((512,), "relu", 0.0, "glorot_uniform")
        and (job.optimizer.name, own.get("learning_rate")) == ("rmsprop", 0.001)
        and not any(own.get(name) for name in ("momentum", "weight_decay"))
        and own.get("rho", 0.9) == 0.9
        and steady
        and dataclasses.replace(training, schedule=plain.schedule, decay=plain.decay, evaluate_every=1) == plain
        and "crossentropy" in training.loss
        and (job.dataset.validation_size, job.dataset.train_size, job.dataset.label_noise) == (0, 0, 0)
    )


class Evidence:
    """All that tables, figures and sentences are made from. Nothing in it depends on the time of day."""

    def __init__(self, sources: Sequence[Source], ui: str = ui_address.DEFAULT) -> None:
        self.sources = list(sources)
        self.ui = ui
        """Address of the MLflow UI that links to runs lead to."""
        self.labels: np.ndarray | None = None
        """The right classes of the main comparison's test images, where they are at hand: for `analysis`."""
        self.tables_folder: Path | None = None
        """Folder of tables that other commands made, where there may be some: for `other_tables`."""
        self.store: RunStore | None = None
        """Where the runs of those tables lie, if they are here."""
        self.experiments = {source.name: source.results for source in self.sources}
        self.results = [result for source in self.sources for result in source.results]
        self.runs = summary.tidy(self.experiments)
        self.curves = curve_points(self.experiments)
        self.table = self._ranked(summary.summarise(self.runs)) if len(self.runs) else summary.summarise(self.runs)
        self.published = {
            (source.name, key): ids for source in self.sources for key, ids in source.published.items() if ids
        }

    @staticmethod
    def _ranked(table: pd.DataFrame) -> pd.DataFrame:
        """With `place` and `place_to` in each data set and experiment: by validation accuracy, where there is one."""
        parts = []
        for _, group in table.groupby(["dataset", "experiment"], sort=False):
            figure = summary.RANKING if group[f"{summary.RANKING}_mean"].notna().any() else "test_accuracy"
            parts.append(places(group, figure))
        return table.join(pd.concat(parts))

    @property
    def finished(self) -> pd.DataFrame:
        return self.runs[self.runs["status"].eq(FINISHED)]

    @cached_property
    def questions(self) -> list[tuple[str, str]]:
        """(data set, experiment) of each comparison among the runs, the one of most configurations first."""
        sizes = self.table[self.table["n"] > 0].groupby(["dataset", "experiment"], sort=False).size()
        return [
            (str(dataset), str(experiment))
            for dataset, experiment in sizes.sort_values(ascending=False, kind="stable").index
        ]

    def question(self, question: tuple[str, str]) -> pd.DataFrame:
        """The configurations of one comparison, in the order of `summary.summarise`."""
        return self.table[self.table["dataset"].eq(question[0]) & self.table["experiment"].eq(question[1])]

    def by_place(self, question: tuple[str, str]) -> pd.DataFrame:
        """The same by place on the validation samples; as they ran, where there are none."""
        table = self.question(question)
        validated = table["val_accuracy_mean"].notna().any()
        return table.sort_values("place", kind="stable", na_position="last") if validated else table

    @cached_property
    def main(self) -> pd.DataFrame:
        """The largest comparison: what the page's opening sentences and its figures are about."""
        return self.question(self.questions[0])

    @cached_property
    def chosen_on_validation(self) -> bool:
        return bool(self.main["val_accuracy_mean"].notna().any())

    @cached_property
    def best(self) -> pd.Series:
        """The configuration of highest mean validation accuracy; where nothing is held out, the first that finished."""
        return self.main[self.main["n"] > 0].iloc[0]

    @cached_property
    def declared(self) -> declaration.Declaration:
        """What conf/comparison.yaml declares: contrasts, margins, and how many seeds a claim takes."""
        return declaration.load()

    def results_of(self, question: tuple[str, str]) -> list[RunResult]:
        """The runs of one comparison, finished or not."""
        return [result for result in self.experiments[question[1]] if result.job.dataset.name == question[0]]

    @cached_property
    def gap_by_training_loss(self) -> pd.DataFrame:
        """Of every comparison: the gap at each training loss that all seeds of a configuration passed."""
        parts = []
        keys = set(summary.once_per_seed(self.finished)["key"])
        for question in self.questions:
            found = gap_by_training_loss([run for run in self.results_of(question) if run.key in keys])
            parts.append(found.assign(dataset=question[0], experiment=question[1]))
        return pd.concat(parts, ignore_index=True) if parts else gap_by_training_loss([])

    @cached_property
    def bands(self) -> dict[tuple[str, str], pd.DataFrame]:
        """Curves of each comparison, mean and interval over seeds, at the epochs that all finished seeds of a configuration have."""
        return {question: self._bands(*question) for question in self.questions}

    def _bands(self, dataset: str, experiment: str) -> pd.DataFrame:
        curves = self.curves[self.curves["experiment"].eq(experiment) & self.curves["dataset"].eq(dataset)]
        point = ["configuration", "split", "epoch"]
        curves = curves[curves["status"].eq(FINISHED)].drop_duplicates([*point, "seed"], keep="last")
        seeds = curves.groupby("configuration")["seed"].transform("nunique")
        return bands(curves[curves.groupby(point)["seed"].transform("size").eq(seeds)])

    @cached_property
    def comparisons(self) -> list[tuple[str, str]]:
        """The questions that have an answer: those of several configurations, and the main one."""
        sizes = {question: int((self.question(question)["n"] > 0).sum()) for question in self.questions}
        return [question for question, size in sizes.items() if size > 1 or question == self.questions[0]]

    @cached_property
    def analyses(self) -> dict[tuple[str, str], Analysis]:
        """What the declared contrasts of each comparison show, and what they do not."""
        labels = {self.questions[0][0]: self.labels} if self.questions else {}
        return {
            question: analysis(self.results_of(question), self.declared, labels.get(question[0]))
            for question in self.comparisons
        }

    @property
    def analysis(self) -> Analysis:
        """That of the main comparison."""
        return self.analyses[self.questions[0]]

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most finished seeds that a configuration of the main comparison has."""
        counts = self.main.loc[self.main["n"] > 0, "n"]
        return int(counts.min()), int(counts.max())

    @cached_property
    def book(self) -> pd.DataFrame:
        """Finished runs of the book's network, one per seed."""
        jobs = {result.key for result in self.results if is_book(result.job)}
        runs = summary.once_per_seed(self.finished[self.finished["key"].isin(jobs)].drop_duplicates("key"))
        return runs[runs["dataset"].eq(runs["dataset"].iloc[0])] if len(runs) else runs

    @cached_property
    def book_question(self) -> tuple[str, str] | None:
        """The comparison that is about the book's network alone, where there is one."""
        names = set(self.book["experiment"])
        return next(
            (question for question in self.questions if question[1] in names and len(self.question(question)) == 1),
            None,
        )

    @cached_property
    def winner(self) -> RunResult | None:
        """The network of the pictures: the sweep's winner, or the best on validation, or the first with weights."""
        if not self.questions:
            return None
        dataset, experiment = self.questions[0]
        sources = sorted(self.sources, key=lambda source: source.name != experiment)
        for source in sources:
            for result in source.results:
                if source.sweep and result.key == source.sweep.winner and result.finished:
                    return result
        for source in sources:
            finished = [
                r for r in source.results if r.finished and r.predictions is not None and r.job.dataset.name == dataset
            ]
            if finished:
                return max(finished, key=lambda r: (r.figures.get("val/accuracy", -1.0), r.weights is not None))
        return None

    @cached_property
    def lost(self) -> list[LostRun]:
        """Failed and diverged runs: those with a record, and those that a sweep only knows by name."""
        found = []
        for source in self.sources:
            told = source.lost
            # By key, or by name in records of before keys were noted.
            commands = {word: lost.command for lost in told for word in (lost.key, lost.name) if word}
            for r in source.results:
                if not r.finished:
                    command = commands.get(r.key) or commands.get(r.name, "")
                    found.append(LostRun(source.name, r.name, r.status, r.reason or "", command, r.key))
            known = {r.key for r in source.results} | {r.name for r in source.results if source.sweep}
            found += [
                LostRun(source.name, lost.name, lost.status, lost.reason, lost.command, lost.key)
                for lost in told
                if (lost.key or lost.name) not in known
            ]
        return found

    @cached_property
    def leaks(self) -> list[str]:
        """Runs on MNIST that are too good to be true."""
        suspicious = self.finished[self.finished["dataset"].eq("mnist") & self.finished["test_accuracy"].gt(LEAK)]
        return sorted(set(suspicious["name"]))

    @cached_property
    def seconds(self) -> float:
        """Training time of all runs together, each run once."""
        return float(np.nansum(self.runs.drop_duplicates("key")["seconds"]))

    def count(self, status: str) -> int:
        """Runs of this status, each once; for lost ones those without a record too."""
        if status in (FAILED, DIVERGED):
            return sum(lost.status == status for lost in self.lost)
        return int(self.runs.drop_duplicates("key")["status"].eq(status).sum())

    def link(self, experiment: str, key: str) -> str | None:
        """Address of the run's page in the MLflow UI, where it was published."""
        ids = self.published.get((experiment, key), {})
        return self._page(ids, ids.get("run_id"))

    def link_of(self, key: str) -> str | None:
        """Address of the run in the MLflow UI, in whichever experiment it was published."""
        links = (self.link(source.name, key) for source in self.sources)
        return next((link for link in links if link), None)

    @cached_property
    def by_beginning(self) -> dict[str, str]:
        """Keys of all runs in `store`, by how they begin."""
        return {beginning(key): key for key in self.store.keys()} if self.store else {}  # noqa: SIM118

    def record_of(self, start: str) -> RunResult | None:
        """The run in `store` whose key begins so; None where its record cannot be read."""
        with suppress(KeyError, UnreadableRun):
            return self.store.record(self.by_beginning[start]) if self.store else None
        return None

    def link_to(self, start: str) -> str | None:
        """Address of the run in the MLflow UI whose key begins so, if it is in `store`."""
        key = self.by_beginning.get(start)
        ids = self.store.published(key) if self.store and key else {}
        return self._page(ids, ids.get("run_id"))

    def parent_link(self, experiment: str) -> str | None:
        """Address of the parent run of a sweep, which carries the comparison."""
        for source in self.sources:
            noted = [ids for ids in source.published.values() if ids.get("experiment_id")]
            if source.name == experiment and source.sweep and source.sweep.parent_run_id and noted:
                ids = min(noted, key=lambda ids: ids["experiment_id"])
                return self._page(ids, source.sweep.parent_run_id)
        return None

    def _page(self, ids: Mapping[str, str], run: str | None) -> str | None:
        """Address of a run's page: on the server that has it, else on that of `make ui`; None where `ids` do not tell it."""
        if not run or "experiment_id" not in ids:
            return None
        store = ids.get("store", "")
        server = store.replace("***@", "") if store.startswith("http") else self.ui
        return RUN_PAGE.format(ui=server, experiment=ids["experiment_id"], run=run)
