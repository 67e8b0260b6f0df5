"""What it takes to publish a sweep of finished runs to SQLite and to a server on PostgreSQL, and what the UI then waits for.

    python -m benchmarks.publish [runs=240] [workers=2] [to=sqlite,server]

The runs have what a real one has (see benchmarks.records); `scripts/tracking_server.py` starts PostgreSQL and MLflow in a
folder of its own, and both go with it. Sending is `pipeline.publish`; a second one finds everything there. Searching is
what the page of an experiment asks: the first hundred runs, sorted by a metric.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure, records
from pipeline import publish
from pipeline.cli import console
from pipeline.config.run_config import digest
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from pipeline.tracking import server

SERVER = [sys.executable, str(console.PROJECT / "scripts" / "tracking_server.py")]
QUESTION = "benchmark"
TIMES = 7
SEARCHES: dict[str, dict[str, object]] = {
    "newest first": {"order_by": ["attributes.start_time DESC"]},
    "by a metric": {"order_by": ["metrics.`test/accuracy` DESC"]},
    "by a metric, of one optimizer": {
        "order_by": ["metrics.`test/accuracy` DESC"],
        "filter": "params.`optimizer.name` = 'adamw'",
    },
}


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"runs": "240", "workers": "2", "to": "sqlite,server"}, __doc__ or "")
    print(measure.machine())
    for kind in values["to"].split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)  # the database's own user has to pass
            store = fill(RunStore(folder / "runs"), int(values["runs"]))
            if kind == "sqlite":
                publish_twice(store, f"sqlite:///{folder}/mlflow.db")
            else:
                on_server(store, folder / "server", values["workers"])
    return 0


def on_server(store: RunStore, folder: Path, workers: str) -> None:
    port = next(port for port in range(20_000, 60_000) if server.is_free(port))
    started = time.perf_counter()
    words = ["start", str(folder), f"port={port}", f"workers={workers}"]
    subprocess.run([*SERVER, *words], check=True, stdout=subprocess.DEVNULL)
    print(f"PostgreSQL and MLflow, made and started: {time.perf_counter() - started:.1f} s")
    try:
        publish_twice(store, f"http://{server.HOST}:{port}")
        held = size(folder)
        print(f"database: {held / 1e6:.0f} MB, {held / len(store.keys()) / 1e3:.1f} kB a run")
        search(port)
    finally:
        subprocess.run([*SERVER, "stop", str(folder)], check=True, stdout=subprocess.DEVNULL)


def fill(store: RunStore, count: int) -> RunStore:
    """`count` runs of one sweep."""
    keys = []
    for seed in range(count):
        one = records.result(seed)
        one.started = f"2026-01-01T{seed // 3600 % 24:02}:{seed // 60 % 60:02}:{seed % 60:02}+00:00"
        store.write(one)
        keys.append(one.key)
    Ledger(store).write(Sweep(QUESTION, keys, keys[0], id=digest(keys)))
    return store


def publish_twice(store: RunStore, uri: str) -> None:
    count = len(store.keys())
    for what in ("sent", "looked for, all there"):
        before, used = time.perf_counter(), time.process_time()
        publish.publish(store, publish.target(uri), Path("nowhere"))
        seconds, cpu = time.perf_counter() - before, time.process_time() - used
        print(
            f"{uri.partition(':')[0]}: {count:,} runs {what}: {seconds:.0f} s, {1000 * seconds / count:.1f} ms a run"
            f" ({1000 * cpu / count:.1f} ms of this process)"
        )


def search(port: int) -> None:
    [experiment] = [
        found for found in ask(port, "experiments", {"max_results": 10})["experiments"] if found["name"] == QUESTION
    ]
    for name, more in SEARCHES.items():
        body = {"experiment_ids": [experiment["experiment_id"]], "max_results": 100, **more}
        seconds_each = []
        for _ in range(TIMES):
            before = time.perf_counter()
            found = ask(port, "runs", body)
            seconds_each.append(time.perf_counter() - before)
        shown = statistics.median(seconds_each)
        print(f"search, {name}: {1000 * shown:.0f} ms for {len(found['runs'])} runs (median of {TIMES})")


def ask(port: int, what: str, body: dict[str, object]) -> dict[str, list[dict[str, str]]]:
    asked = urllib.request.Request(
        f"http://{server.HOST}:{port}/api/2.0/mlflow/{what}/search",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=120) as answer:
        found: dict[str, list[dict[str, str]]] = json.load(answer)
        return found


def size(folder: Path) -> int:
    """Bytes of the database, by its own word."""
    import psycopg2

    known = json.loads((folder / "server.json").read_text())
    login = {"user": "mlflow", "dbname": "mlflow", "password": (folder / "password").read_text()}
    with psycopg2.connect(host=server.HOST, port=known["database"], **login) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_database_size('mlflow')")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    console.run(main)
