"""Whole commands that are refused: one line per mistake, before anything heavy is imported or anything is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from tests.conftest import ALL

LOOP = "model.width=${model.depth} model.depth=${model.width}"
COMMANDS = {
    # Mistakes that show only after composing or against the data; test_commandline.py has single values.
    LOOP: "model.",
    "model.width=${nowhere}": "nowhere",
    "model.width=${oc.env:NO_SUCH_VARIABLE}": "NO_SUCH_VARIABLE",
    "model.width=${seed}": "model.width=0: expected a whole number",
    "training.patience=2 dataset.validation_size=0": "training.patience=2: needs dataset.validation_size over 0",
    "training.batch_size=1438 dataset.validation_size=0": "expected at most 1,437, the training samples left",
    "dataset.validation_size=1437": "expected under 1,437, the training samples of digits",
    "dataset.train_size=10 training.batch_size=11 dataset.validation_size=100": "expected at most 10",
    "model.hidden=[65536,65536,65536,65536,65536,65536]": "needs about",
    "paths.data=/nowhere/at/all": "no preprocessed data here",
    "hydra/launcher=batchd": "batchd",
    "optimizer@model=adam": "optimizer",
    "tracking=server": "tracking=server: no address",
    "-m optimizer=adm,rmspop model.width=0,-5,16 seed=range(0)": "did you mean 'adam'",
    "-m dataset.validation_size=100,1437,2000": "dataset.validation_size=2000",
    "-m paths.runs=a,b": "paths.runs: cannot be swept",
    "-m seed=0,1 hydra.job.chdir=true": "expected false",
    "-m optimizer=glob(zz*)": "optimizer=glob(zz*): matches none of adadelta, ",
    "hydra.job.env_set=3": "hydra.job.env_set=3",
    "-m seed=0,1 hydra.sweeper.params={optimizer:sgd}": "here type its words as they are: -m optimizer=sgd,adam",
    "-m seed=0,1 hydra.sweeper.max_batch_size=2": "expected null: all runs of a sweep train together",
    "-m seed=0,1 hydra/launcher=basic": "expected one of batched, batched_slurm",
    "-m seed=0,1 hydra/sweeper=optuna": "expected one of basic",
    "hydra.run.dir=/proc/x": "/proc/x: No such file or directory; hydra.run.dir and hydra.sweep.dir",
    "-m question=a,b": "question: cannot be swept; expected one value per command, got a, b",
    "-cd /nowhere optimizer=slow": "'/nowhere' not found",
    "--multi plan=true": "--multi: no such option (did you mean '--multirun'?)",
}
CHOSEN = list(COMMANDS)[:: 1 if ALL else 2]
"""Every second command, or all with TESTS=all: Hydra takes a third of a second for each."""
MORE_THAN_ONE = {
    "-m optimizer=adm,rmspop model.width=0,-5,16 seed=range(0)": 5,
    "-m dataset.validation_size=100,1437,2000": 2,
}
"""The number of error lines of these commands: all mistakes of a sweep are reported at once."""

SHOWN = {
    "--help": "model.width",
    "--cfg job optimizer=adam": "beta_1: 0.9",
    "--cfg hydra": "batched_launcher.BatchedLauncher",
}

PROGRAM = """
import json, sys, time
from pathlib import Path
from tests.unit.training.command import Place, command
root, processed, *lines = sys.argv[1:]
said = []
for line in lines:
    started = time.process_time()
    words = line.split(" ")
    options = [word for word in words if word == "-m"]
    names = {word.partition("=")[0] for word in words}
    own = [word for word in Place(Path(root), Path(processed)).words if word.partition("=")[0] not in names]
    done = command(*options, *own, *words[len(options):])
    heavy = sorted({"keras", "tensorflow", "jax", "mlflow", "altair"} & set(sys.modules))
    made = sorted(path.name for path in Path(root).rglob("*"))
    said.append([line, done.status, done.out, done.err, heavy, made, time.process_time() - started])
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, processed: Path
) -> dict[str, tuple[int, str, str, list, list, float]]:
    """Run all commands in one subprocess (this process has TensorFlow loaded); return the result of each."""
    root = tmp_path_factory.mktemp("refused")
    environment = dict(os.environ, PYTHONPATH=str(PROJECT))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root), str(processed), *CHOSEN, *SHOWN],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return {line: tuple(rest) for line, *rest in json.loads(done.stdout.splitlines()[-1])}  # type: ignore[misc]


@pytest.mark.fault("bad configuration")
@pytest.mark.parametrize("line", CHOSEN)
def test_a_command_that_cannot_be_is_refused(told: dict[str, tuple], line: str) -> None:
    status, out, err, heavy, made, seconds = told[line]
    lines = err.splitlines()
    assert (status, out, heavy, made) == (2, "", [], []), err
    assert len(lines) == MORE_THAN_ONE.get(line, len(lines))
    assert all(said.startswith("error: ") for said in lines)
    assert COMMANDS[line] in err
    assert len(lines) == 1 or line in MORE_THAN_ONE or LOOP in line
    assert seconds < 2


@pytest.mark.parametrize("line", SHOWN)
def test_what_is_shown_loads_nothing_heavy_and_writes_nothing(told: dict[str, tuple], line: str) -> None:
    status, out, err, heavy, made, _ = told[line]
    assert (status, err, heavy, made) == (0, "", [], [])
    assert SHOWN[line] in out
