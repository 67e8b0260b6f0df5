"""Compare published results with ours, within a number of minutes.

python -m pipeline.published minutes=10

Trains the recipes of conf/published.yaml in order, each with as many seeds as fit into the time (at least three). Finished runs
are not trained again, only sent to MLflow if it lacks them. minutes=0 trains nothing and writes the table alone. Writes
reports/published.csv and reports/published.md.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.cli import console
from pipeline.cli.errors import RunsLost
from pipeline.cli.formatting import duration, plural
from pipeline.config import rules
from pipeline.config.compose import composed
from pipeline.report.prose.published import trained_on
from pipeline.statistics import published
from pipeline.statistics.published import Found, Row
from pipeline.storage.find import beginning
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Lost
from pipeline.sweep.estimate import affordable
from pipeline.sweep.plan import PlannedRun, make_plan
from pipeline.sweep.session import Session
from pipeline.tracking import TrackingUnavailable
from pipeline.tracking.address import runs_folder

DEFAULTS = {"minutes": "10", "seeds": "10", "only": "", "data": "data/processed"}
REPORTS = console.PROJECT / "reports"
QUESTION = "published figures"


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, DEFAULTS, __doc__ or "")
    minutes = rules.parsed("minutes", values["minutes"], rules.number(0, 1e6))
    seeds = rules.parsed("seeds", values["seeds"], rules.integer(1, 1000))
    rows, data, store = published.rows(), values["data"], RunStore(runs_folder(""))
    only = [row_id for row_id in values["only"].split(",") if row_id]
    for row_id in only:
        rules.parsed("only", row_id, rules.choice(row.id for row in rows))
    end = time.monotonic() + 60 * minutes
    asked = [row for row in rows if minutes and (not only or row.id in only)]
    ended = {row.id: train(row, seeds, data, store, end - time.monotonic()) for row in asked}
    show([judge(row, seeds, data, store) for row in rows])
    if failed := [run for _, runs in ended.values() for run in runs]:
        which = f"{plural(len(failed), 'run')} failed, first {failed[0].name}: {failed[0].reason}"
        raise RunsLost(f"{which}; the same command trains {'it' if len(failed) == 1 else 'them'} again")
    if missing := ", ".join(row_id for row_id, (sent, _) in ended.items() if not sent):
        raise TrackingUnavailable(f"{missing}: not all in MLflow yet, see above; the same command publishes the rest")
    return 0


def planned(row: Row, data: str, seeds: int) -> tuple[list[PlannedRun], dict[str, Any]]:
    """The runs of the row, every configuration with seeds from 0, and the settings of the first one."""
    pairs = [override.split("=", 1) for override in row.runs]
    choices = [[f"{key}={value}" for value in values.split(",")] for key, values in pairs]
    overrides = [[*chosen, f"question={QUESTION}", f"paths.data={data}"] for chosen in itertools.product(*choices)]
    values = composed(overrides)
    plan = make_plan(values, overrides)
    return [run.of(replace(run.job, seed=at), [f"seed={at}"]) for run in plan for at in range(seeds)], values[0]


def train(row: Row, seeds: int, data: str, store: RunStore, left: float) -> tuple[bool, list[Lost]]:
    """Train and publish the new runs of a row within `left` seconds. Whether MLflow took them all, and the failed ones."""
    runs, settings = planned(row, data, seeds)
    count, cost = affordable(runs, seeds, left, store)
    if not count:
        print(f"{row.id}: not run, takes about {duration(cost)} with the fewest seeds", flush=True)
        return True, []
    print(f"{row.id}: {count} seeds, takes about {duration(cost)}", flush=True)
    ended = Session(tuple(run for run in runs if run.job.seed < count), settings).run()
    if ended.unsent:
        print(f"{row.id}: {ended.unsent}", flush=True)
    return not ended.unsent, [outcome.lost() for outcome in ended.outcomes.values() if outcome.failed]


def judge(row: Row, seeds: int, data: str, store: RunStore) -> Found:
    runs, _ = planned(row, data, seeds)
    results = [store.record(run.key) for run in runs if run.key in store]
    on = trained_on(results)
    return replace(published.judge(row, results), on=on, runs=tuple(beginning(run.key) for run in results))


def show(found: Sequence[Found]) -> None:
    from pipeline.report import published_figures  # pandas, which --help need not wait for

    published_figures.write(found, REPORTS)
    published_figures.show(found)
    print(f"the table is {REPORTS / 'published.md'}")


if __name__ == "__main__":
    console.run(main)
