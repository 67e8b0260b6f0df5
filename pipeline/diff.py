"""Compare two runs, or two sweeps: configuration, code, data, packages, numerics, machine and results.

    python -m pipeline.diff RUN RUN
    python -m pipeline.diff SWEEP SWEEP

RUN is a key (or its first 6 letters or more), an MLflow run id, a run's name or its folder. SWEEP is a folder of results, or a
sweep's id, question or MLflow parent run. Two runs are also compared on the same test samples (McNemar's test). In two sweeps,
runs of the same configuration and seed are pairs. The default of `runs` is `paths.runs` of conf/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli import console, terminal
from pipeline.cli.errors import UserError, shown_line
from pipeline.data.arrays import load
from pipeline.storage.find import beginning, find_keys, find_run
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import SWEEP, Sweep, find_sweep, readable
from pipeline.tracking.address import runs_folder
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    import numpy as np

DEFAULTS = {"data": "data/processed", "runs": ""}


def main(argv: Sequence[str]) -> int:
    names, options = console.read_arguments(argv, DEFAULTS, __doc__ or "")
    if len(names) != 2:
        raise UserError(f"{' '.join(names) or 'nothing'}: expected two runs, or two sweeps; see --help")
    terminal.show("reading runs")
    store = RunStore(runs_folder(options["runs"]))
    sweeps = [is_sweep(name_or_key, store) for name_or_key in names]
    if any(sweeps) and not all(sweeps):
        raise UserError(
            f"{names[0]}, {names[1]}: expected two runs, or two sweeps; {names[sweeps.index(False)]} is a run"
        )
    lines = of_sweeps(names, store) if all(sweeps) else of_runs(names, store, console.PROJECT / options["data"])
    print("\n".join(map(shown_line, lines)))
    return 0


def is_sweep(name_or_key: str, store: RunStore) -> bool:
    """Return whether the name is a sweep's: a folder of results, or a known sweep if there is no such run."""
    if (console.PROJECT / name_or_key / SWEEP).is_file():
        return True
    if Path(name_or_key).is_dir() or find_keys(name_or_key, store):
        return False
    try:
        find_sweep(name_or_key, store, console.PROJECT)
    except UserError:
        return False
    return True


def of_runs(names: Sequence[str], store: RunStore, data: Path) -> list[str]:
    from pipeline.sweep import difference

    first, second = (find_run(name_or_key, store) for name_or_key in names)
    if first.key == second.key:
        raise UserError(f"{names[0]}, {names[1]}: both are the run {beginning(first.key)}; expected two different runs")
    return difference.of_runs(first, second, test_labels(first, second, data))


def test_labels(first: RunResult, second: RunResult, data: Path) -> np.ndarray | None:
    """Return the labels of the test samples of both runs; None if they differ or are not in `data`."""
    try:
        arrays = load(data / first.job.dataset.name)
    except UserError:
        return None
    same = {arrays.digest} == {run.identity.get("data") for run in (first, second)}
    return arrays.test_labels if same else None


def of_sweeps(names: Sequence[str], store: RunStore) -> list[str]:
    from pipeline.sweep import difference

    sweeps: list[Sweep] = []
    results: list[list[RunResult]] = []
    for name_or_key in names:
        sweep, runs = find_sweep(name_or_key, store, console.PROJECT)
        found, others = readable(runs, sweep.keys)
        if others:
            print(f"{name_or_key}: {len(others)} runs are left out: {shown_line(str(others[0]))}")
        sweeps.append(sweep)
        results.append(found)
    return difference.of_sweeps(sweeps, results)


if __name__ == "__main__":
    console.run(main)
