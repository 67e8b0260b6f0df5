"""What a search finds: python -m benchmarks.search [repetitions=5 trials=60 dataset=digits epochs=20 overhead=true].

The same number of trials of the same space by TPE, at random, and on a grid, and the first two with a median pruner: the best
validation accuracy, the test accuracy of that run, and the epochs trained. A repetition has a seed of its own, of sampler and
runs. With the same seed the random search and the pruned one try the same values, so what pruning loses is seen pair by pair.
overhead: seconds per trial beyond a sweep of the same runs, in one process, without MLflow.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.storage.store import RunStore

SPACE = {
    "model.width": "tag(log,interval(16,256))",
    "model.depth": "range(1,4)",
    "model.dropout": "interval(0,0.5)",
    "optimizer.learning_rate": "tag(log,interval(1e-4,1e-1))",
    "training.batch_size": "32,64,128,256",
}
GRID = {
    "model.width": "32,128",
    "model.depth": "1,2",
    "model.dropout": "0,0.25,0.5",
    "optimizer.learning_rate": "1e-4,5.6e-4,3.2e-3,1.8e-2,1e-1",
    "training.batch_size": "64",
}
"""60 runs over the same ranges: three values or more of what is thought to matter most, one of the batch size."""
SEARCHES = {
    "TPE": ["sampler=tpe"],
    "random": ["sampler=random"],
    "TPE, median pruner": ["sampler=tpe", "pruner=median"],
    "random, median pruner": ["sampler=random", "pruner=median"],
}


class Found(NamedTuple):
    best: float
    test: float
    epochs: float
    seconds: float


def words(values: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def found(folder: Path, seconds: float) -> Found:
    runs = list(RunStore(folder / "runs"))
    best = max(runs, key=lambda run: run.figures.get("val/accuracy", 0.0))
    epochs = sum(run.figures["time/epochs"] for run in runs)
    return Found(100 * best.figures["val/accuracy"], 100 * best.figures["test/accuracy"], epochs, seconds)


def repetition(seed: int, trials: int, shared: Sequence[str]) -> dict[str, Found]:
    results: dict[str, Found] = {}

    def add(name: str, folder: str, seconds: float) -> None:
        results[name] = found(Path(folder), seconds)
        print(f"seed {seed}, {name}: {results[name]}", flush=True)

    for name, own in SEARCHES.items():
        with tempfile.TemporaryDirectory() as text:
            places = [f"paths.runs={text}/runs", f"out={text}", f"seed={seed}", f"n_trials={trials}"]
            took = measure.process("-m", "pipeline.search", *shared, *own, *words(SPACE), *places)
            add(name, text, took.seconds)
    with tempfile.TemporaryDirectory() as text:
        took = measure.sweep(Path(text), *shared, *words(GRID), f"seed={seed}")
        add("grid of 60", text, took.seconds)
    return results


def compare(repetitions: int, trials: int, shared: Sequence[str]) -> None:
    rows: dict[str, list[Found]] = {}
    for seed in range(repetitions):
        for name, result in repetition(seed, trials, shared).items():
            rows.setdefault(name, []).append(result)
    print("\n| | best validation accuracy, % | each | its test accuracy, % | epochs | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, each in rows.items():
        best, test, epochs, seconds = (np.mean(column) for column in zip(*each, strict=True))
        values = " ".join(f"{result.best:.2f}" for result in each)
        print(f"| {name} | {best:.2f} | {values} | {test:.2f} | {epochs:.0f} | {seconds:.0f} |")
    for name in ("TPE", "random"):
        pairs = list(zip(rows[name], rows[f"{name}, median pruner"], strict=True))
        saved = np.mean([1 - pruned.epochs / whole.epochs for whole, pruned in pairs])
        lost = np.mean([whole.best - pruned.best for whole, pruned in pairs])
        same = sum(pruned.best >= whole.best for whole, pruned in pairs)
        print(
            f"{name}: pruning saves {saved:.0%} of the epochs, loses {lost:.2f} points; as good in {same} of {len(pairs)}"
        )


def overhead(trials: int, shared: Sequence[str]) -> None:
    from pipeline.sweep import search_settings, search_space, session
    from pipeline.sweep.search import Search

    with tempfile.TemporaryDirectory() as text:
        defaults, _ = search_settings.declared()
        settings = search_settings.SearchSettings.of(
            defaults | {"sampler": "random", "n_trials": str(trials), "out": text}
        )

        def search(store: str) -> Search:
            places = [f"paths.runs={text}/{store}"]
            return Search(settings, search_space.space_of([*shared, *words(SPACE), *places], {}))

        searched = search("search")
        started = time.perf_counter()
        study = searched.run()
        seconds = time.perf_counter() - started
        swept = search("sweep")
        plan = tuple(swept.runs.run(trial.params) for trial in study.trials)
        started = time.perf_counter()
        list(session.train(plan, swept.runs.values))
        sweep = time.perf_counter() - started
    print(
        f"{trials} trials: a search {seconds:.1f} s, a sweep of the same runs {sweep:.1f} s;"
        f" {1000 * (seconds - sweep) / trials:.0f} ms more per trial"
    )


def main(argv: Sequence[str]) -> int:
    defaults = {"repetitions": "5", "trials": "60", "dataset": "digits", "epochs": "20", "overhead": "true"}
    given = console.words(argv, defaults, __doc__ or "")
    print(measure.machine())
    data = [f"dataset={given['dataset']}", f"training.epochs={given['epochs']}"]
    # On digits XLA takes five times as long to compile a program as the training takes.
    shared = [
        *data,
        "optimizer=adam",
        "device=cpu",
        "tracking=none",
        f"device.xla={given['dataset'] != 'digits'}".lower(),
    ]
    if int(given["repetitions"]):
        compare(int(given["repetitions"]), int(given["trials"]), shared)
    if given["overhead"] == "true":
        overhead(int(given["trials"]), shared)
    return 0


if __name__ == "__main__":
    console.run(main)
