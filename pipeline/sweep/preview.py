"""`plan=true`: what a command would train and what that would take. It writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.cli.formatting import plural, ranged
from pipeline.config.names import configuration_name
from pipeline.config.run_config import RunConfig
from pipeline.storage.store import RunStore
from pipeline.sweep import changes
from pipeline.sweep.estimate import History
from pipeline.sweep.executors.shard import divide, sizes
from pipeline.sweep.plan import Plan, PlannedRun, counts, look_up, store_root, to_train
from pipeline.sweep.pool import Pool
from pipeline.training.result import RunResult


def show_plan(asked: Plan, settings: Mapping[str, Any], pool: Pool | None = None) -> None:
    """Print which runs are there, which would be trained, and what they would take."""
    store = RunStore(store_root(settings["paths"]["runs"]))
    plan = look_up(asked, store, settings, single=len(asked) == 1)
    new = to_train(plan)
    print(f"plan of {plural(len(plan), 'run')}: {counts(plan)}; {len(new) or 'nothing'} to train")
    if not new:
        return
    for line in table(plan):
        print(f"  {line}")
    records = list(store.records())
    for line in (*why_new(new, records), History(records).line(new)):
        print(line)
    if pool:
        divided = divide(new, pool.shards(len(new)))
        print(f"shares: {len(divided)} of {sizes(divided)}, by {pool.kind}")


def table(plan: Sequence[PlannedRun]) -> list[str]:
    """A line per configuration: its name, the seeds to train, the seeds that are there."""
    groups: dict[str, list[PlannedRun]] = {}
    for run in plan:
        groups.setdefault(configuration_name(run.name), []).append(run)
    width = max(map(len, groups))
    lines = []
    for name, group in groups.items():
        train = [run.job.seed for run in group if run.stored is None]
        there = [run.job.seed for run in group if run.stored is not None]
        seeds = [
            f"{what} {'seeds' if len({*found}) > 1 else 'seed'} {ranged(found)}"
            for what, found in (("train", train), ("there:", there))
            if found
        ]
        lines.append(f"{name:<{width}}  {'; '.join(seeds)}")
    return lines


def why_new(new: Sequence[PlannedRun], records: Iterable[RunResult]) -> list[str]:
    """Why stored runs of the same jobs do not count: what has changed since, and for how many runs, a line each."""
    stored: dict[RunConfig, list[RunResult]] = {}
    for result in records:
        if result.finished:
            stored.setdefault(result.job, []).append(result)
    reasons = Counter(
        # Of several stored runs, the one that differs least.
        min((tuple(changes.of_identity(result, run.identity)) for result in stored[run.job]), key=len)
        for run in new
        if run.job in stored
    )
    return [
        f"{count} of these {'is' if count == 1 else 'are'} stored but cannot count, since this has changed: {'; '.join(lines)}"
        for lines, count in reasons.items()
    ]
