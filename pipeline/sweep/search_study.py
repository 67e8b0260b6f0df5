"""A study of Optuna: trials are asked for in batches and told when the whole batch has ended; what it found.

So a trial's values follow from seed, batch size and the results of earlier batches: not from which run of a batch ends first,
nor from when a study was stopped and continued.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import plural
from pipeline.config import rules
from pipeline.data.files import atomic_write
from pipeline.sweep.search_settings import SearchSettings
from pipeline.tracking.describe import NOTE
from pipeline.training.outcome import Epoch
from pipeline.training.result import FAILED, FINISHED, PRUNED, RunResult

JOURNAL = "study.journal"
TABLE = "trials.csv"
SHOWN = 20
"""Maximum number of printed trials of a Pareto front."""

STARTUP_TRIALS = 10
"""Number of first trials that TPE draws at random and the median pruner does not prune."""


class Study:
    """The trials of one search. Only one command at a time can open it: see `Search`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: SearchSettings,
        distributions: Mapping[str, BaseDistribution],
        declaration: Mapping[str, Any],
        epochs: int,
    ) -> None:
        """Open the study in `folder`, or begin it.

        `declaration`: what its trials have in common, as plain JSON values; UserError if those of the study have something
        else. `epochs`: the most that a run trains, for the pruner.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        # `tell` hands over the whole curve, of which the pruner may have seen a part.
        warnings.filterwarnings("ignore", "The reported value is ignored because")
        self.name, self.folder, self.settings, self.distributions = name, folder, settings, dict(distributions)
        directions = [
            StudyDirection.MAXIMIZE if each.maximize else StudyDirection.MINIMIZE for each in settings.objectives
        ]
        self._study = optuna.create_study(
            study_name=name,
            storage=_journal(folder / JOURNAL),
            pruner=_pruner(settings.pruner, epochs),
            directions=directions,
            load_if_exists=True,
        )
        self._lock = threading.Lock()
        self._declare(declaration)
        self._retry()

    def _declare(self, declaration: Mapping[str, Any]) -> None:
        before = self._study.user_attrs.get("declaration")
        if before is None:
            self._study.set_user_attr("declaration", declaration)
            self._study.set_metric_names([each.name for each in self.settings.objectives])
        elif before != declaration:
            keys = sorted(key for key in {*before, *declaration} if before.get(key) != declaration.get(key))
            shown = ", ".join(f"{key} ({before.get(key)}, now {declaration.get(key)})" for key in keys[:3])
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UserError(
                f"name={self.name}: its trials have another {shown}{more}; expected the same, or a new name"
            )

    def _retry(self) -> None:
        """Enqueue the unfinished trials of a killed command again; their stored runs are not trained again."""
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)

    @property
    def trials(self) -> list[FrozenTrial]:
        """Return the ended trials in the order of their numbers."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return [trial for trial in self._study.get_trials(deepcopy=False, states=ended) if "status" in trial.user_attrs]

    @property
    def best(self) -> list[FrozenTrial]:
        """Return the best trial, or the Pareto front for several objectives; none if no run finished."""
        finished = (trial for trial in self._study.best_trials if trial.user_attrs["status"] == FINISHED)
        found = sorted(finished, key=lambda trial: trial.number)
        return found if len(self.settings.objectives) > 1 else found[:1]

    def table(self) -> pd.DataFrame:
        """Return a table with a row per trial."""
        table = self._study.trials_dataframe(("number", "values", "params", "user_attrs"))
        table = table.rename(columns=lambda name: re.sub("^(values|params|user_attrs)_", "", name))
        table = table.loc[table["status"].notna(), ~table.columns.duplicated()]  # a time may be an objective, too
        best = [trial.number for trial in self.best]
        return table.assign(best=table["number"].isin(best)).rename(columns={"number": "trial"})

    def write(self) -> None:
        """Write the table to the folder of the study."""
        with atomic_write(self.folder / TABLE) as temporary:
            self.table().to_csv(temporary, index=False)

    def ask(self, count: int) -> list[Trial]:
        """Return the next trials, drawn from all results so far."""
        self._study.sampler = _sampler(self.settings, len(self.trials))
        return [self._study.ask(self.distributions) for _ in range(count)]

    def prune(self, trial: Trial, point: Epoch) -> bool:
        """Whether to prune the run of `trial` after this point. Thread-safe."""
        with self._lock:
            trial.report(point.metrics[self.settings.objectives[0].curve], point.epoch)
            return trial.should_prune()

    def tell(self, trial: Trial, result: RunResult) -> None:
        """Record the result of a trial. A run that diverged gets the worst value; a failed one is ignored."""
        for name in ("key", "name", "status", "reason"):
            trial.set_user_attr(name, getattr(result, name))
        for name in ("time/epochs", "time/train_s"):
            trial.set_user_attr(name, result.metrics.get(name, 0))
        if self.settings.pruner != "none" and (curve := result.history.get(self.settings.objectives[0].curve)):
            for epoch, value in zip(result.epochs, curve, strict=True):
                if np.isfinite(value):
                    trial.report(value, epoch)
        if result.status == FAILED:
            self._study.tell(trial, state=TrialState.FAIL)
        elif result.status == PRUNED:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            metrics = result.metrics
            values = [metrics[each.name] if result.finished else each.diverged for each in self.settings.objectives]
            self._study.tell(trial, values)

    def refuse(self, trial: Trial, reason: str) -> None:
        """Record why a trial has no result."""
        trial.set_user_attr("status", "refused")
        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.FAIL)


def drawn(distributions: Mapping[str, BaseDistribution], count: int, seed: int) -> list[dict[str, Any]]:
    """Return the values of `count` random trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return [study.ask(dict(distributions)).params for _ in range(count)]


def _journal(journal: Path) -> JournalStorage:
    """Return Optuna's journal without a last line that a kill cut off, since the next line would be appended to it."""
    if journal.exists() and not (content := journal.read_bytes()).endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(journal)))


def _pruner(name: str, epochs: int) -> BasePruner:
    if name == "median":
        # In the first epochs a small rate is behind whatever it comes to: on digits, pruning from the first one lost the best.
        return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=epochs // 4)
    return HyperbandPruner(max_resource=epochs) if name == "hyperband" else NopPruner()


def _sampler(settings: SearchSettings, told: int) -> BaseSampler:
    """Return the sampler of the next batch. Its seed depends on the number of trials, since a new process starts a new sampler."""
    seed = int(np.random.SeedSequence([settings.seed, told]).generate_state(1)[0])
    if settings.sampler == "random":
        return RandomSampler(seed=seed)
    if settings.sampler == "qmc":
        # Its sequence has one seed; the study knows the place in it.
        first = int(np.random.SeedSequence(settings.seed).generate_state(1)[0])
        return QMCSampler(
            scramble=True, seed=first, independent_sampler=RandomSampler(seed=seed), warn_independent_sampling=False
        )
    if settings.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)


def lines(study: Study) -> Iterator[str]:
    """Return the lines that are printed at the end."""
    trials = study.trials
    counts = Counter(trial.user_attrs["status"] for trial in trials)
    yield f"{plural(len(trials), 'trial')}: {', '.join(f'{count} {status}' for status, count in counts.items())}"
    best = study.best
    if len(study.settings.objectives) > 1:
        yield f"{plural(len(best), 'trial')} on the Pareto front:"
    for trial in best[:SHOWN]:
        yield _line(study, trial)
    if len(best) > SHOWN:
        yield f"and {len(best) - SHOWN} more in {TABLE}"


def _line(study: Study, trial: FrozenTrial) -> str:
    found = zip(study.settings.objectives, trial.values, strict=True)
    metrics = ", ".join(f"{each.name} {value:.4f}" for each, value in found)
    values = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    return f"trial {trial.number}: {metrics}; {values}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else rules.to_text(value)


def for_mlflow(study: Study) -> tuple[dict[str, str], dict[str, Path]]:
    """Return tags and files of the parent run, after writing the table."""
    study.write()
    tags = {
        "study": study.name,
        "trials": str(len(study.trials)),
        "objectives": ", ".join(sorted(each.name for each in study.settings.objectives)),
        "best.trials": ", ".join(f"{trial.number}: {trial.user_attrs['name']}" for trial in study.best),
        NOTE: "\n\n".join(lines(study)),
    }
    return tags, {f"search/{TABLE}": study.folder / TABLE}
