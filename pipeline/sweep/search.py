"""A search: Optuna draws the values of a batch of trials, the engine trains them together, and Optuna learns what came of them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, Trial

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import duration, nearest
from pipeline.config import compose, rules
from pipeline.config.compose import ConfigurationError
from pipeline.config.run_config import digest
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep.estimate import History
from pipeline.sweep.outcome import Batches, Outcome
from pipeline.sweep.plan import Plan, PlannedRun, from_project, look_up, make_plan, store_root, to_train
from pipeline.sweep.search_settings import OBJECTIVES, SearchSettings
from pipeline.sweep.search_space import Space, Value, first
from pipeline.sweep.search_study import Study, drawn, for_mlflow
from pipeline.sweep.session import Session

QUESTION = "search"
MEASURED = ("val/accuracy", "val/loss")
"""Metrics of the held-out samples that need no `training.metrics`."""


class SearchRuns:
    """Plans the run of each trial."""

    def __init__(self, settings: SearchSettings, space: Space) -> None:
        """Raises UserError if the configuration cannot be searched."""
        self.settings, self.space = settings, space
        self._fixed = [f"question={QUESTION}", *space.fixed, f"seed={settings.seed}"]
        # Composed once for each choice of files, as that takes 0.2 s.
        self._config = cache(lambda *chosen: compose.configs([[*self._fixed, *chosen]])[0])
        at_first = {key: first(each) for key, each in space.distributions.items()}
        self.values, _ = self._composed(at_first)
        """The configuration at the first value of each range; all other values hold for all trials."""
        self._check()
        self.base = self.run(at_first)

    def run(self, values: Mapping[str, Value]) -> PlannedRun:
        """Return the run of a trial with these values. Raises ConfigurationError if they cannot be combined."""
        configuration, overrides = self._composed(values)
        [run] = make_plan([configuration], [[*self._fixed, *overrides]])
        return run

    def declaration(self) -> dict[str, str]:
        """Return all settings that decide the trials, except their number, by key."""
        groups = tuple(f"{key}." for key in self.space.distributions if key in rules.GROUPS)
        flat = {
            key: rules.to_text(value)
            for key, value in self.base.job.flat().items()
            if key not in self.space.distributions and not key.startswith(groups)
        }
        if groups:  # their files differ in the other keys: what holds for all of them is what was typed
            typed = (text.lstrip("+") for text in self.space.fixed)
            flat |= dict(text.split("=", 1) for text in typed if text.startswith((*groups, "experiment=", "local=")))
        ranges = {key: text.replace(" ", "") for key, _, text in (each.partition("=") for each in self.space.overrides)}
        own = {name: str(getattr(self.settings, name)) for name in ("sampler", "pruner", "seed")}
        own["objectives"] = ",".join(each.name for each in self.settings.objectives)
        made_of = self.base.identity
        own |= {"code": made_of["source"][:12], "data": made_of["data"][:12], "numerics": str(made_of["numerics"])}
        return flat | ranges | own

    def _check(self) -> None:
        if not self.values["dataset"]["validation_size"]:
            raise UserError("dataset.validation_size=0: expected over 0; a search looks at the validation split only")
        if self.values["force"]:
            raise UserError("force=true: a search trains no run twice; name=… begins another one")
        measured = [*MEASURED, *(f"val/{name.rpartition('.')[2]}" for name in self.values["training"]["metrics"])]
        for name in (each.name for each in self.settings.objectives):
            if name.startswith("val/") and name not in measured:
                metric, near = name.removeprefix("val/"), nearest(name, [*OBJECTIVES])
                raise UserError(f"objectives={name}: needs training.metrics=[{metric}]{near}")

    def _composed(self, values: Mapping[str, Value]) -> tuple[dict[str, Any], list[str]]:
        """Return a trial's configuration, and its values as overrides of `python -m pipeline.train`.

        Values that its optimizer or network has not got are left out.
        """
        texts = {key: f"{key}={rules.to_text(value)}" for key, value in values.items()}
        chosen = [text for key, text in texts.items() if key in rules.GROUPS]
        config = self._config(*chosen)
        single = [text for key, text in texts.items() if key not in rules.GROUPS and _has(config, key)]
        overrides = OverridesParser.create().parse_overrides(single)
        return compose.changed(config, {each.key_or_group: each.value() for each in overrides}), [*chosen, *single]


def _has(config: DictConfig, key: str) -> bool:
    section, _, name = key.rpartition(".")
    return name in (OmegaConf.select(config, section) if section else config)


class Search:
    """One study, and the session that trains its trials."""

    def __init__(self, settings: SearchSettings, space: Space) -> None:
        """Raises UserError if the configuration cannot be searched."""
        self.settings, self.space = settings, space
        self.runs = SearchRuns(settings, space)
        self.declaration = self.runs.declaration()
        self.name = settings.name or f"{QUESTION}-{digest(self.declaration)[:8]}"
        self.folder = from_project(settings.out) / self.name
        self.store = RunStore(store_root(self.runs.values["paths"]["runs"]))
        device = self.runs.base.device
        at_a_time = device.stack if device.backend == "jax" else device.workers
        self.batch = settings.batch or (max(1, at_a_time) if device.trainer == "engine" else 1)
        self.unsent: UserError | None = None
        """Why MLflow lacks some runs; None if it has all. They are on disk in any case."""
        self._asked: dict[str, Trial] = {}
        """The trial of each run in the current batch."""

    def run(self) -> Study:
        """Train the remaining trials and return the study."""
        with self._alone():
            epochs = self.runs.base.job.training.epochs
            swept = self.space.distributions.get("training.epochs")
            high = max(getattr(swept, "choices", [getattr(swept, "high", epochs)]))
            study = Study(self.name, self.folder, self.settings, self.space.distributions, self.declaration, high)
            prune = (
                None if self.settings.pruner == "none" else lambda run, point: study.prune(self._asked[run.key], point)
            )
            batches = Batches(self.name, self.settings.n_trials, self._before(study.trials), prune)
            session = Session((), self.runs.values, batches=batches)
            session.run(self._batches(study, session))
            self.unsent = session.unsent
        return study

    def with_other_seeds(self, study: Study) -> str:
        """Return the command that trains the best trial with ten seeds, since its own validation accuracy is optimistic."""
        overrides = self.runs.run(study.best[0].params).overrides
        # With its paths.results the command would empty the folder of the search.
        own = ("question", "seed", "paths.results")
        shared = [override for override in overrides if override.lstrip("+").partition("=")[0] not in own]
        return shlex.join(["python", "-m", "pipeline.train", "-m", *shared, "seed=range(10)"])

    def preview(self) -> list[str]:
        """Return lines on the plan and its expected time if no trial is pruned."""
        values = drawn(self.space.distributions, self.settings.n_trials, self.settings.seed)
        runs = [run for each in values if (run := self._planned(each)[0])]
        new = to_train(look_up(tuple(runs), self.store, self.runs.values, single=False))
        needed = duration(History(self.store.records()).sweep_seconds(new))
        return [
            f"plan of {self.settings.n_trials} trials, {self.batch} at a time, in {console.in_checkout(self.folder)}",
            *(f"  {override}" for override in self.space.overrides),
            f"time: about {needed} for {len(new)} that are not stored, at values drawn at random",
        ]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".study.lock", timeout=0):
                yield
        except Timeout as error:
            raise UserError(f"name={self.name}: another command works on this study; wait for its end") from error

    def _before(self, trials: Sequence[FrozenTrial]) -> list[Outcome]:
        """Return the stored runs of earlier commands."""
        outcomes = []
        for trial in trials:
            run, _ = self._planned(trial.params)
            with suppress(KeyError, UnreadableRun):
                if run is not None:
                    outcomes.append(Outcome(run, self.store.read(trial.user_attrs["key"])))
        return outcomes

    def _planned(self, values: dict[str, Any]) -> tuple[PlannedRun | None, str]:
        """Return the run of a trial, or the reason why its values cannot be combined."""
        try:
            return self.runs.run(values), ""
        except ConfigurationError as error:
            return None, str(error)

    def _batches(self, study: Study, session: Session) -> Iterator[Plan]:
        """Return the runs of each batch of trials; their results go to the study when they have ended."""
        started, minutes = time.monotonic(), self.settings.minutes
        while (left := self.settings.n_trials - len(study.trials)) > 0:
            if minutes and time.monotonic() - started >= 60 * minutes:
                break
            planned = [(trial, *self._planned(trial.params)) for trial in study.ask(min(left, self.batch))]
            runs = [(trial, run) for trial, run, _ in planned if run is not None]
            self._asked = {run.key: trial for trial, run in reversed(runs)}
            yield tuple(run for _, run in runs)
            for trial, run, why in planned:
                if run is None:
                    study.refuse(trial, why)
            for trial, run in runs:
                outcome = session.outcomes[run.key]
                if outcome.result is None and not outcome.reason:
                    continue  # cut off by fail_fast: the trial is not told, and the same command asks for it again
                if outcome.result is None:
                    study.refuse(trial, outcome.reason)
                else:
                    study.tell(trial, outcome.result)
            study.write()
            if session.settings["fail_fast"] and any(session.outcomes[run.key].failed for _, run in runs):
                break
        # Of a front none is the best; the session takes the highest validation accuracy.
        if len(best := study.best) == 1:
            key = best[0].user_attrs["key"]
            session.best = next((each for each in session.outcomes.values() if each.key == key), None)
        session.publisher.describe(*for_mlflow(study))
