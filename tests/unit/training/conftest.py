"""What is trained once for many tests: a run of every optimizer by the engine and by `fit`, and all that needs JAX."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.console import PROJECT
from pipeline.data.arrays import Arrays
from pipeline.training.result import RunResult
from tests.unit.training.trainer import COMPILED, IN_FLOAT64, PATIENCE, Trained, cut, device, one_of_each, train, unlike


@pytest.fixture(scope="session")
def in_float64(digits: Arrays) -> dict[str, Trained]:
    """One of each. Those in COMPILED are compiled by XLA, as runs are by default; the others are not, which saves 6 s each."""
    data, jobs = cut(digits, 637), {name: job for name, job in one_of_each().items() if name in IN_FLOAT64}
    engine: dict[str, list[RunResult]] = {}
    for xla in (True, False) if COMPILED else (False,):
        names = [name for name in jobs if (name in COMPILED) == xla]
        wanted = [job for name in names for job in (jobs[name], unlike(jobs[name]), jobs[name])]
        results = train(wanted, data, device(precision="float64", xla=xla))
        engine |= {name: results[3 * number : 3 * number + 3] for number, name in enumerate(names)}
    reference = train(list(jobs.values()), data, device(precision="float64", trainer="reference"))
    return {name: Trained(engine[name][0], engine[name][2], reference[number]) for number, name in enumerate(jobs)}


@pytest.fixture(scope="session")
def on_jax(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the tests of the stacked engine look at, found in a process of its own: a process has one backend."""
    found = tmp_path_factory.mktemp("jax") / "found.json"
    command = [sys.executable, "-m", "tests.unit.training.on_jax", str(processed), str(found)]
    done = subprocess.run(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout
    return dict(json.loads(found.read_text()))
