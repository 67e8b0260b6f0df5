"""What a large sweep would take on 8, 64 and 512 cards, by a model on paper; and the measuring of what the model is made of.

    python -m benchmarks.scaling [runs=100000] [cards=8,64,512]
    python -m benchmarks.scaling measure=composing [runs=1000]     # plan=true for so many jobs
    python -m benchmarks.scaling measure=shares [runs=48]          # on a Slurm that SLURM_CONF names: 1, 2 and 4 shares
    python -m benchmarks.scaling measure=folders                   # writing a run beside 1,000, 10,000 and 100,000 others

The model adds up what each step takes by itself, from the figures below, each measured on machine B of BENCHMARKS.md but for
the one that is assumed. The table of docs/scaling.md is what the first command prints; a test holds it to that.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure, records
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import duration
from pipeline.storage.store import RunStore


@dataclass(frozen=True)
class Costs:
    """Seconds, but where the name says otherwise."""

    composing: float = 0.0076
    """Of a job: composed by Hydra twice, checked, its key; `measure=composing runs=1000`."""
    composed_mb: float = 0.034
    """Memory of the command for each job, from the peaks of 1,000 and 10,000."""
    looking_up: float = 0.00064
    """Finding and checking a run that is there: `python -m benchmarks.records`."""
    array: float = 0.7
    """Submitting an array of 1,000 shares (0.66 s), and a file for each share."""
    starting: float = 20.0
    """From the start of a share to the end of its first small run, beside other work: imports, compiling; `measure=shares`."""
    taking: float = 0.03
    """A result taken by the command: read, checked, and Hydra's books of its job (240 finished runs, against plan=true)."""
    publishing: float = 0.035
    """A run in MLflow, beside all that: `python -m benchmarks.tracking`."""
    writing: float = 0.0046
    """Of a run's folder, the same beside 100,000 others: `measure=folders`."""
    comparing: float = 0.0165
    """Of a run in `pipeline.compare`: `python -m benchmarks.compare` (1,000 runs, 16.5 s)."""
    on_a_card: float = 0.3
    """A training at width 512, five epochs. ASSUMED: a tenth of what it takes on a core of machine B. No card was measured."""


@dataclass(frozen=True)
class Sweep:
    """The steps of a sweep of `runs`, on `cards` with a share each at a time, in seconds."""

    runs: int
    cards: int
    costs: Costs = Costs()
    shares_per_card: int = 4
    """More than one, so that cards that end early have something left to do."""

    @property
    def shares(self) -> int:
        return min(self.runs, self.cards * self.shares_per_card)

    @property
    def composing(self) -> float:
        return self.runs * (self.costs.composing + self.costs.looking_up)

    @property
    def scheduling(self) -> float:
        return self.costs.array * self.shares / 1000 + self.costs.starting * self.shares / self.cards

    @property
    def training(self) -> float:
        return self.runs * self.costs.on_a_card / self.cards

    @property
    def writing(self) -> float:
        """One after the other within a machine, here all on one."""
        return self.runs * self.costs.writing

    @property
    def taking(self) -> float:
        return self.runs * self.costs.taking

    @property
    def publishing(self) -> float:
        return self.runs * self.costs.publishing

    @property
    def comparing(self) -> float:
        return self.runs * self.costs.comparing

    @property
    def steps(self) -> dict[str, float]:
        names = ("composing", "scheduling", "training", "writing", "taking", "publishing", "comparing")
        return {name: getattr(self, name) for name in names}

    @property
    def whole(self) -> float:
        """Composing comes first and comparing last; between them the slowest step sets the pace of the others."""
        return (
            self.composing
            + self.scheduling
            + max(self.training, self.writing, self.taking, self.publishing)
            + self.comparing
        )


def table(runs: int, cards: Sequence[int], costs: Costs = Costs()) -> list[str]:
    """The model's table, as docs/scaling.md has it."""
    sweeps = [Sweep(runs, count, costs) for count in cards]
    lines = [
        f"| {runs:,} runs | {' | '.join(f'{count} cards' for count in cards)} |",
        "| --- |" + " --- |" * len(cards),
    ]
    lines += [f"| {name} | {' | '.join(duration(sweep.steps[name]) for sweep in sweeps)} |" for name in sweeps[0].steps]
    return [*lines, f"| all of it | {' | '.join(duration(sweep.whole) for sweep in sweeps)} |"]


def composing(runs: int) -> None:
    words = ["-m", "dataset=digits", "tracking=none", "plan=true", "optimizer=sgd,adam", "model.width=16,32,64,128,256"]
    for count in (runs // 10, runs):
        with tempfile.TemporaryDirectory() as folder:
            seeds = [f"seed=range({count // 10})", f"hydra.sweep.dir={folder}/sweep"]
            took = measure.process("-m", "pipeline.train", *words, *seeds)
        print(f"{count} jobs: {took.seconds:.1f} s, {took.cpu:.1f} s of processor time, {took.peak_mb} MB")


def shares(runs: int) -> None:
    if "SLURM_CONF" not in os.environ:
        raise UserError(
            "SLURM_CONF: not set; python tests/support/slurm_node.py start FOLDER prints the line that sets it"
        )
    grid = ["optimizer=sgd,adam", "model.width=16,64", f"seed=range({runs // 4})", "training.epochs=20"]
    for count in (0, 1, 2, 4):
        launcher = ["hydra/launcher=batched_slurm", f"hydra.launcher.shares={count}", "hydra.launcher.poll_seconds=1"]
        with tempfile.TemporaryDirectory() as folder:
            places = [
                f"paths.runs={folder}/runs",
                f"hydra.sweep.dir={folder}/sweep",
                f"tracking.uri=sqlite:///{folder}/db",
            ]
            words = ["-m", "dataset=digits", "device=cpu", "tracking=sqlite", *places, *grid]
            took = measure.process("-m", "pipeline.train", *words, *(launcher if count else []))
            starts = [_start(path) for path in Path(folder).glob("runs/shares/*/*.journal")]
        told = f"{count} share{'s' if count > 1 else ''}" if count else "batched"
        first = f"; a share's first run after {max(starts):.1f} s" if starts else ""
        print(f"{told}: {took.seconds:.1f} s; the command {took.cpu:.1f} s of processor time, {took.peak_mb} MB{first}")


def _start(journal: Path) -> float:
    """Seconds from a worker's first word to the end of its first run."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    first = next((line for line in lines if "key" in line), None)
    return float(first["at"]) - float(lines[0]["at"]) if first else 0.0


def folders() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        one = records.result(0)
        for count in (0, 1_000, 10_000, 100_000):
            for number in range(count):
                (store.root / f"{number:064}").mkdir(parents=True, exist_ok=True)
            before = time.perf_counter()
            for _ in range(1_000):
                store.write(one)
            print(f"beside {count:,} runs: {time.perf_counter() - before:.1f} ms on average of 1,000")


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"runs": "", "cards": "8,64,512", "measure": ""}, __doc__ or "")
    if values["measure"] == "composing":
        composing(int(values["runs"] or 1000))
    elif values["measure"] == "shares":
        shares(int(values["runs"] or 48))
    elif values["measure"] == "folders":
        folders()
    elif values["measure"]:
        raise UserError(f"measure={values['measure']}: expected composing, shares or folders")
    else:
        print("\n".join(table(int(values["runs"] or 100_000), [int(word) for word in values["cards"].split(",")])))
    return 0


if __name__ == "__main__":
    console.run(main)
