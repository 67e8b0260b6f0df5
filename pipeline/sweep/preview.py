"""`plan=true`: what a command would train and what that would take. It writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.cli.formatting import duration
from pipeline.config.run_config import RunConfig
from pipeline.storage.store import RunStore
from pipeline.sweep import changes
from pipeline.sweep.estimate import History
from pipeline.sweep.executors.divide import divide, shard_count, sizes
from pipeline.sweep.plan import Plan, PlannedRun, counts, look_up, store_root, to_train
from pipeline.sweep.pool import Pool
from pipeline.training.result import RunResult


def show_plan(asked: Plan, settings: Mapping[str, Any], pool: Pool | None = None) -> None:
    """Print which runs are there, which would be trained, and what they would take."""
    store = RunStore(store_root(settings["paths"]["runs"]))
    plan = look_up(asked, store, settings, single=len(asked) == 1)
    new = to_train(plan)
    print(f"plan of {len(plan)} run{'s' if len(plan) > 1 else ''}: {counts(plan)}; {len(new) or 'nothing'} to train")
    if not new:
        return
    for line in table(plan):
        print(f"  {line}")
    records = list(store.records())
    history = History.of(store, records)
    for line in (*why_new(new, records), *history.lines(new)):
        print(line)
    if pool:
        print(shards_line(pool, new, history))


def shards_line(pool: Pool, runs: Sequence[PlannedRun], history: History) -> str:
    """How the runs would be divided."""
    seconds = history.run_seconds(runs)
    shards = divide(runs, seconds, shard_count(pool, runs))
    line = f"shares: {len(shards)} of {sizes(shards)}, by {pool.kind}"
    if all(value is not None for value in seconds):
        longest = max(sum(seconds[position] or 0.0 for position in shard) for shard in shards)
        line += f"; the longest has {duration(longest)} of training, as predicted for this machine"
    return line


def table(plan: Sequence[PlannedRun]) -> list[str]:
    """A line per configuration: its name, the seeds that are there, the seeds to train."""
    groups: dict[str, list[PlannedRun]] = {}
    for run in plan:
        groups.setdefault(run.job.configuration, []).append(run)
    namesakes: dict[str, list[RunConfig]] = {}
    for group in groups.values():
        namesakes.setdefault(_name(group[0].job), []).append(group[0].job)
    rows = []
    for group in groups.values():
        name = _name(group[0].job)
        there = sorted({run.job.seed for run in group if run.stored is not None})
        train = sorted({run.job.seed for run in group if run.stored is None})
        seeds = [
            f"{what} seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)}"
            for what, seeds in (("train", train), ("there:", there))
            if seeds
        ]
        rows.append((name, differences(group[0].job, namesakes[name]), "; ".join(seeds)))
    width = max(len(name) for name, _, _ in rows)
    return [f"{name:<{width}}  {seeds}{f'  ({own})' if own else ''}" for name, own, seeds in rows]


def _name(job: RunConfig) -> str:
    return job.name.rpartition("-s")[0]


def differences(job: RunConfig, namesakes: Sequence[RunConfig]) -> str:
    """The values of a configuration that its name does not show, if other configurations have the same name."""
    if len(namesakes) == 1:
        return ""
    others = [other.flat() for other in namesakes]
    return ", ".join(
        f"{key}={value}"
        for key, value in job.flat().items()
        if key != "seed" and any(other.get(key) != value for other in others)
    )


def ranges(numbers: Sequence[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def why_new(new: Sequence[PlannedRun], records: Iterable[RunResult]) -> list[str]:
    """Why stored runs of the same jobs do not count: what has changed since, and for how many runs, a line each."""
    stored: dict[RunConfig, list[RunResult]] = {}
    for result in records:
        if result.finished:
            stored.setdefault(result.job, []).append(result)
    reasons = Counter(
        # Of several stored runs, the one that differs least.
        min((changes.of_identity(result, run.identity) for result in stored[run.job]), key=len)
        for run in new
        if run.job in stored
    )
    return [
        f"{count} of these {'is' if count == 1 else 'are'} stored but cannot count, since this has changed: {'; '.join(lines)}"
        for lines, count in reasons.items()
    ]
