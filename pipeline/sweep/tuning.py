"""Tune the learning rate of several optimizers, each with the same number of rates and seeds.

Hydra's Optuna sweeper is not used: hydra-optuna-sweeper 1.3.0 pins Optuna 2.10, whose database does not work with the
SQLAlchemy 2 that MLflow needs, so a study could not be stopped and continued; and one study distributes its trials over the
optimizers as it likes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.cli.errors import RunsLost, UserError
from pipeline.cli.formatting import duration
from pipeline.config import rules
from pipeline.config.compose import ConfigurationError, composed
from pipeline.config.rules import Rule
from pipeline.storage.store import RunStore
from pipeline.sweep.estimate import History
from pipeline.sweep.plan import PlannedRun, look_up, make_plan, store_root, to_train
from pipeline.sweep.progress import Progress
from pipeline.sweep.session import Session
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    from pipeline.statistics.tuning import Tuning

QUESTION = "tuned learning rates"
RATE = rules.HYPERPARAMETERS["learning_rate"]

Place = tuple[str, float]
"""An optimizer, and the power of ten by which its rate is multiplied."""


def _are_decades(text: str) -> bool:
    try:
        found = [float(number) for number in text.split(",")]
    except ValueError:
        return False
    return found == sorted({*found}) and 0 in found[1:-1] and max(map(abs, found)) <= 6


RULES: dict[str, Rule] = {
    "decades": Rule(_are_decades, "three or more numbers from -6 to 6 in rising order with 0 inside, such as -1,0,1"),
    "step": rules.number(0, 6, over=True),
    "rates": rules.integer(3, 30),
    "choosing_seeds": rules.integer(2, 1000),
    "final_seeds": rules.integer(2, 1000),
}


@dataclass(frozen=True)
class Budget:
    """The budget of a tuning per optimizer: conf/tune.yaml, with the overrides of the command line."""

    optimizers: tuple[str, ...]
    decades: tuple[float, ...]
    step: float
    rates: int
    choosing_seeds: int
    final_seeds: int

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Budget:
        """Read the budget. Raises ConfigurationError with all problems."""
        values: dict[str, Any] = {key: texts[key] if key == "decades" else rules.plain(texts[key]) for key in RULES}
        names = tuple(dict.fromkeys(texts["optimizers"].split(",")))
        known = rules.choice(rules.options("optimizer"))
        complaints = [rules.problem(key, value, RULES[key]) for key, value in values.items()]
        complaints += [rules.problem("optimizers", name, known) for name in names]
        if problems := [line for line in complaints if line]:
            raise ConfigurationError(problems)
        decades = tuple(float(decade) for decade in values["decades"].split(","))
        return cls(optimizers=names, **values | {"decades": decades, "rates": max(values["rates"], len(decades))})

    @property
    def final(self) -> range:
        return range(self.final_seeds)

    @property
    def choosing(self) -> range:
        """Seeds that differ from the final ones."""
        return range(self.final_seeds, self.final_seeds + self.choosing_seeds)


@dataclass(frozen=True)
class Base:
    """The configuration of one optimizer; only learning rate and seed change."""

    planned: PlannedRun

    @property
    def default(self) -> float:
        return float(self.planned.job.optimizer["learning_rate"] or 0)

    def rate(self, decade: float) -> float:
        """Return the rate, rounded to three digits."""
        return self.default if decade == 0 else float(f"{self.default * 10**decade:.3g}")

    def run(self, decade: float, seed: int) -> PlannedRun:
        rate, old = self.rate(decade), self.planned.job.optimizer
        values = dict(old.hyperparameters) | {"learning_rate": rate}
        optimizer = replace(old, hyperparameters=tuple(sorted(values.items())))
        overrides = [*([f"optimizer.learning_rate={rate:g}"] if decade else []), f"seed={seed}"]
        return self.planned.of(replace(self.planned.job, optimizer=optimizer, seed=seed), overrides)


class Tuner:
    """The runs of one tuning, and their results by optimizer and rate."""

    def __init__(self, budget: Budget, overrides: Sequence[str]) -> None:
        """`overrides` hold for every run. Raises UserError if the configuration cannot be tuned."""
        self.budget = budget
        own = [[f"optimizer={name}", *overrides] for name in budget.optimizers]
        values = composed([[*each, f"question={QUESTION}"] for each in own])
        self.settings = values[0]
        paths = self.settings["paths"]
        self.store = RunStore(store_root(paths["runs"]))
        if results := paths["results"]:
            what = f"a tuning would keep only its last round there; {paths['runs']} has all"
            raise UserError(f"paths.results={results}: expected null; {what}")
        if not self.settings["dataset"]["validation_size"]:
            raise UserError(
                "dataset.validation_size=0: expected over 0; a learning rate is chosen on the validation split only"
            )
        self.bases = {run.job.optimizer.name: Base(run) for run in make_plan(values, own)}
        for name, base in self.bases.items():
            for rate in map(base.rate, budget.decades):
                if line := rules.problem(f"decades: the rate of {name}", rate, RATE):
                    raise UserError(line)
        self.tried: dict[str, dict[float, list[RunResult]]] = {name: {} for name in self.bases}
        count = len(self.bases) * (budget.rates * budget.choosing_seeds + 2 * budget.final_seeds)
        self.progress = Progress(count)
        self.round = 0
        """The round so far: the first rates, each further rate, the final seeds."""
        self.unsent: UserError | None = None
        """Why MLflow lacks some runs; None if it has all. They are on disk in any case."""

    def run(self) -> list[Tuning]:
        """Spend the budget, one round for all optimizers at a time; then train default and chosen rates with the final seeds."""
        from pipeline.statistics import tuning  # pandas, which --help need not wait for

        more = [(name, decade) for name in self.bases for decade in self.budget.decades]
        while more:
            for (name, decade), results in self.train(more, self.budget.choosing).items():
                self.tried[name][decade] = results
            more = [(name, place) for name in self.bases if (place := self._next(name)) is not None]
        chosen = {name: tuning.best(tuning.scores(self.tried[name])) for name in self.bases}
        last = {(name, decade): None for name in chosen for decade in (0.0, chosen[name])}
        self.progress.total = self.progress.ended + len(last) * self.budget.final_seeds
        final = self.train(last, self.budget.final)
        first = len(self.budget.decades)
        rates = {name: {decade: base.rate(decade) for decade in self.tried[name]} for name, base in self.bases.items()}
        return [
            tuning.Tuning(name, rates[name], self.tried[name], first, final[name, 0.0], final[name, chosen[name]])
            for name in self.bases
        ]

    def _next(self, name: str) -> float | None:
        """Return the next decade to try; None if the budget is spent or no rate is allowed."""
        from pipeline.statistics import tuning

        if len(self.tried[name]) >= self.budget.rates:
            return None
        decade = tuning.next_decade(tuning.scores(self.tried[name]), self.budget.step)
        return decade if RATE.accepts(self.bases[name].rate(decade)) else None

    def train(self, places: Collection[Place], seeds: range) -> dict[Place, list[RunResult]]:
        """Train and publish the new runs, and return the results by optimizer and decade. Raises RunsLost if a run failed."""
        self.round += 1
        print(f"round {self.round} of {self.budget.rates - len(self.budget.decades) + 2}", flush=True)
        plans = {place: [self.bases[place[0]].run(place[1], seed) for seed in seeds] for place in places}
        runs = [run for plan in plans.values() for run in plan]
        ended = Session(tuple(runs), self.settings, progress=self.progress).run()
        self.unsent = ended.unsent or self.unsent
        if lost := sum(ended.outcomes[run.key].failed for run in runs):
            raise RunsLost(
                f"{lost} of {len(runs)} runs failed, so no rate can be chosen; the same command tries them again"
            )
        results = {key: outcome.result for key, outcome in ended.outcomes.items() if outcome.result}
        return {place: [results[run.key] for run in plan] for place, plan in plans.items()}

    def preview(self) -> list[str]:
        """Return lines on the plan and its expected time if the best rate of every optimizer is always at the upper edge."""
        budget, bases = self.budget, self.bases.values()
        further = [max(budget.decades) + budget.step * (n + 1) for n in range(budget.rates - len(budget.decades))]
        runs = [base.run(d, s) for base in bases for d in (*budget.decades, *further) for s in budget.choosing]
        runs += [base.run(d, s) for base in bases for d in (0.0, budget.step / 3) for s in budget.final]
        new = to_train(look_up(tuple(runs), self.store, self.settings, single=False))
        seeds = f"{budget.choosing_seeds} seeds each, then default and tuned with {budget.final_seeds} others"
        return [
            f"plan of at most {len(runs)} runs: {len(bases)} optimizers, {budget.rates} rates with {seeds}",
            f"time: about {duration(History(self.store.records()).sweep_seconds(new))} for {len(new)} that are not there",
        ]
