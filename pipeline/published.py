"""Published figures against ours, as far as a number of minutes goes.

python -m pipeline.published minutes=10

Trains what conf/figures.yaml lists, in that order, each recipe with as many seeds as fit (three at the least); what is
finished already is only sent to MLflow where that has not got it, and minutes=0 only tabulates. Writes
reports/published.csv and reports/published.md.
"""

from __future__ import annotations

import csv
import itertools
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import duration, nearest
from pipeline.config import compose, rules, schema
from pipeline.config.hydra_version import VERSION_BASE
from pipeline.statistics import published
from pipeline.statistics.published import Found, Row
from pipeline.storage import identity
from pipeline.storage.find import KEYS, beginning
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import Ledger, Sweep
from pipeline.sweep import batch, forecast
from pipeline.tracking import NONE, TrackingUnavailable
from pipeline.tracking.address import resolve
from pipeline.training.result import Result

FEWEST = 3
"""Seeds below which a recipe is not begun."""

QUESTION = "published figures"
REPORTS = console.PROJECT / "reports"

schema.register()


def composed(words: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The plain values that the words of each command mean."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(rules.CONF), **VERSION_BASE):
        return [compose.plain(hydra_compose("config", list(each))) for each in words]


def planned(row: Row, data: str, seeds: int) -> list[batch.Planned]:
    """Every run of the row: its configurations with seeds from 0."""
    choices = [
        [f"{key}={value}" for value in values.split(",")] for key, _, values in (w.partition("=") for w in row.runs)
    ]
    words = [list(chosen) for chosen in itertools.product(*choices)]
    values = composed([[*chosen, f"question={QUESTION}", f"paths.data={data}"] for chosen in words])
    found = []
    for one in batch.plan(values, words):
        for seed in range(seeds):
            job = replace(one.job, seed=seed)
            found.append(replace(one, job=job, key=identity.key_of(job, one.identity)))
    return found


def trained(runs: Sequence[batch.Planned], store: RunStore) -> list[Result]:
    """Those that are there, however they ended."""
    return [store.record(one.key) for one in runs if one.key in store]


def unpublished(runs: Sequence[batch.Planned], store: RunStore, tracking: Mapping[str, Any]) -> bool:
    """Whether some of these, which are on disk, are not in MLflow, or not as they ended; no with tracking=none."""
    address = resolve(tracking["kind"], tracking["uri"])
    if address.kind == NONE:
        return False
    noted = [(store.published(one.key, address.name), store.status(one.key)) for one in runs]
    return any(not ids or ids.get("status", status) != status for ids, status in noted)


ROUGH = 10e9
"""Multiplications a second of a core, where nothing was trained on this machine before."""


def seconds(runs: Sequence[batch.Planned], past: Sequence[forecast.Earlier], sweeps: Sequence[Sweep]) -> float:
    """What training these takes by the wall clock."""
    each = [
        3 * forecast.work(one.job, *map(int, one.arrays.train_images.shape)) / ROUGH if known is None else known
        for one, known in zip(runs, forecast.expected_seconds(runs, past), strict=True)
    ]
    return forecast.wall_seconds(each, runs, sweeps)


def known(store: RunStore) -> tuple[list[forecast.Earlier], list[Sweep]]:
    """The finished runs of before, and this machine's sweeps: what a prediction is made from."""
    sweeps = [sweep for sweep in Ledger(store) if sweep.machine == identity.machine() and sweep.trained]
    return list(forecast.earlier(store)), sweeps


def affordable(runs: Sequence[batch.Planned], seeds: int, left: float, store: RunStore) -> tuple[int, float]:
    """The most seeds of a row that fit into `left` seconds, and what they take; 0 seeds where too few do."""
    past, sweeps = known(store)
    cost = 0.0
    for count in range(seeds, 0, -1):
        new = [one for one in runs if one.job.seed < count and one.key not in store]
        if not new:
            return count, 0.0
        cost = seconds(new, past, sweeps)
        if cost <= left:
            return count, cost
        if count <= FEWEST:
            break
    return 0, cost


def write(found: Sequence[Found]) -> None:
    REPORTS.mkdir(exist_ok=True)
    head = ["id", "source", "measure", "published", "band", "ours", "seeds", "verdict", "on"]
    lines: list[list[Any]] = [
        [
            f.row.id,
            f.row.source,
            f.row.measure,
            f.row.published,
            published.wanted(f.row),
            f.ours,
            f.seeds,
            f.verdict,
            f.on,
        ]
        for f in found
    ]
    numbers: list[list[Any]] = [
        [f.row.low if f.row.over is None else f.row.over, f.row.high, *f.interval, " ".join(f.runs)] for f in found
    ]
    more = ["low", "high", "mean", "mean_low", "mean_high", KEYS]
    with open(REPORTS / "published.csv", "w", newline="", encoding="utf-8") as file:
        rows = [[*line, *of_line] for line, of_line in zip([head, *lines], [more, *numbers], strict=True)]
        csv.writer(file, lineterminator="\n").writerows(rows)
    text = [f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in (head, *lines)]
    text.insert(1, "| " + " | ".join("---" for _ in head) + " |")
    (REPORTS / "published.md").write_text("\n".join(text) + "\n", encoding="utf-8")


def show(found: Sequence[Found]) -> None:
    from pipeline.report import terminal

    columns = ("id", "measure", "band", "ours", "verdict")
    cells = [(f.row.id, f.row.measure, published.wanted(f.row), f.ours, f.verdict) for f in found]
    rows = [dict(zip(columns, cell, strict=True)) for cell in cells]
    console = terminal.standard_output()
    least = {"id": 20, "measure": 8, "band": 10, "ours": 14, "verdict": 10}
    console.print(terminal.table(dict(zip(columns, columns, strict=True)), rows, console, least))


def main(argv: Sequence[str]) -> int:
    defaults = {"minutes": "10", "seeds": "10", "only": "", "data": "data/processed"}
    values = console.words(argv, defaults, __doc__ or "")
    try:
        minutes, most = float(values["minutes"]), int(values["seeds"])
    except ValueError as error:
        raise UserError(f"minutes={values['minutes']} seeds={values['seeds']}: expected numbers") from error
    if not (math.isfinite(minutes) and minutes >= 0 and 1 <= most <= 1000):
        raise UserError(f"minutes={minutes:g} seeds={most}: expected minutes of at least 0 and 1 to 1000 seeds")
    chosen, known = [word for word in values["only"].split(",") if word], published.rows()
    for word in chosen:
        if word not in {row.id for row in known}:
            ids = [row.id for row in known]
            raise UserError(f"only={word}: expected some of {', '.join(ids)}{nearest(word, ids)}")
    store = RunStore(batch.store_root("runs"))
    end = time.monotonic() + 60 * minutes
    [settings] = composed([[]])
    untaken = []
    for row in known:
        if chosen and row.id not in chosen:
            continue
        runs = planned(row, values["data"], most)
        count, cost = affordable(runs, most, end - time.monotonic(), store)
        there = [one for one in runs if one.job.seed < count]
        if cost == 0.0 and not (minutes and unpublished(there, store, settings["tracking"])):
            continue
        if not count:
            print(f"{row.id}: not run, about {duration(cost)} with the fewest seeds", flush=True)
            continue
        print(f"{row.id}: {count} seeds, about {duration(cost)}", flush=True)
        command = ["-m", "pipeline.train", "-m", *row.runs, f"seed=range({count})", f"question={QUESTION}"]
        own = [f"paths.data={values['data']}"] if values["data"] != defaults["data"] else []
        done = subprocess.run([sys.executable, *command, *own], cwd=console.PROJECT, stdout=subprocess.DEVNULL)
        if done.returncode == TrackingUnavailable.exit_status:
            untaken.append(row.id)
        elif done.returncode not in (0, 3):
            raise UserError(f"{row.id}: training ended with status {done.returncode}; its message stands above")
    judged = []
    for row in known:
        ours = trained(planned(row, values["data"], most), store)
        judged.append(replace(published.judge(row, ours), runs=tuple(beginning(run.key) for run in ours)))
    write(judged)
    show(judged)
    print(f"the table is {REPORTS / 'published.md'}; python -m pipeline.compare puts it into the report")
    if untaken:
        raise TrackingUnavailable(
            f"{', '.join(untaken)}: not all in MLflow yet; the messages stand above, and the same command publishes the rest"
        )
    return 0


if __name__ == "__main__":
    console.run(main)
