"""Show where a run came from, and whether its data and code are the same here: python -m pipeline.lineage RUN

RUN is a key (or its first 6 letters or more), an MLflow run id, a run's name or its folder. The default of `runs` is `paths.runs` of conf/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError, shown_line
from pipeline.data.arrays import META
from pipeline.storage import identity
from pipeline.storage.find import find_run
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import SWEEP, Ledger, Sweep
from pipeline.tracking.address import runs_folder
from pipeline.training.result import RunResult

DEFAULTS = {"data": "data/processed", "runs": ""}


def main(argv: Sequence[str]) -> int:
    names, options = console.read_arguments(argv, DEFAULTS, __doc__ or "")
    if len(names) != 1:
        raise UserError(f"{' '.join(names) or 'nothing'}: expected one RUN; see --help")
    store, data = RunStore(runs_folder(options["runs"])), console.PROJECT / options["data"]
    print("\n".join(of_run(find_run(names[0], store), store, data)))
    return 0


def of_run(result: RunResult, store: RunStore, data: Path) -> list[str]:
    """Return a run's origin and folders, a line each."""
    known = result.environment
    lock, commit = known.get("lock", ""), known.get("git_commit", "no commit known")
    same_lock = "the same here" if lock == identity.environment().get("lock") else "another one here"
    experiment = known.get("dvc_experiment")
    labelled = [
        ("key", result.key),
        ("data", f"{result.identity['data']} ({result.job.dataset.name}; {state_of_data(result, data)})"),
        ("code", f"{result.identity['source']} ({state_of_code(result)})"),
        ("git", f"{commit}{' with uncommitted.diff in its folder' if result.patch else ''}"),
        *([("experiment", f"{experiment} (dvc exp show)")] if experiment else []),
        ("packages", f"requirements.lock {lock[:16]} ({same_lock})"),
        ("machine", f"{known.get('cpu', 'unknown')}, numerics class {known.get('numerics_class', 'unknown')[:16]}"),
        ("command", identity.as_typed(known.get("command", "unknown"))),
        *(("in", place) for place in places(result.key, store)),
    ]
    head = f"{result.name}, {result.status}, started {result.started}"
    return [head, *(f"  {label:<10} {text}" for label, text in labelled)]


def state_of_data(result: RunResult, data: Path) -> str:
    folder = data / result.job.dataset.name
    try:
        here = str(json.loads((folder / META).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return f"not in {console.in_checkout(folder)}"
    same = here == result.identity["data"]
    return f"in {console.in_checkout(folder)}" if same else f"{console.in_checkout(folder)} has other data: {here[:12]}"


def state_of_code(result: RunResult) -> str:
    names = identity.changed_sources(result.sources, result.identity["numerics"], result.job.custom_code)
    return f"differs here in {', '.join(names[:4])}{' …' if len(names) > 4 else ''}" if names else "the same here"


def places(key: str, store: RunStore) -> list[str]:
    """Return every folder and record that has the run."""
    found = [console.in_checkout(store.folder(key))] if key in store else []
    for path in sorted((console.PROJECT / "results").glob(f"*/{SWEEP}")):
        try:
            sweep = Sweep.read(path.parent)
        except UserError as error:
            print(f"warning: left out: {shown_line(str(error))}", file=sys.stderr)
        else:
            found += [f"results/{path.parent.name} ({sweep.name})"] if key in sweep.keys else []
    found += [f"sweep {sweep.id[:8]} ({sweep.name})" for sweep in Ledger(store) if key in sweep.keys]
    return found + [f"MLflow {ids.get('store', '')} as {ids.get('run_id')}" for ids in store.published_ids(key)]


if __name__ == "__main__":
    console.run(main)
