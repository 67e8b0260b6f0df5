"""What is trained once for many tests: a run of every optimizer by the engine and by `fit`, and all that needs JAX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.console import PROJECT
from pipeline.data.arrays import Arrays
from pipeline.results.result import Result
from tests.training.trainer import COMPILED, Trained, cut, device, one_of_each, train, unlike


@pytest.fixture(scope="session")
def in_float64(digits: Arrays) -> dict[str, Trained]:
    """One of each. Three are compiled by XLA as runs are by default; the others are not, which saves 3 s each."""
    data, jobs = cut(digits, 637), one_of_each()
    engine: dict[str, list[Result]] = {}
    for xla in (True, False):
        names = [name for name in jobs if (name in COMPILED) == xla]
        wanted = [job for name in names for job in (jobs[name], unlike(jobs[name]), jobs[name])]
        results = train(wanted, data, device(precision="float64", xla=xla))
        engine |= {name: results[3 * number : 3 * number + 3] for number, name in enumerate(names)}
    reference = train(list(jobs.values()), data, device(precision="float64", trainer="reference"))
    return {name: Trained(engine[name][0], engine[name][2], reference[number]) for number, name in enumerate(jobs)}


@pytest.fixture(scope="session", autouse=True)
def jax_process(
    request: pytest.FixtureRequest, processed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], dict[str, Any]]]:
    """The tests of the stacked engine: a process of its own, since a process has one backend; it runs beside the others."""
    if not any(item.path.name == "test_stacked.py" for item in request.session.items):
        yield dict
        return
    found = tmp_path_factory.mktemp("jax") / "found.json"
    command = [sys.executable, "-m", "tests.training.on_jax", str(processed), str(found)]
    with open(found.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, env=dict(os.environ))

    def wait() -> dict[str, Any]:
        status = process.wait(timeout=200)
        assert status == 0, found.with_suffix(".log").read_text()
        return json.loads(found.read_text())

    yield wait
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def on_jax(jax_process: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return jax_process()
