"""hydra/launcher=batched passes all jobs to the task at once, in one folder with one log."""

import logging
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
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
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.batched_launcher._core import Templates
from pipeline.cli.console import PROJECT
from pipeline.config import rules
from pipeline.config.compose import IS_1_3, register

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
    """A task that trains all its jobs together."""

    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    trained: bool = False

    def __call__(self, config: DictConfig) -> float:
        raise AssertionError("a task that has `batch` is not called job by job")

    def batch(self, configs: list[dict[str, Any]], overrides: list[list[str]], pool: None) -> None:
        self.batches.append(configs)
        self.words += overrides
        if configs[0]["a"] == 13:
            raise ValueError("no luck")
        self.trained = True
        log.info("in %s", HydraConfig.get().runtime.output_dir)


def launch(folder: Path, task: Any, *words: str) -> None:
    """Run `python app.py --multirun hydra/launcher=batched …` with `task`, in `folder`."""
    conf = folder / "conf"
    (conf / "color").mkdir(parents=True, exist_ok=True)
    (conf / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for color in ("red", "green"):
        (conf / "color" / f"{color}.yaml").write_text(f"shade: light {color}\n")
    if IS_1_3:
        version.setbase("1.3")
    hydra = Hydra.create_main_hydra2("app", create_config_search_path(str(conf)))
    own = ["hydra/launcher=batched", f"hydra.sweep.dir={folder}/sweep"]
    try:
        hydra.multirun("config", task, [*own, *words])
    finally:
        GlobalHydra.instance().clear()


def test_looking_for_launchers_imports_nothing_heavy() -> None:
    script = (
        "import sys, hydra_plugins.batched_launcher;"
        "assert not {'keras', 'tensorflow', 'numpy', 'mlflow', 'submitit', 'pipeline'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=60)


def test_all_jobs_come_at_once_with_the_words_that_made_them(tmp_path: Path) -> None:
    """Each configuration is resolved for its own job and lacks Hydra's section."""
    task = Task()
    launch(tmp_path, task, "a=1,2,4", "color=green")
    [configs] = task.batches
    assert [config["a"] for config in configs] == [1, 2, 4]
    assert configs[1] == {"color": {"shade": "light green"}, "a": 2, "number": 1, "twice": "22"}
    assert task.words == [[f"a={a}", "color=green"] for a in (1, 2, 4)]
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == ["app.log", "multirun.yaml"]
    assert (tmp_path / "sweep/app.log").read_text().endswith(f"in {tmp_path}/sweep\n")


def test_what_the_task_raises_comes_through_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no luck"):
        launch(tmp_path, Task(), "a=13,14")
    assert not (tmp_path / "sweep").exists()


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
