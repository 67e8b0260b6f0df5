"""hydra/launcher=batched: all jobs go to the task at once, and each ends as a job of Hydra's: folder, files, log."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.batched_launcher import _core
from hydra_plugins.batched_launcher._compose import Templates
from pipeline.cli.console import PROJECT
from pipeline.config import rules
from pipeline.config.compose import register
from pipeline.config.hydra_version import IS_1_3
from tests.unit.training.command import as_before

log = logging.getLogger("app")

CONFIG = {
    "defaults": [{"color": "red"}, "_self_"],
    "a": 0,
    "number": "${hydra:job.num}",
    "twice": "${a}${a}",
}


pytestmark = pytest.mark.usefixtures("hydra_as_before")


@dataclass
class Task:
    """A task that trains all its jobs together and has them end from the last to the first."""

    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    folders: dict[int, str] = field(default_factory=dict)

    def __call__(self, config: DictConfig) -> float:
        raise AssertionError("a task that has `batch` is not called job by job")

    def batch(
        self, configs: list[dict[str, Any]], overrides: list[list[str]], pool: None
    ) -> Iterator[tuple[int, Callable[[], float]]]:
        self.batches.append(configs)
        self.words += overrides
        for position in reversed(range(len(configs))):
            yield position, partial(self.outcome, configs[position])

    def outcome(self, config: dict[str, Any]) -> float:
        hydra = HydraConfig.get()
        log.info("this is job %d", hydra.job.num)
        self.folders[hydra.job.num] = hydra.runtime.output_dir
        if config["a"] == 13:
            raise ValueError("no luck")
        return float(config["a"])


def launch(folder: Path, task: Any, *words: str) -> list[list[JobReturn]]:
    """`python app.py --multirun hydra/launcher=batched …` with `task`, in `folder`; what the sweeper gets, batch by batch.

    A sweeper raises the first error it gets; it is in what it gets, too.
    """
    conf = folder / "conf"
    (conf / "color").mkdir(parents=True, exist_ok=True)
    (conf / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for color in ("red", "green"):
        (conf / "color" / f"{color}.yaml").write_text(f"shade: light {color}\n")
    if IS_1_3:
        version.setbase("1.3")
    hydra = Hydra.create_main_hydra2("app", create_config_search_path(str(conf)))
    own = ["hydra/launcher=batched", f"hydra.sweep.dir={folder}/sweep"]
    returns: list[list[JobReturn]] = []
    launch_batch = _core.launch

    def noted(*arguments: Any) -> Any:
        returns.append(launch_batch(*arguments))
        return returns[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_core, "launch", noted)
        try:
            hydra.multirun("config", task, [*own, *words])
        except ValueError:
            if not returns:
                raise
        finally:
            GlobalHydra.instance().clear()
    return returns


@dataclass
class Sweep:
    folder: Path
    task: Task
    returns: list[JobReturn]

    def job(self, number: int) -> Path:
        return self.folder / "sweep" / str(number)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Four jobs, the third of which fails."""
    task, tmp_path = Task(), tmp_path_factory.mktemp("sweep")
    with as_before():
        [returns] = launch(tmp_path, task, "a=1,2,13,4", "color=green")
    return Sweep(tmp_path, task, returns)


def test_looking_for_launchers_imports_nothing_heavy() -> None:
    script = (
        "import sys, hydra_plugins.batched_launcher;"
        "assert not {'keras', 'tensorflow', 'numpy', 'mlflow', 'submitit', 'pipeline'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=60)


def test_all_jobs_come_at_once_with_the_words_that_made_them(sweep: Sweep) -> None:
    """Their configurations are without Hydra's own part, and everything is resolved for this very job."""
    [configs] = sweep.task.batches
    assert [config["a"] for config in configs] == [1, 2, 13, 4]
    assert configs[1] == {"color": {"shade": "light green"}, "a": 2, "number": 1, "twice": "22"}
    assert sweep.task.words == [[f"a={a}", "color=green"] for a in (1, 2, 13, 4)]


def test_returns_are_in_the_order_of_the_jobs_and_a_failed_job_is_a_failed_one(sweep: Sweep) -> None:
    assert [done.return_value for done in sweep.returns if done.status == JobStatus.COMPLETED] == [1.0, 2.0, 4.0]
    assert [done.overrides for done in sweep.returns] == sweep.task.words
    assert [done.status.name for done in sweep.returns] == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]


def test_each_job_ends_in_its_own_folder_with_its_own_log_and_hydra_s_files(sweep: Sweep) -> None:
    assert sweep.task.folders == {number: str(sweep.job(number)) for number in range(4)}
    for number in range(4):
        line, *more = (sweep.job(number) / "app.log").read_text().splitlines()
        assert not more or number == 2, "Hydra 1.4 notes there why a job failed"
        assert line.endswith(f"this is job {number}")
        config, hydra, overrides = (
            yaml.safe_load((sweep.job(number) / ".hydra" / f"{name}.yaml").read_text())
            for name in ("config", "hydra", "overrides")
        )
        assert overrides == sweep.task.words[number]
        assert config["a"] == (1, 2, 13, 4)[number]
        assert hydra["hydra"]["job"]["num"] == number
        assert hydra["hydra"]["runtime"]["output_dir"] == str(sweep.job(number))


@pytest.mark.fault("soak")
def test_logs_of_ended_jobs_are_closed(tmp_path: Path) -> None:
    """An open log for each would run out of descriptors in the end."""
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    [returns] = launch(tmp_path, Task(), "a=range(1000,1030)", "hydra.output_subdir=null")
    after = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    assert [done.return_value for done in returns] == [float(a) for a in range(1000, 1030)]
    assert all(f"job {n}\n" in (tmp_path / "sweep" / str(n) / "app.log").read_text() for n in (0, 15, 29))
    assert after - before < 10


# --- composing from templates


@pytest.fixture
def loader() -> ConfigLoaderImpl:
    register()
    return ConfigLoaderImpl(create_config_search_path(str(rules.CONF)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "",
        "optimizer=adam model.width=64 seed=2",
        "optimizer=adam optimizer.beta_1=0.5",
        "model.hidden=[300,100] model.dropout=0.5",
        "dataset=digits dataset.validation_size=100 training.epochs=2",
        "model.width=${model.depth}",
        "'question=which one' paths.runs=/tmp/elsewhere",
        "tracking=none device=cpu device.precision=float64",
        "hydra.job.name=other seed=1",
        "++seed=5",
    ],
)
def test_templates_compose_what_hydra_composes(loader: ConfigLoaderImpl, line: str) -> None:
    words = shlex.split(line)
    master = loader.load_configuration("config", ["hydra.sweep.dir=/tmp/x"], run_mode=RunMode.MULTIRUN)
    own, hydras = Templates(loader).compose(master, words), loader.load_sweep_config(master, words)
    for config in (own, hydras):
        OmegaConf.resolve(config.hydra.job)
    assert OmegaConf.to_container(own) == OmegaConf.to_container(hydras)
    assert own._metadata.flags == hydras._metadata.flags
