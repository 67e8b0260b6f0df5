"""Weights of a sweep. Only those of its best run are kept, which is known when all runs have ended."""

from __future__ import annotations

import sys
from dataclasses import replace

from pipeline.cli import terminal
from pipeline.storage.store import RunStore
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.outcome import Outcome, score
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import on_this_machine
from pipeline.training.result import RunResult


class Candidates(dict[str, RunResult]):
    """The weights of the best runs so far, in memory up to a limit; nearly always they include the best run of the sweep."""

    MOST = 128 * 2**20

    def add(self, result: RunResult) -> None:
        self[result.key] = result
        while sum(map(_bytes, self.values())) > self.MOST and len(self) > 1:
            del self[min(self, key=lambda key: score(self[key]))]


def _bytes(result: RunResult) -> int:
    arrays = [*(result.weights or {}).values(), result.probabilities]
    return sum(array.nbytes for array in arrays if array is not None)


def store_result(outcome: Outcome, store: RunStore, candidates: Candidates | None) -> Outcome:
    """Write a result to disk; for a sweep, which has `candidates`, without its weights."""
    result = outcome.result
    if result is None:
        return outcome
    if result.finished and candidates is not None:
        candidates.add(result)
        result = replace(result, weights=None, probabilities=None)
    if not outcome.on_disk:
        store.write(result)
    elif candidates is not None:
        store.drop_weights(result.key)
    return replace(outcome, result=result)


def with_weights(best: Outcome, candidates: Candidates, store: RunStore) -> RunResult | None:
    """Return the best run's result with its weights, which are then on disk; without them if they are not available."""
    result = best.result
    if result is None or result.weights is not None:
        return result
    found = candidates.get(result.key) or _train_once_more(best.run, result)
    if found is None:
        return result
    complete = replace(result, weights=found.weights, probabilities=found.probabilities)
    store.write(complete)
    return complete


def _train_once_more(run: PlannedRun, known: RunResult) -> RunResult | None:
    """Train the run again. Return None, with a warning, if it differs or cannot be trained on this machine."""
    name = run.name
    if not on_this_machine(run.device):
        print(f"warning: the weights of {name} are not kept: no GPU here to train it once more", flush=True)
        return None
    terminal.show(what := f"training {name} once more for its weights")
    if not sys.stdout.isatty():
        print(what, flush=True)
    [outcome] = ThisProcess().execute([run])
    again = outcome.result
    assert again is not None
    different = [digest for digest, value in known.digests.items() if again.digests.get(digest) != value]
    if not different:
        return again
    print(
        f"warning: {name}, trained again for its weights, gave different values ({', '.join(different)}); "
        "they are not kept",
        flush=True,
    )
    return None
