"""Tuned as well as default: each optimizer's learning rate, chosen on the validation split, with the same budget for all.

python -m pipeline.tune
python -m pipeline.tune dataset=digits model.width=32 optimizers=sgd,adam rates=8

Every optimizer gets the same number of rates with the same seeds: first those of conf/tune.yaml around its default, then
one at a time beyond the edge that its best lies at, or, where the best lies inside, in the middle of the wider gap beside
it. What counts is the mean over seeds of the best validation accuracy (a run that diverged counts 0; of equal rates the
one nearest to the default). The rate chosen and the default are then trained with other seeds than those that chose, so
that luck in choosing is not taken for a gain. What is finished is not trained again.

Words that are not below are those of `python -m pipeline.train` and hold for every run; plan=true says what it would take.
Writes tuned.csv, tuned_rates.csv, tuned.md and tuned.png.

Hydra's Optuna sweeper is not used: hydra-optuna-sweeper 1.3.0 installs beside hydra-core 1.3.8 and MLflow 3.17.2 and
samples in memory, but it pins Optuna 2.10, whose database ends in an AssertionError on the SQLAlchemy 2 that MLflow
brings, so a study could not be stopped and continued; and one study spreads its trials over optimizers as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml

from pipeline import published as figures
from pipeline.cli import console
from pipeline.cli.errors import RunsLost, UserError
from pipeline.cli.formatting import duration, nearest
from pipeline.config import commandline, rules, schema
from pipeline.config.compose import ConfigurationError
from pipeline.config.job import Optimizer
from pipeline.config.rules import Rule
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep import session
from pipeline.sweep.plan import make_plan, store_root
from pipeline.tracking import TrackingUnavailable
from pipeline.training.result import FAILED, Result

if TYPE_CHECKING:
    from pipeline.statistics.tuning import Tuning
    from pipeline.sweep.plan import PlannedRun

QUESTION = "tuned learning rates"
RATE = rules.HYPERPARAMETERS["learning_rate"]
DECIDED = ("optimizer", "seed", "sweep", "question", "force")
"""Words of `pipeline.train` that this command decides itself."""


@dataclass(frozen=True)
class Budget:
    """conf/tune.yaml, with the words of the command line in place of its values."""

    optimizers: tuple[str, ...]
    decades: tuple[float, ...]
    step: float
    rates: int
    choosing_seeds: int
    final_seeds: int

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
        rate = self.rate(decade)
        values = dict(self.planned.job.optimizer.hyperparameters) | {"learning_rate": rate}
        optimizer = Optimizer(self.planned.job.optimizer.name, tuple(sorted(values.items())))
        job = replace(self.planned.job, optimizer=optimizer, seed=seed)
        words = [*self.words, *([f"optimizer.learning_rate={rate:g}"] if decade else []), f"seed={seed}"]
        return replace(self.planned, job=job, key=identity.key_of(job, self.planned.identity), overrides=words)


schema.register()


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


def _decades(text: Any) -> bool:
    try:
        found = _numbers(text)
    except ValueError:
        return False
    return (
        len({*found}) == len(found) >= 3 and 0 in found[1:-1] and found == sorted(found) and max(map(abs, found)) <= 6
    )


def _plain(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


RULES: dict[str, Rule] = {
    "decades": Rule(_decades, "three or more numbers from -6 to 6 in rising order with 0 inside, such as -1,0,1"),
    "step": rules.number(0, 6, over=True),
    "rates": rules.integer(3, 30),
    "choosing_seeds": rules.integer(2, 1000),
    "final_seeds": rules.integer(2, 1000),
}


def budget(values: Mapping[str, str]) -> Budget:
    """Raises ConfigurationError with everything that is wrong."""
    plain: dict[str, Any] = {key: _plain(values[key]) if key != "decades" else values[key] for key in RULES}
    problems = [line for key, value in plain.items() if (line := rules.complaint(key, value, RULES[key]))]
    optimizers, known = values["optimizers"].split(","), rules.options("optimizer")
    problems += [
        f"optimizers={name}: expected some of {', '.join(known)}{nearest(name, known)}"
        for name in optimizers
        if name not in known
    ]
    if len({*optimizers}) < len(optimizers):
        problems.append(f"optimizers={values['optimizers']}: expected each once")
    if problems:
        raise ConfigurationError(problems)
    decades = tuple(_numbers(plain.pop("decades")))
    if plain["rates"] < len(decades):
        first = f"the first ones of decades={values['decades']}"
        raise ConfigurationError([f"rates={plain['rates']}: expected at least {len(decades)}, {first}"])
    return Budget(optimizers=tuple(optimizers), decades=decades, **plain)


def bases(optimizers: Sequence[str], words: Sequence[str]) -> tuple[dict[str, Base], dict[str, Any]]:
    """Each optimizer's configuration, and the settings that all runs share. Raises UserError where it cannot be tuned."""
    own = [[f"optimizer={name}", *words] for name in optimizers]
    values = figures.composed([[*each, f"question={QUESTION}"] for each in own])
    if not values[0]["dataset"]["validation_size"]:
        raise UserError(
            "dataset.validation_size=0: expected over 0; a learning rate is chosen on the validation split only"
        )
    planned = make_plan(values, own)
    return {one.job.optimizer.name: Base(one, each) for one, each in zip(planned, own, strict=True)}, values[0]


class Search:
    """The runs of one tuning: what is tried of each optimizer, and how it did."""

    def __init__(self, spent: Budget, words: Sequence[str]) -> None:
        self.budget = spent
        self.bases, self.settings = bases(spent.optimizers, words)
        for name, base in self.bases.items():
            for rate in map(base.rate, spent.decades):
                if line := rules.complaint(f"decades: the rate of {name}", rate, RATE):
                    raise UserError(line)
        self.store = RunStore(store_root(self.settings["paths"]["runs"]))
        self.tried: dict[str, dict[float, list[Result]]] = {name: {} for name in self.bases}
        self.untaken: TrackingUnavailable | None = None
        """What MLflow did not take, the last time that it did not."""

    def run(self) -> list[Tuning]:
        """Spend the budget, a round for all optimizers at a time; then default and chosen rates with the final seeds."""
        from pipeline.statistics import tuning  # pandas, which --help need not wait for

        more = {name: list(self.budget.decades) for name in self.bases}
        while more:
            places = [(name, decade) for name, decades in more.items() for decade in decades]
            for (name, decade), results in zip(places, self.train(places, self.budget.choosing), strict=True):
                self.tried[name][decade] = results
            more = {name: [place] for name in self.bases if (place := self.next(name)) is not None}
        chosen = {name: tuning.best(tuning.scores(self.tried[name])) for name in self.bases}
        final = self.train([(name, at) for name in chosen for at in (0.0, chosen[name])], self.budget.final)
        first = len(self.budget.decades)
        return [
            tuning.Tuning(name, {at: base.rate(at) for at in self.tried[name]}, self.tried[name], first, *pair)
            for (name, base), pair in zip(self.bases.items(), zip(final[::2], final[1::2], strict=True), strict=True)
        ]

    def next(self, name: str) -> float | None:
        """The next decade to try; None where the budget is spent, or no such rate is allowed."""
        from pipeline.statistics import tuning

        if len(self.tried[name]) >= self.budget.rates:
            return None
        decade = tuning.next_decade(tuning.scores(self.tried[name]), self.budget.step)
        return decade if RATE.accepts(self.bases[name].rate(decade)) else None

    def train(self, places: Sequence[tuple[str, float]], seeds: range) -> list[list[Result]]:
        """The results of each optimizer and decade, trained and published where they are not yet. Raises RunsLost where one failed."""
        runs = [self.bases[name].run(decade, seed) for name, decade in places for seed in seeds]
        ended: dict[int, Result | None] = {}
        tracking = self.settings["tracking"]
        if any(self.recorded(one.key) is None for one in runs) or figures.unpublished(runs, self.store, tracking):
            try:
                for position, outcome in session.run_sweep(tuple(runs), self.settings):
                    ended[position] = outcome.result
            except TrackingUnavailable as error:
                # All of them are on disk: the tuning goes on, and says so when it is done.
                self.untaken = error
        results = [ended.get(position) or self.recorded(run.key) for position, run in enumerate(runs)]
        whole = [one for one in results if one is not None and one.status != FAILED]
        if lost := len(runs) - len(whole):
            raise RunsLost(
                f"{lost} of {len(runs)} runs failed, so no rate can be chosen; the same command tries them again"
            )
        return [whole[start : start + len(seeds)] for start in range(0, len(whole), len(seeds))]

    def recorded(self, key: str) -> Result | None:
        """What is in the store and need not be trained: a run that finished or diverged."""
        with suppress(OSError, ValueError, KeyError, UnreadableRun):
            result = self.store.record(key)
            return None if result.status == FAILED else result
        return None

    def plan(self) -> None:
        """Say what the whole would take, as if every optimizer's best lay at the upper edge each time."""
        spent, past, sweeps = self.budget, *figures.known(self.store)
        further = [max(spent.decades) + spent.step * (n + 1) for n in range(spent.rates - len(spent.decades))]
        choosing = [
            b.run(d, s) for b in self.bases.values() for d in (*spent.decades, *further) for s in spent.choosing
        ]
        final = [b.run(d, s) for b in self.bases.values() for d in (0.0, spent.step / 3) for s in spent.final]
        new = [one for one in (*choosing, *final) if self.recorded(one.key) is None]
        print(
            f"plan of at most {spent.runs} runs: {len(spent.optimizers)} optimizers, {spent.rates} rates with "
            f"{spent.choosing_seeds} seeds each, then default and tuned with {spent.final_seeds} others"
        )
        print(
            f"time: about {duration(figures.seconds(new, past, sweeps)) if new else '0 s'} for {len(new)} that are not there"
        )


def main(argv: Sequence[str]) -> int:
    defaults = {key: str(value) for key, value in yaml.safe_load((rules.CONF / "tune.yaml").read_text("utf-8")).items()}
    own = {**defaults, "out": "reports"}
    mine = [word for word in argv if word.partition("=")[0] in own or word.startswith("-") or "=" not in word]
    values = console.words(mine, own, __doc__ or "")
    others = [word for word in argv if word not in mine]
    for word in others:
        if word.partition("=")[0].partition(".")[0] in DECIDED:
            raise UserError(
                f"{word}: decided by this command; expected {', '.join(own)}, or a word that holds for every run"
            )
    if problems := commandline.check(others, False):
        raise ConfigurationError(problems)
    search = Search(budget(values), others)
    if search.settings["plan"]:
        search.plan()
        return 0
    tunings = search.run()
    from pipeline.report import tuned  # matplotlib, which takes a second

    for line in tuned.write(tunings, console.PROJECT / values["out"]):
        print(line)
    if search.untaken:
        raise search.untaken
    return 0


if __name__ == "__main__":
    console.run(main)
