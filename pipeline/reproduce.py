"""Train a run again from its record, and show whether the bits are the same.

    python -m pipeline.reproduce RUN
    python -m pipeline.reproduce --all-of SWEEP [--sample N]

RUN is a key (or its first 6 letters or more), an MLflow run id, a run's name or its folder. SWEEP is a folder of results, or a
sweep's id, question or MLflow parent run. Exit status: 0 identical; 10 different, although nothing that decides the bits has
changed (a defect); 11 different after such a change, and statistically consistent; 12 inconsistent; 13 cannot be repeated. The
defaults of `runs` and `tracking` are those of conf/.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Sequence

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.names import names
from pipeline.storage.find import find_run
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import find_sweep, readable
from pipeline.sweep.reproduction import Verdict, reproduce
from pipeline.tracking import Tracker, tracker_for
from pipeline.tracking.address import runs_folder
from pipeline.training.result import FAILED, PRUNED, RunResult

DEFAULTS = {"data": "data/processed", "runs": "", "tracking": ""}
STATUSES = dict(zip(Verdict, (0, 11, 13, 12, 10), strict=True))
"""Exit statuses, the gravest verdict last: it decides if there are several runs."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--all-of", default="")
    parser.add_argument("--sample", default="0")
    try:
        sweep, others = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error.argument_name}: expected a value, got none; see --help") from error
    sample = rules.parsed("--sample", sweep.sample, rules.integer(0, 10_000_000))
    runs, options = console.read_arguments(others, DEFAULTS, __doc__ or "")
    if len(runs) + bool(sweep.all_of) != 1:
        raise UserError(f"{' '.join(argv) or 'nothing'}: expected one RUN, or --all-of SWEEP; see --help")
    store, tracker = RunStore(runs_folder(options["runs"])), tracker_for(options["tracking"])
    named = _of_sweep(sweep.all_of, sample, store) if sweep.all_of else [_find(runs[0], store, tracker)]
    if not (results := [result for result in named if result.status not in (FAILED, PRUNED)]):
        raise UserError("nothing to reproduce: no run was trained to its end by this release")
    found = reproduce(results, console.PROJECT / options["data"], store)
    called = names([*(run.job for run in store.records()), *(result.job for result in results)])
    for reproduction in found:
        print("\n".join(reproduction.lines(called[reproduction.then.job], brief=len(found) > 1)))
    counts = Counter(reproduction.verdict for reproduction in found)
    if len(found) > 1:
        print(", ".join(f"{counts[verdict]} {verdict}" for verdict in STATUSES if counts[verdict]))
    return [status for verdict, status in STATUSES.items() if verdict in counts][-1]


def _of_sweep(name_or_key: str, sample: int, store: RunStore) -> list[RunResult]:
    """Return the runs of a sweep, or `sample` of them (0: all), and print which are left out."""
    sweep, runs = find_sweep(name_or_key, store, console.PROJECT)
    keys = [key for key in dict.fromkeys(sweep.keys) if key in runs]
    if sample and sample < len(keys):
        keys = random.Random(sweep.id).sample(keys, sample)
    results, others = readable(runs, keys)
    unfit = sum(result.status in (FAILED, PRUNED) for result in results)
    without = f", {unfit} of which failed or were pruned and are left out" if unfit else ""
    print(f"{len(results)} of the {len(sweep.keys)} runs of {sweep.name}{without}")
    if others:
        print(f"{len(others)} are left out: {others[0]}")
    return results


def _find(name_or_key: str, store: RunStore, tracker: Tracker) -> RunResult:
    """Return the run on disk or, if only MLflow has it, what MLflow recorded."""
    try:
        return find_run(name_or_key, store)
    except UserError as error:
        recorded = None if isinstance(error, UnreadableRun) else tracker.recorded(name_or_key)
        if recorded is None:
            raise
        return recorded


if __name__ == "__main__":
    console.run(main)
