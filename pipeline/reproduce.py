"""Train a run again, from its record alone, and say whether the bits are the same.

    python -m pipeline.reproduce RUN
    python -m pipeline.reproduce --all-of SWEEP [--sample N]

RUN is a key (or its first letters), the id of an MLflow run, a run's name or its folder; SWEEP is a folder of results, a
sweep's id, question or MLflow parent run. Exit status: 0 identical, 10 different though nothing differs that decides (a
defect), 11 different, as what decides differs, and statistically consistent, 12 inconsistent, 13 cannot be repeated.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Sequence

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config.names import names
from pipeline.storage.find import find_run
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import find_sweep, readable
from pipeline.sweep.reproduction import Verdict, reproduce
from pipeline.tracking import Tracker, open_tracker
from pipeline.tracking.address import home
from pipeline.training.result import FAILED, RunResult

DEFAULTS = {"data": "data/processed", "runs": "runs", "tracking": "sqlite"}
STATUSES = dict(zip(Verdict, (0, 11, 13, 12, 10), strict=True))
"""Exit statuses, the gravest verdict last: of several runs, that one decides."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--all-of", default="")
    parser.add_argument("--sample", type=int, default=0)
    try:
        own, words = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    runs, options = console.read_arguments(words, DEFAULTS, __doc__ or "")
    if len(runs) + bool(own.all_of) != 1 or own.sample < 0:
        raise UserError("expected one RUN, or --all-of SWEEP; --help says what they are")
    store, tracker = RunStore(home() / options["runs"]), open_tracker(options["tracking"])
    asked = _of_sweep(own.all_of, own.sample, store) if own.all_of else [_find(runs[0], store, tracker)]
    if not (results := [result for result in asked if result.status != FAILED]):
        raise UserError("nothing to reproduce: no run has numbers that this release can read")
    found = reproduce(results, console.PROJECT / options["data"], store)
    called = names([*(run.job for run in store.records()), *(result.job for result in results)])
    for reproduction in found:
        print("\n".join(reproduction.lines(called[reproduction.then.job], brief=len(found) > 1)))
    counts = Counter(reproduction.verdict for reproduction in found)
    if len(found) > 1:
        print(", ".join(f"{counts[verdict]} {verdict}" for verdict in STATUSES if counts[verdict]))
    return [status for verdict, status in STATUSES.items() if verdict in counts][-1]


def _of_sweep(name_or_key: str, sample: int, store: RunStore) -> list[RunResult]:
    """The runs of a sweep, or `sample` of them; says which are left out."""
    sweep, runs = find_sweep(name_or_key, store, console.PROJECT)
    keys = [key for key in dict.fromkeys(sweep.keys) if key in runs]
    if sample and sample < len(keys):
        keys = random.Random(sweep.id).sample(keys, sample)
    results, others = readable(runs, keys)
    failed = sum(result.status == FAILED for result in results)
    without = f", {failed} of which failed and left no numbers" if failed else ""
    print(f"{len(results)} of the {len(sweep.keys)} runs of {sweep.name}{without}")
    if others:
        print(f"{len(others)} are left out: {others[0]}")
    return results


def _find(name_or_key: str, store: RunStore, tracker: Tracker) -> RunResult:
    """The run on disk, or, if only MLflow has it, what MLflow recorded."""
    try:
        return find_run(name_or_key, store)
    except UserError as error:
        recorded = None if isinstance(error, UnreadableRun) else tracker.recorded(name_or_key)
        if recorded is None:
            raise
        return recorded


if __name__ == "__main__":
    console.run(main)
