"""What a search finds: python -m benchmarks.search [repetitions=5 trials=60 dataset=mnist train_size=2000 epochs=12 table= overhead=true].

A table of runs is trained once: adam at every combination of five hyperparameters (TABLE), seed 0. Then the study of
`pipeline.search` draws trials from continuous ranges (SPACE), two at a time, and each gets the result of the nearest
run in the table. A repetition, with its own sampler seed, takes seconds (a tabular benchmark: Klein and Hutter 2019).
TPE and random search, each with and without a median pruner, are compared with a grid of 60 and the whole table: the
best validation accuracy of a run that trained to its end, the test accuracy of that run, and the epochs trained.
table: a folder that keeps the runs of the table for the next call.
overhead: measure seconds per trial beyond a sweep of the same runs, on `dataset=digits` in one process, without MLflow.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.storage.store import RunStore
from pipeline.training.outcome import Epoch
from pipeline.training.result import PRUNED, RunResult

Key = tuple[float, ...]
Table = Mapping[Key, RunResult]

SPACE = {
    "model.width": "tag(log,interval(16,256))",
    "model.depth": "range(1,4)",
    "model.dropout": "interval(0,0.5)",
    "optimizer.learning_rate": "tag(log,interval(1e-4,1e-1))",
    "training.batch_size": "64,128,256",
}
RATES = tuple(float(f"{10 ** (-4 + 3 * step / 8):.3g}") for step in range(9))
TABLE: dict[str, tuple[float, ...]] = {
    "model.width": (16, 32, 64, 128, 256),
    "model.depth": (1, 2, 3),
    "model.dropout": (0, 0.25, 0.5),
    "optimizer.learning_rate": RATES,
    "training.batch_size": (64, 128, 256),
}
GRID = ((32, 128), (1, 2), (0, 0.25, 0.5), RATES[::2], (64,))
"""60 runs of the table: three or more values of what is thought to matter most, one batch size."""
SEARCHES = {
    "TPE": {"sampler": "tpe"},
    "random": {"sampler": "random"},
    "TPE, median pruner": {"sampler": "tpe", "pruner": "median"},
    "random, median pruner": {"sampler": "random", "pruner": "median"},
}


class Found(NamedTuple):
    best: float
    test: float
    epochs: float


def found(runs: Sequence[RunResult]) -> Found:
    best = max((run for run in runs if run.finished), key=lambda run: run.metrics["val/accuracy"])
    epochs = sum(run.metrics["time/epochs"] for run in runs)
    return Found(100 * best.metrics["val/accuracy"], 100 * best.metrics["test/accuracy"], epochs)


def trained(folder: Path, shared: Sequence[str]) -> Table:
    """Train the table and return its runs by their values. Runs that are in `folder` are not trained again."""
    took = measure.sweep(folder, *shared, *(f"{key}={','.join(map(str, each))}" for key, each in TABLE.items()))
    runs = {_key(run.job.flat()): run for run in RunStore(folder / "runs")}
    print(f"a table of {len(runs)} runs, trained in {took.seconds:.0f} s", flush=True)
    return runs


def _key(flat: Mapping[str, Any]) -> Key:
    hidden = flat["model.hidden"]
    values = {**flat, "model.width": hidden[0], "model.depth": len(hidden)}
    return tuple(values[name] for name in TABLE)


def nearest(values: Mapping[str, Any]) -> Key:
    """Return the values in the table nearest to those of a trial, on a log scale for widths and rates."""

    def next_to(key: str) -> float:
        scale = math.log if "log" in SPACE[key] else float
        return min(TABLE[key], key=lambda value: abs(scale(value) - scale(values[key])))

    return tuple(map(next_to, TABLE))


def searched(table: Table, own: dict[str, str], seed: int, trials: int, epochs: int) -> list[RunResult]:
    from pipeline.sweep import search_settings, search_space, search_study

    defaults, _ = search_settings.declared()
    settings = search_settings.SearchSettings.of(defaults | own | {"seed": str(seed)})
    space = search_space.space_of(words(SPACE), {})
    runs: list[RunResult] = []
    with tempfile.TemporaryDirectory() as text:
        study = search_study.Study("benchmark", Path(text), settings, space.distributions, {}, epochs)
        while len(runs) < trials:
            asked = study.ask(min(2, trials - len(runs)))
            for trial in asked:
                run = table[nearest(trial.params)]
                runs.append(_pruned(study, trial, run) if settings.pruner != "none" else run)
            for trial, run in zip(asked, runs[-len(asked) :], strict=True):
                study.tell(trial, run)
    return runs


def _pruned(study: Any, trial: Any, run: RunResult) -> RunResult:
    """Return the run, cut off where the study prunes it."""
    for place, epoch in enumerate(run.epochs[:-1], start=1):
        if study.prune(trial, Epoch(0, epoch, {name: curve[place - 1] for name, curve in run.history.items()})):
            history = {name: curve[:place] for name, curve in run.history.items()}
            return replace(
                run, status=PRUNED, history=history, epochs=run.epochs[:place], metrics={"time/epochs": epoch}
            )
    return run


def words(values: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def compare(table: Table, repetitions: int, trials: int, epochs: int) -> None:
    rows: dict[str, list[Found]] = {
        name: [found(searched(table, own, seed, trials, epochs)) for seed in range(repetitions)]
        for name, own in SEARCHES.items()
    }
    rows["grid of 60"] = [found([table[key] for key in itertools.product(*GRID)])]
    rows[f"all {len(table)}"] = [found(list(table.values()))]
    print("\n| | best validation accuracy, % | each | its test accuracy, % | epochs |")
    print("| --- | --- | --- | --- | --- |")
    for name, each in rows.items():
        best, test, trained_epochs = (np.mean(column) for column in zip(*each, strict=True))
        values = " ".join(f"{result.best:.2f}" for result in each)
        print(f"| {name} | {best:.2f} | {values} | {test:.2f} | {trained_epochs:,.0f} |")
    for name in ("TPE", "random"):
        pairs = list(zip(rows[name], rows[f"{name}, median pruner"], strict=True))
        saved = np.mean([1 - pruned.epochs / whole.epochs for whole, pruned in pairs])
        lost = np.mean([whole.best - pruned.best for whole, pruned in pairs])
        same = sum(pruned.best >= whole.best for whole, pruned in pairs)
        print(
            f"{name}: pruning saves {saved:.0%} of the epochs, loses {lost:.2f} points; as good in {same} of {len(pairs)}"
        )


def overhead(trials: int) -> None:
    from pipeline.sweep import search_settings, search_space
    from pipeline.sweep.search import Search
    from pipeline.sweep.session import Session

    shared = [
        "dataset=digits",
        "training.epochs=20",
        "optimizer=adam",
        "device=cpu",
        "tracking=none",
        "device.xla=false",
    ]
    with tempfile.TemporaryDirectory() as text:
        defaults, _ = search_settings.declared()
        settings = search_settings.SearchSettings.of(
            defaults | {"sampler": "random", "n_trials": str(trials), "out": text}
        )

        def search(store: str) -> Search:
            places = [f"paths.runs={text}/{store}"]
            return Search(settings, search_space.space_of([*shared, *words(SPACE), *places], {}))

        first = search("search")
        started = time.perf_counter()
        study = first.run()
        seconds = time.perf_counter() - started
        swept = search("sweep")
        plan = tuple(swept.runs.run(trial.params) for trial in study.trials)
        started = time.perf_counter()
        Session(plan, swept.runs.values).run()
        sweep = time.perf_counter() - started
    print(
        f"{trials} trials: a search {seconds:.1f} s, a sweep of the same runs {sweep:.1f} s;"
        f" {1000 * (seconds - sweep) / trials:.0f} ms more per trial"
    )


def main(argv: Sequence[str]) -> int:
    defaults = {
        "repetitions": "5",
        "trials": "60",
        "dataset": "mnist",
        "train_size": "2000",
        "epochs": "12",
        "table": "",
    }
    given = console.read_options(argv, defaults | {"overhead": "true"}, __doc__ or "")
    print(measure.machine())
    epochs, trials = int(given["epochs"]), int(given["trials"])
    if int(given["repetitions"]):
        shared = [
            "optimizer=adam",
            "device=cpu",
            "tracking=none",
            f"dataset={given['dataset']}",
            f"training.epochs={epochs}",
        ]
        shared += [f"dataset.train_size={given['train_size']}", "training.evaluate_every=2", "seed=0"]
        with tempfile.TemporaryDirectory() as text:
            folder = Path(given["table"] or text).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            compare(trained(folder, shared), int(given["repetitions"]), trials, epochs)
    if given["overhead"] == "true":
        overhead(trials)
    return 0


if __name__ == "__main__":
    console.run(main)
