"""Tune the learning rate of several optimizers, each with the same number of rates and seeds.

Hydra's Optuna sweeper is not used: hydra-optuna-sweeper 1.3.0 pins Optuna 2.10, whose database does not work with the
SQLAlchemy 2 that MLflow needs, so a study could not be stopped and continued; and one study distributes its trials over the
optimizers as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.cli.errors import RunsLost, UserError
from pipeline.cli.formatting import duration
from pipeline.config import rules
from pipeline.config.compose import ConfigurationError, composed
from pipeline.config.rules import Rule
from pipeline.config.run_config import Optimizer
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep import session
from pipeline.sweep.history import History
from pipeline.sweep.plan import PlannedRun, make_plan, store_root
from pipeline.sweep.recipes import with_job
from pipeline.tracking import NONE, TrackingUnavailable
from pipeline.tracking.address import resolve
from pipeline.training.result import FAILED, RunResult

if TYPE_CHECKING:
    from pipeline.statistics.tuning import Tuning

QUESTION = "tuned learning rates"
RATE = rules.HYPERPARAMETERS["learning_rate"]


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


def _are_decades(text: str) -> bool:
    try:
        found = _numbers(text)
    except ValueError:
        return False
    return len(found) >= 3 and found == sorted({*found}) and 0 in found[1:-1] and max(map(abs, found)) <= 6


RULES: dict[str, Rule] = {
    "decades": Rule(_are_decades, "three or more numbers from -6 to 6 in rising order with 0 inside, such as -1,0,1"),
    "step": rules.number(0, 6, over=True),
    "rates": rules.integer(3, 30),
    "choosing_seeds": rules.integer(2, 1000),
    "final_seeds": rules.integer(2, 1000),
}


@dataclass(frozen=True)
class Budget:
    """conf/tune.yaml, with the words of the command line in place of its values."""

    optimizers: tuple[str, ...]
    decades: tuple[float, ...]
    step: float
    rates: int
    choosing_seeds: int
    final_seeds: int

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Budget:
        """Raises ConfigurationError with everything that is wrong."""
        values: dict[str, Any] = {key: texts[key] if key == "decades" else rules.plain(texts[key]) for key in RULES}
        names = texts["optimizers"].split(",")
        known = rules.choice(rules.options("optimizer"))
        complaints = [rules.complaint(key, value, RULES[key]) for key, value in values.items()]
        complaints += [rules.complaint("optimizers", name, known) for name in names]
        if len({*names}) < len(names):
            complaints.append(f"optimizers={texts['optimizers']}: expected each once")
        if problems := [line for line in complaints if line]:
            raise ConfigurationError(problems)
        decades = tuple(_numbers(values.pop("decades")))
        if values["rates"] < len(decades):
            first = f"the first ones of decades={texts['decades']}"
            raise ConfigurationError([f"rates={values['rates']}: expected at least {len(decades)}, {first}"])
        return cls(optimizers=tuple(names), decades=decades, **values)

    @property
    def final(self) -> range:
        return range(self.final_seeds)

    @property
    def choosing(self) -> range:
        """Other seeds than the final ones."""
        return range(self.final_seeds, self.final_seeds + self.choosing_seeds)

    @property
    def runs(self) -> int:
        """The most that there may be in all."""
        return len(self.optimizers) * (self.rates * self.choosing_seeds + 2 * self.final_seeds)


@dataclass(frozen=True)
class Base:
    """One optimizer's configuration, of which only learning rate and seed change."""

    planned: PlannedRun
    words: list[str]

    @property
    def default(self) -> float:
        return float(self.planned.job.optimizer["learning_rate"] or 0)

    def rate(self, decade: float) -> float:
        """The rate, to three digits: one that a person can type."""
        return self.default if decade == 0 else float(f"{self.default * 10**decade:.3g}")

    def run(self, decade: float, seed: int) -> PlannedRun:
        rate, old = self.rate(decade), self.planned.job.optimizer
        values = dict(old.hyperparameters) | {"learning_rate": rate}
        optimizer = Optimizer(old.name, tuple(sorted(values.items())))
        words = [*self.words, *([f"optimizer.learning_rate={rate:g}"] if decade else []), f"seed={seed}"]
        run = with_job(self.planned, replace(self.planned.job, optimizer=optimizer, seed=seed))
        return replace(run, overrides=words)


class Search:
    """The runs of one tuning: what is tried of each optimizer, and how it did."""

    def __init__(self, budget: Budget, words: Sequence[str]) -> None:
        """`words` hold for every run. Raises UserError if the configuration cannot be tuned."""
        self.budget = budget
        own = [[f"optimizer={name}", *words] for name in budget.optimizers]
        values = composed([[*each, f"question={QUESTION}"] for each in own])
        self.settings = values[0]
        if not self.settings["dataset"]["validation_size"]:
            raise UserError(
                "dataset.validation_size=0: expected over 0; a learning rate is chosen on the validation split only"
            )
        planned = zip(make_plan(values, own), own, strict=True)
        self.bases = {run.job.optimizer.name: Base(run, each) for run, each in planned}
        for name, base in self.bases.items():
            for rate in map(base.rate, budget.decades):
                if line := rules.complaint(f"decades: the rate of {name}", rate, RATE):
                    raise UserError(line)
        self.store = RunStore(store_root(self.settings["paths"]["runs"]))
        self.tried: dict[str, dict[float, list[RunResult]]] = {name: {} for name in self.bases}
        self.unsent: TrackingUnavailable | None = None
        """The last error of MLflow, which may lack some of the runs. They are all on disk."""

    def run(self) -> list[Tuning]:
        """Spend the budget, a round for all optimizers at a time; then default and chosen rates with the final seeds."""
        from pipeline.statistics import tuning  # pandas, which --help need not wait for

        more = {name: list(self.budget.decades) for name in self.bases}
        while more:
            places = [(name, decade) for name, decades in more.items() for decade in decades]
            for (name, decade), results in zip(places, self.train(places, self.budget.choosing), strict=True):
                self.tried[name][decade] = results
            more = {name: [place] for name in self.bases if (place := self._next(name)) is not None}
        chosen = {name: tuning.best(tuning.scores(self.tried[name])) for name in self.bases}
        final = self.train([(name, at) for name in chosen for at in (0.0, chosen[name])], self.budget.final)
        first = len(self.budget.decades)
        return [
            tuning.Tuning(name, {at: base.rate(at) for at in self.tried[name]}, self.tried[name], first, *pair)
            for (name, base), pair in zip(self.bases.items(), zip(final[::2], final[1::2], strict=True), strict=True)
        ]

    def _next(self, name: str) -> float | None:
        """The next decade to try; None if the budget is spent, or no such rate is allowed."""
        from pipeline.statistics import tuning

        if len(self.tried[name]) >= self.budget.rates:
            return None
        decade = tuning.next_decade(tuning.scores(self.tried[name]), self.budget.step)
        return decade if RATE.accepts(self.bases[name].rate(decade)) else None

    def train(self, places: Sequence[tuple[str, float]], seeds: range) -> list[list[RunResult]]:
        """The results of each optimizer and decade. Trains and publishes what is new. Raises RunsLost if a run failed."""
        runs = [self.bases[name].run(decade, seed) for name, decade in places for seed in seeds]
        keys = [run.key for run in runs]
        ended: dict[int, RunResult | None] = {}
        if not all(map(self._stored, keys)) or self._unpublished(keys):
            try:
                for position, outcome in session.run_sweep(tuple(runs), self.settings):
                    ended[position] = outcome.result
            except TrackingUnavailable as error:
                self.unsent = error
        results = [ended.get(position) or self._stored(key) for position, key in enumerate(keys)]
        complete = [result for result in results if result is not None and result.status != FAILED]
        if lost := len(runs) - len(complete):
            raise RunsLost(
                f"{lost} of {len(runs)} runs failed, so no rate can be chosen; the same command tries them again"
            )
        return [complete[start : start + len(seeds)] for start in range(0, len(complete), len(seeds))]

    def _stored(self, key: str) -> RunResult | None:
        """What need not be trained: a run that finished or diverged."""
        with suppress(OSError, ValueError, KeyError, UnreadableRun):
            result = self.store.record(key)
            return None if result.status == FAILED else result
        return None

    def _unpublished(self, keys: Sequence[str]) -> bool:
        tracking = self.settings["tracking"]
        address = resolve(tracking["kind"], tracking["uri"])
        return address.kind != NONE and bool(self.store.unpublished(keys, address.name))

    def preview(self) -> list[str]:
        """What the whole would take, as if every optimizer's best lay at the upper edge each time."""
        budget, bases = self.budget, self.bases.values()
        further = [max(budget.decades) + budget.step * (n + 1) for n in range(budget.rates - len(budget.decades))]
        runs = [base.run(d, s) for base in bases for d in (*budget.decades, *further) for s in budget.choosing]
        runs += [base.run(d, s) for base in bases for d in (0.0, budget.step / 3) for s in budget.final]
        new = [run for run in runs if self._stored(run.key) is None]
        seconds = History.of(self.store).seconds(new)
        seeds = f"{budget.choosing_seeds} seeds each, then default and tuned with {budget.final_seeds} others"
        return [
            f"plan of at most {budget.runs} runs: {len(bases)} optimizers, {budget.rates} rates with {seeds}",
            f"time: about {duration(seconds)} for {len(new)} that are not there",
        ]
