"""hydra/launcher=batched: all jobs are trained together, and each ends as a job of Hydra's: folder, files, log."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import OmegaConf

from hydra_plugins.batched_launcher._compose import Templates
from pipeline.config import rules
from pipeline.config.compose import register
from pipeline.config.run_config import RunConfig
from tests.support.formula import Formula, installed
from tests.unit.training.command import Place

pytestmark = pytest.mark.usefixtures("hydra_as_before")
NAMES = ["sgd", "adam", "adamw"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> tuple[Place, list[RunConfig]]:
    """Three jobs, the second of which fails; and what was trained."""
    place = Place(tmp_path_factory.mktemp("project"), processed)
    with pytest.MonkeyPatch.context() as patch:
        formula = installed(patch)
        formula.fails = lambda job: job.optimizer.name == "adam"
        words = [f"optimizer={','.join(NAMES)}", "seed=${hydra:job.num}", "model.width=4", "training.epochs=1"]
        assert place.train("-m", *words).status == 3
    return place, formula.trained


def test_a_value_that_names_its_job_is_resolved_for_this_very_job(swept: tuple[Place, list[RunConfig]]) -> None:
    assert [(job.optimizer.name, job.seed) for job in swept[1]] == [(name, n) for n, name in enumerate(NAMES)]


def test_each_job_has_its_own_folder_log_and_files_of_hydra(swept: tuple[Place, list[RunConfig]]) -> None:
    for number, name in enumerate(NAMES):
        folder = swept[0].root / "sweep" / str(number)
        assert (
            swept[0].log(number).splitlines()[0].endswith(f"{name}-w4-d1-s{number}, key {swept[0].record.keys[number]}")
        )
        config, hydra, overrides = (
            yaml.safe_load((folder / ".hydra" / f"{file}.yaml").read_text())
            for file in ("config", "hydra", "overrides")
        )
        assert f"optimizer={name}" in overrides
        assert config["optimizer"]["name"] == name
        assert hydra["hydra"]["job"]["num"] == number
        assert hydra["hydra"]["runtime"]["output_dir"] == str(folder)


@pytest.mark.fault("soak")
def test_logs_of_ended_jobs_are_closed(tmp_path: Path, processed: Path, formula: Formula) -> None:
    """An open log for each would run out of descriptors in the end."""
    descriptors, place = Path("/proc/self/fd"), Place(tmp_path, processed)
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    assert place.train("-m", "seed=range(30)", "training.epochs=1", "hydra.output_subdir=null").status == 0
    after = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    assert len(formula.trained) == 30
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
