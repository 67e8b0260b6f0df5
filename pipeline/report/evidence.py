"""What a comparison is made from: the runs of some folders, their summary, and the questions that it can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd

from pipeline.cli import ui_address
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config.names import names
from pipeline.config.run_config import Model, RunConfig, Training
from pipeline.statistics import declaration, summary, versions
from pipeline.statistics.analysis import Analysis, analysis
from pipeline.statistics.equal_fit import gap_by_training_loss
from pipeline.statistics.seeds import MoreSeeds, more_seeds
from pipeline.storage.sources import Source
from pipeline.storage.sweeps import Lost
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

RUN_PAGE = "{ui}/#/experiments/{experiment}/runs/{run}"
"""A run's page in the MLflow UI."""

LEAK = 0.991
"""A dense network that beats this on MNIST's test split without augmentation has seen test data in training."""

BOOK_SOURCE = "Chollet, Deep Learning with Python, chapter 2.1"
BOOK_ACCURACY, BOOK_BAND = 0.978, (0.972, 0.984)
"""Test accuracy that the book prints, and the band in which each seed of its network should lie."""

Question = tuple[str, str]
"""Data set and experiment: the runs of both are compared with one another."""


@dataclass
class LostRun(Lost):
    """A run that was asked for and did not finish, with its experiment."""

    experiment: str = ""


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
        and replace(training, schedule=plain.schedule, decay=plain.decay, evaluate_every=1) == plain
        and "crossentropy" in training.loss
        and (job.dataset.validation_size, job.dataset.train_size, job.dataset.label_noise) == (0, 0, 0)
    )


def lost_runs(source: Source) -> list[LostRun]:
    """Failed and diverged runs: those with a record, and those that a sweep only knows by name."""
    told = {lost.key or lost.name: lost for lost in source.lost}
    found, called = [], names(run.job for run in source.results)
    for run in source.results:
        known = told.pop(run.key, None) or told.pop(called[run.job], None)
        if not run.finished:
            command = known.command if known else ""
            found.append(LostRun(called[run.job], run.status, run.reason or "", command, run.key, source.name))
    return found + [LostRun(**vars(lost), experiment=source.name) for lost in told.values()]


def ranked(table: pd.DataFrame, ranking: str = summary.RANKING) -> pd.DataFrame:
    """`table` with the places that each configuration may take in its experiment, `place` (best) to `place_to` (worst).

    `place` counts the rows whose interval of `ranking` (of the same on the test file, where nothing is held out) is wholly
    better than this one's, `place_to` leaves out those whose is wholly worse. A row without an interval has no place.
    """
    places = pd.DataFrame(index=table.index, columns=["place", "place_to"], dtype="Int64")
    for _, group in table.groupby(["dataset", "experiment"], sort=False):
        held_out = group[f"{ranking}_mean"].notna().any()
        figure = ranking if held_out else ranking.replace("val_", "test_", 1)
        low, high = (group[f"{figure}_{end}"].to_numpy(float) for end in ("low", "high"))
        if summary.sign_of(ranking) < 0:
            low, high = -high, -low
        known = ~np.isnan(high)
        above = (low[None, :] > high[:, None]).sum(axis=1)
        below = (high[None, :] < low[:, None]).sum(axis=1)
        places.loc[group.index[known], "place"] = above[known] + 1
        places.loc[group.index[known], "place_to"] = known.sum() - below[known]
    return table.join(places)


class Evidence:
    """All that tables, figures and sentences are made from. Nothing in it depends on the time of day.

    `ui`: address of the MLflow UI that links to runs lead to. `rank`: the metric that a leaderboard is ordered by, on the
    held-out samples: `accuracy`, `loss` or one of `training.metrics`. Raises UserError for one that no run has.
    """

    def __init__(self, sources: Sequence[Source], ui: str = ui_address.DEFAULT, rank: str = "accuracy") -> None:
        self.sources, self.ui = versions.joined(sources), ui
        self.labels: np.ndarray | None = None
        """The right classes of the main comparison's test images, set where they are at hand."""
        self.declared = declaration.load()
        self.experiments = {source.name: source.results for source in self.sources}
        self.results = list(chain.from_iterable(self.experiments.values()))
        self.runs = summary.tidy(self.experiments)
        self.finished = self.runs[self.runs["status"].eq(FINISHED)]
        self.curves = summary.curve_points(self.experiments)
        self.metrics = summary.extra_metrics(result.job for result in self.results)
        """Metrics that runs have besides loss and accuracy."""
        known = ["accuracy", "loss", *self.metrics]
        if rank not in known:
            raise UserError(
                f"rank={rank}: no run has this metric; expected one of {', '.join(known)}{nearest(rank, known)}"
            )
        self.rank, self.ranking = rank, f"val_{rank}"
        self.table = ranked(summary.summarise(self.runs, self.ranking), self.ranking)
        self.lost = list(chain.from_iterable(map(lost_runs, self.sources)))
        sizes = self.table[self.table["n"] > 0].groupby(["dataset", "experiment"], sort=False).size()
        order = sizes.sort_values(ascending=False, kind="stable")
        self.questions: list[Question] = [(str(dataset), str(experiment)) for dataset, experiment in order.index]
        """Comparisons among the runs, the one of most configurations first."""
        self.comparisons = [question for question in self.questions if order[question] > 1] or self.questions[:1]
        """Those of several configurations, which have an answer; else the first one."""
        suspicious = self.finished["dataset"].eq("mnist") & self.finished["test_accuracy"].gt(LEAK)
        self.leaks = sorted(set(self.finished.loc[suspicious, "name"]))
        """Names of runs on MNIST that are too good to be true."""
        self.seconds = float(np.nansum(self.runs.drop_duplicates("key")["seconds"]))
        """Training time of all runs together, each run once."""

    def source(self, experiment: str) -> Source:
        """Where the runs of an experiment come from."""
        return next(source for source in self.sources if source.name == experiment)

    def question(self, question: Question) -> pd.DataFrame:
        """The configurations of one comparison, in the order of `summary.summarise`."""
        return self.table[self.table["dataset"].eq(question[0]) & self.table["experiment"].eq(question[1])]

    def results_of(self, question: Question) -> list[RunResult]:
        """The runs of one comparison, finished or not."""
        return [result for result in self.experiments[question[1]] if result.job.dataset.name == question[0]]

    def validated(self, question: Question) -> bool:
        """Whether anything is held out in this comparison."""
        return bool(self.question(question)["val_accuracy_mean"].notna().any())

    @cached_property
    def main(self) -> pd.DataFrame:
        """The largest comparison: what the page's opening sentences and its figures are about."""
        return self.question(self.questions[0])

    @property
    def chosen_on_validation(self) -> bool:
        return self.validated(self.questions[0])

    @cached_property
    def analyses(self) -> dict[Question, Analysis]:
        """What the declared contrasts of each comparison show, and what they do not."""
        labels = {self.questions[0][0]: self.labels} if self.questions else {}
        return {
            question: analysis(self.results_of(question), self.declared, labels.get(question[0]))
            for question in self.comparisons
        }

    @cached_property
    def more_seeds(self) -> dict[Question, MoreSeeds]:
        """Of each comparison that more seeds would decide something of, which."""
        found = {question: more_seeds(own, self.results_of(question)) for question, own in self.analyses.items()}
        return {question: more for question, more in found.items() if more}

    @property
    def analysis(self) -> Analysis:
        """That of the main comparison."""
        return self.analyses[self.questions[0]]

    @cached_property
    def gap_by_training_loss(self) -> pd.DataFrame:
        """Of every comparison: the gap at each training loss that all seeds of a configuration passed."""
        keys = set(summary.once_per_seed(self.finished)["key"])
        parts = [
            gap_by_training_loss([run for run in self.results_of((dataset, experiment)) if run.key in keys]).assign(
                dataset=dataset, experiment=experiment
            )
            for dataset, experiment in self.questions
        ]
        return pd.concat(parts, ignore_index=True) if parts else gap_by_training_loss([])

    @cached_property
    def bands(self) -> dict[Question, pd.DataFrame]:
        """Curves of each comparison, mean and interval over seeds, at the epochs that all finished seeds of a configuration have."""
        return {question: self._bands(*question) for question in self.questions}

    def _bands(self, dataset: str, experiment: str) -> pd.DataFrame:
        curves = self.curves[self.curves["experiment"].eq(experiment) & self.curves["dataset"].eq(dataset)]
        point = ["configuration", "split", "epoch"]
        curves = curves[curves["status"].eq(FINISHED)].drop_duplicates([*point, "seed"], keep="last")
        seeds = curves.groupby("configuration")["seed"].transform("nunique")
        common = curves[curves.groupby(point)["seed"].transform("size").eq(seeds)]
        return summary.intervals(common, point, ["loss", "accuracy"])

    @cached_property
    def book(self) -> pd.DataFrame:
        """Finished runs of the book's network, one per seed, on one data set."""
        keys = {result.key for result in self.results if is_book(result.job)}
        runs = summary.once_per_seed(self.finished[self.finished["key"].isin(keys)].drop_duplicates("key"))
        return runs[runs["dataset"].eq(runs["dataset"].iloc[0])] if len(runs) else runs

    @cached_property
    def winner(self) -> RunResult | None:
        """The network of the pictures: the winner of the largest sweep; else its run of highest validation accuracy."""
        if not self.questions:
            return None
        named = {sweep.winner for sweep in self.source(self.questions[0][1]).sweeps}
        runs = [run for run in self.results_of(self.questions[0]) if run.finished and run.predictions is not None]

        def order(run: RunResult) -> tuple[bool, float, bool]:
            return run.key in named, run.figures.get("val/accuracy", -1.0), run.weights is not None

        return max(runs, key=order, default=None)

    @property
    def winner_name(self) -> str:
        return "" if self.winner is None else str(self.runs.loc[self.runs["key"].eq(self.winner.key), "name"].iloc[0])

    def count(self, status: str) -> int:
        """Runs of this status, each once; for lost ones those without a record too."""
        if status in (FAILED, DIVERGED):
            return sum(lost.status == status for lost in self.lost)
        return int(self.runs.drop_duplicates("key")["status"].eq(status).sum())

    def mlflow_id(self, experiment: str, key: str) -> str | None:
        return self._ids(experiment, key).get("run_id")

    def link(self, experiment: str, key: str) -> str | None:
        """Address of the run's page in the MLflow UI, where it was published."""
        ids = self._ids(experiment, key)
        return self._page(ids, ids.get("run_id"))

    def _ids(self, experiment: str, key: str) -> Mapping[str, str]:
        return self.source(experiment).published.get(key, {})

    def parent_link(self, experiment: str) -> str | None:
        """Address of the parent run of a sweep, which carries the comparison; of several sweeps that of the first."""
        for sweep in self.source(experiment).sweeps[:1]:
            noted = [ids for key in sweep.keys if (ids := self._ids(experiment, key)).get("experiment_id")]
            if noted:
                return self._page(min(noted, key=lambda ids: ids["experiment_id"]), sweep.parent_run_id)
        return None

    def _page(self, ids: Mapping[str, str], run: str | None) -> str | None:
        """Address of a run's page: on the server that has it, else on that of `make ui`; None where `ids` do not tell it."""
        if not run or "experiment_id" not in ids:
            return None
        store = ids.get("store", "")
        server = store.replace("***@", "") if store.startswith("http") else self.ui
        return RUN_PAGE.format(ui=server, experiment=ids["experiment_id"], run=run)
