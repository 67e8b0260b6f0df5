"""Which weights a worker keeps of its shard: the best of the whole sweep is not known to it."""

from __future__ import annotations

from pipeline.storage.store import RunStore
from pipeline.sweep.outcome import score, without_weights
from pipeline.training.result import RunResult


class BestWeights:
    """Stores the results of a shard, with the weights of the best run of each configuration: the sweep's best is among them."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._best: dict[str, tuple[tuple[float, int], str]] = {}

    def write(self, position: int, result: RunResult) -> None:
        rank, configuration = (score(result), -position), result.job.configuration
        before = self._best.get(configuration)
        best = result.finished and (before is None or rank > before[0])
        self.store.write(result if best else without_weights(result))
        if best:
            self._best[configuration] = rank, result.key
            if before is not None:
                self.store.drop_weights(before[1])
