"""The input of a report: the runs of some folders, their summaries, and the comparisons among them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.cli import ui_address
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config.run_config import Model, RunConfig, Training
from pipeline.config.values import WITH_DECAY
from pipeline.data.arrays import Arrays, DamagedData
from pipeline.statistics import declaration, design, summary, versions
from pipeline.statistics.analysis import Analysis, analysis
from pipeline.statistics.equal_fit import gap_by_training_loss
from pipeline.statistics.seeds import MoreSeeds, more_seeds
from pipeline.storage.sources import Source, check_predictions_of_all, judged_on, runs_not_finished
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

Question = tuple[str, str]
"""Data set and experiment. Runs that share both are compared with one another."""


def is_book(job: RunConfig) -> bool:
    """Whether `job` is the first network of the book, trained as there, on all samples of any data set."""
    data, training, own = job.dataset, job.training, dict(job.optimizer.hyperparameters)
    plain = Training(5, 128, training.loss, training.curve_samples)
    return (
        job.model == Model((512,), "relu", 0.0, "glorot_uniform")
        and (job.optimizer.name, job.optimizer.keras_class or "RMSprop") == ("rmsprop", "RMSprop")
        and not any(own.get(name) for name in ("momentum", "weight_decay", "centered"))
        and (own.get("learning_rate"), own.get("rho", 0.9), own.get("epsilon", 1e-7)) == (0.001, 0.9, 1e-7)
        and training.schedule in ("constant", *WITH_DECAY)  # constant, since `plain` has no `decay_epochs`
        and replace(training, schedule=plain.schedule, decay=plain.decay, evaluate_every=1, metrics=()) == plain
        and "crossentropy" in training.loss
        and not any((data.validation_size, data.train_size, data.label_noise, data.standardize))
    )


def _called(table: pd.DataFrame, results: Iterable[RunResult]) -> pd.DataFrame:
    """`table` with the `design.labels` of each configuration within its comparison."""
    jobs = {result.job.configuration: result.job for result in results}
    parts = [
        design.labels({name: jobs[name] for name in own["configuration"]}).set_axis(own.index)
        for _, own in table.groupby(["dataset", "experiment"], sort=False)
    ]
    return table.join(pd.concat(parts) if parts else design.labels({}))


class Evidence:
    """Everything that tables, charts and sentences are made from. Nothing in it depends on the time of day.

    `ui`: address of the MLflow UI for links to runs. `rank`: the metric on held-out samples that orders the leaderboard:
    `accuracy`, `loss` or one of `training.metrics`. `data`: the folder of the processed data sets. Raises UserError for a
    metric that no run has, and for predictions that do not fit the test samples.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        ui: str = ui_address.DEFAULT,
        rank: str = "accuracy",
        data: Path | None = None,
    ) -> None:
        self.sources, self.ui, self.data = versions.joined(sources), ui, data
        self.declared = declaration.load()
        self.experiments = {source.name: source.results for source in self.sources}
        self.results = list(chain.from_iterable(self.experiments.values()))
        if data:
            check_predictions_of_all(self.results, data)
        self.runs = summary.tidy(self.experiments)
        self.finished = self.runs[self.runs["status"].eq(FINISHED)]
        self.curves = summary.curve_points(self.experiments)
        self.metrics = summary.extra_metrics(result.job for result in self.results)
        """Metrics of the runs other than loss and accuracy."""
        known = ["accuracy", "loss", *self.metrics]
        if rank not in known:
            raise UserError(
                f"rank={rank}: no run has this metric; expected one of {', '.join(known)}{nearest(rank, known)}"
            )
        self.rank, self.ranking = rank, f"val_{rank}"
        self.table = _called(summary.summarise(self.runs, self.ranking), self.results)
        """A row per configuration, with the columns of `summary.summarise` and `design.labels`."""
        self.lost = list(chain.from_iterable(map(runs_not_finished, self.sources)))
        sizes = self.table[self.table["n"] > 0].groupby(["dataset", "experiment"], sort=False).size()
        order = sizes.sort_values(ascending=False, kind="stable")
        self.questions: list[Question] = [(str(dataset), str(experiment)) for dataset, experiment in order.index]
        """The comparisons among the runs, the one with most configurations first."""
        self.comparisons = [question for question in self.questions if order[question] > 1] or self.questions[:1]
        """The comparisons of several configurations, which have an answer; if there are none, the first question."""
        lost = {own.key or (own.experiment, own.name): own.status for own in self.lost}
        finished = self.finished["key"].nunique()
        self.counts: dict[str, int] = {FINISHED: finished, FAILED: 0, DIVERGED: 0, **Counter(lost.values())}
        """Number of runs by status, each counted once, including lost runs without a record."""
        self.seconds = float(np.nansum(self.runs.drop_duplicates("key")["seconds"]))
        """Training time of all runs, each counted once."""

    def source(self, experiment: str) -> Source:
        """The source of an experiment's runs."""
        return next(source for source in self.sources if source.name == experiment)

    def question(self, question: Question) -> pd.DataFrame:
        """The configurations of one comparison, in the order of `summary.summarise`."""
        return self.table[self.table["dataset"].eq(question[0]) & self.table["experiment"].eq(question[1])]

    def results_of(self, question: Question) -> list[RunResult]:
        """All runs of one comparison, finished or not."""
        return [result for result in self.experiments[question[1]] if result.job.dataset.name == question[0]]

    def validated(self, question: Question) -> bool:
        """Whether the runs of this comparison have held-out samples."""
        return bool(self.question(question)["val_accuracy_mean"].notna().any())

    @cached_property
    def main(self) -> pd.DataFrame:
        """The configurations of the largest comparison, the subject of the page's opening."""
        return self.question(self.questions[0])

    @cached_property
    def analyses(self) -> dict[Question, Analysis]:
        """The statistics of each comparison."""
        return {
            question: analysis(self.results_of(question), self.declared, self.arrays) for question in self.comparisons
        }

    @cached_property
    def more_seeds(self) -> dict[Question, MoreSeeds]:
        """The missing seeds of each comparison in which more seeds would decide something."""
        found = {question: more_seeds(own, self.results_of(question)) for question, own in self.analyses.items()}
        return {question: more for question, more in found.items() if more}

    @cached_property
    def gap_by_training_loss(self) -> pd.DataFrame:
        """The gap at each training loss that all seeds of a configuration passed, for every comparison."""
        used = summary.once_per_seed(self.finished).groupby("experiment")["key"].agg(set)
        parts = [
            gap_by_training_loss([run for run in self.results_of(question) if run.key in used[question[1]]]).assign(
                dataset=question[0], experiment=question[1]
            )
            for question in self.questions
        ]
        return pd.concat(parts, ignore_index=True) if parts else gap_by_training_loss([])

    @cached_property
    def held_out_loss(self) -> pd.DataFrame:
        """`loss_mean`, `_low`, `_high` over seeds, each once, at each epoch that all finished seeds of a configuration have."""
        configuration = ["dataset", "experiment", "configuration"]
        point = [*configuration, "split", "epoch"]
        used = summary.once_per_seed(self.finished)[["experiment", "key"]]
        curves = self.curves[self.curves["split"].ne("train")].merge(used)
        seeds = curves.groupby(configuration)["seed"].transform("nunique")
        return summary.intervals(curves[curves.groupby(point)["seed"].transform("size").eq(seeds)], point, ["loss"])

    @cached_property
    def book(self) -> pd.DataFrame:
        """Finished runs of the book's network on one data set, the latest of each seed."""
        keys = {result.key for result in self.results if is_book(result.job)}
        runs = self.finished[self.finished["key"].isin(keys)]
        alike = runs[runs["dataset"].eq(next(iter(runs["dataset"]), ""))]
        return alike.sort_values("started", kind="stable").drop_duplicates("seed", keep="last")

    @cached_property
    def winner(self) -> RunResult | None:
        """The run behind the confusion matrix and the hardest digits.

        This is the winner of the largest sweep, or else its run of highest validation accuracy.
        """
        if not self.questions:
            return None
        named = {sweep.winner for sweep in self.source(self.questions[0][1]).sweeps}
        runs = [run for run in self.results_of(self.questions[0]) if run.finished and run.predictions is not None]

        def order(run: RunResult) -> tuple[bool, float, bool]:
            return run.key in named, run.metrics.get("val/accuracy", -1.0), run.weights is not None

        return max(runs, key=order, default=None)

    @cached_property
    def arrays(self) -> Arrays | None:
        """The data that the winner was tested on; None, with a line on stderr, if they are missing."""
        try:
            return judged_on(self.winner, self.data) if self.winner and self.data else None
        except DamagedData:
            raise
        except UserError as error:
            print(f"the report has no test images: {error}", file=sys.stderr)
            return None

    def ids(self, experiment: str, key: str) -> Mapping[str, str]:
        """The ids of a run in MLflow; empty if it was not published."""
        return self.source(experiment).published.get(key, {})

    def link(self, experiment: str, key: str) -> str | None:
        """Address of the run's page in the MLflow UI; None if it was not published."""
        ids = self.ids(experiment, key)
        return self._page(ids, ids.get("run_id"))

    def parent_link(self, experiment: str) -> str | None:
        """Address of the parent run of an experiment's first sweep, which carries the report."""
        for sweep in self.source(experiment).sweeps[:1]:
            noted = [ids for key in sweep.keys if (ids := self.ids(experiment, key)).get("experiment_id")]
            if noted:
                return self._page(min(noted, key=lambda ids: ids["experiment_id"]), sweep.parent_run_id)
        return None

    def _page(self, ids: Mapping[str, str], run: str | None) -> str | None:
        """Address of a run's page, on the server that has it or else on that of `make ui`; None if `ids` lack it."""
        if not run or "experiment_id" not in ids:
            return None
        store = ids.get("store", "")
        server = store.replace("***@", "") if store.startswith("http") else self.ui
        return f"{server}/#/experiments/{ids['experiment_id']}/runs/{run}"
