"""Fixtures that train once for many tests: runs per optimizer by the engine and by `fit`, and all runs on JAX."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.console import PROJECT
from pipeline.data.arrays import Arrays
from tests.unit.training.trainer import IN_FLOAT64, Trained, cut, device, one_of_each, train, unlike


@pytest.fixture(scope="session")
def in_float64(digits: Arrays) -> dict[str, Trained]:
    """Runs of the optimizers in IN_FLOAT64, without XLA, which saves 6 s each; test_same_bits.py uses XLA."""
    data, jobs = cut(digits, 637), {name: job for name, job in one_of_each().items() if name in IN_FLOAT64}
    wanted = [each for job in jobs.values() for each in (job, unlike(job), job)]
    engine = train(wanted, data, device(precision="float64", xla=False))
    reference = train(list(jobs.values()), data, device(precision="float64", trainer="reference"))
    return {
        name: Trained(engine[3 * number], engine[3 * number + 2], reference[number]) for number, name in enumerate(jobs)
    }


@pytest.fixture(scope="session")
def on_jax(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of the stacked engine from a subprocess, since a process has only one backend."""
    found = tmp_path_factory.mktemp("jax") / "found.json"
    command = [sys.executable, "-m", "tests.unit.training.on_jax", str(processed), str(found)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return dict(json.loads(found.read_text()))
