"""hydra/launcher=batched: all jobs at once to a task that can, one by one to any other, and Hydra's books either way.

Hydra's own suites for launchers are inherited at the end.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
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
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.batched_launcher import BatchedLauncher, _core
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


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with as_before():
        yield


class Diary(Callback):
    """What Hydra calls when, a line each in a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def note(self, *words: Any) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(words) + "\n")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.note("multirun starts")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        self.note("multirun ends")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.note("job starts", config.hydra.job.num)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        assert job_return.cfg is not None
        self.note("job ends", config.hydra.job.num, job_return.status.name, job_return.cfg.a)


@dataclass
class Task:
    """A task that trains all its jobs together and has them end from the last to the first."""

    batches: list[list[DictConfig]] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    folders: dict[int, str] = field(default_factory=dict)

    def __call__(self, config: DictConfig) -> float:
        raise AssertionError("a task that has `batch` is not called job by job")

    def batch(self, configs: list[DictConfig], overrides: list[list[str]]) -> Iterator[tuple[int, Callable[[], float]]]:
        self.batches.append(configs)
        self.words += overrides
        for position in reversed(range(len(configs))):
            yield position, partial(self.outcome, configs[position])

    def outcome(self, config: DictConfig) -> float:
        hydra = HydraConfig.get()
        log.info("this is job %d", hydra.job.num)
        self.folders[hydra.job.num] = hydra.runtime.output_dir
        if config.a == 13:
            raise ValueError("no luck")
        return float(config.a)


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

    @property
    def diary(self) -> list[Any]:
        return [json.loads(line) for line in (self.folder / "diary").read_text().splitlines()]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Four jobs, the third of which fails."""
    task, tmp_path = Task(), tmp_path_factory.mktemp("sweep")
    callback = f"+hydra.callbacks.diary={{_target_:tests.commands.test_launcher.Diary,path:{tmp_path}/diary}}"
    with as_before(), warnings.catch_warnings():
        # Hydra 1.4 asks programs to list the callbacks they allow.
        warnings.filterwarnings("ignore", ".*resolved _target_=", UserWarning)
        [returns] = launch(tmp_path, task, "a=1,2,13,4", "color=green", callback)
    return Sweep(tmp_path, task, returns)


def test_hydra_finds_it() -> None:
    # By name: Hydra imports plugins anew whenever it scans, and then the class is another object.
    found = [f"{plugin.__module__}.{plugin.__name__}" for plugin in Plugins.instance().discover(Launcher)]
    assert f"{BatchedLauncher.__module__}.{BatchedLauncher.__name__}" in found


def test_hydra_finds_it_from_the_repository_alone(tmp_path: Path) -> None:
    """`-S` leaves out the installed packages' .pth files, among them the one of this project."""
    script = "import sys; sys.path += sys.argv[1:]; from hydra.core.plugins import Plugins; "
    script += "from hydra.plugins.launcher import Launcher; print([p.__name__ for p in Plugins.instance().discover(Launcher)])"
    packages = [path for path in sys.path if path.endswith("site-packages")]
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *packages],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "BatchedLauncher" in done.stdout


def test_looking_for_it_imports_nothing_heavy() -> None:
    script = (
        "import sys, hydra_plugins.batched_launcher;"
        "assert not {'keras', 'tensorflow', 'numpy', 'mlflow', 'pipeline'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=60)


def test_all_jobs_come_at_once(sweep: Sweep) -> None:
    [configs] = sweep.task.batches
    assert [config.a for config in configs] == [1, 2, 13, 4]


def test_their_configurations_are_those_of_the_task(sweep: Sweep) -> None:
    """Without Hydra's own part, and with everything resolved for this very job."""
    assert OmegaConf.to_container(sweep.task.batches[0][1], resolve=False) == {
        "color": {"shade": "light green"},
        "a": 2,
        "number": 1,
        "twice": "22",
    }


def test_the_words_that_made_them_come_along(sweep: Sweep) -> None:
    assert sweep.task.words == [[f"a={a}", "color=green"] for a in (1, 2, 13, 4)]


def test_returns_are_in_the_order_of_the_jobs(sweep: Sweep) -> None:
    assert [done.return_value for done in sweep.returns if done.status == JobStatus.COMPLETED] == [1.0, 2.0, 4.0]
    assert [done.overrides for done in sweep.returns] == sweep.task.words


def test_a_failed_job_is_a_failed_return(sweep: Sweep) -> None:
    assert [done.status.name for done in sweep.returns] == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]


def test_its_error_is_raised_where_it_is_asked_for_and_not_printed(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="no luck"):
        _ = sweep.returns[2].return_value
    assert capsys.readouterr().err == ""


def test_each_outcome_is_told_in_its_own_folder(sweep: Sweep) -> None:
    assert sweep.task.folders == {number: str(sweep.job(number)) for number in range(4)}


@pytest.mark.parametrize("number", range(4))
def test_each_log_has_its_own_lines_only(sweep: Sweep, number: int) -> None:
    [line] = (sweep.job(number) / "app.log").read_text().splitlines()
    assert line.endswith(f"this is job {number}")


@pytest.mark.parametrize("number", range(4))
def test_each_folder_has_hydra_s_three_files(sweep: Sweep, number: int) -> None:
    files = {path.name: yaml.safe_load(path.read_text()) for path in (sweep.job(number) / ".hydra").iterdir()}
    assert set(files) == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert files["overrides.yaml"] == sweep.task.words[number]
    assert files["config.yaml"]["a"] == (1, 2, 13, 4)[number]
    assert files["hydra.yaml"]["hydra"]["job"]["num"] == number
    assert files["hydra.yaml"]["hydra"]["job"]["id"] == str(number)
    assert files["hydra.yaml"]["hydra"]["runtime"]["output_dir"] == str(sweep.job(number))


def test_a_job_s_files_are_those_that_hydra_writes(tmp_path: Path) -> None:
    """Byte by byte: those of jobs that end together, and those of the same jobs run one by one by Hydra's `run_job`."""
    words = ("a=1,2", "color=green", "+b='ä: # long enough to be folded, if anything is folded here at all: '")
    written = []
    for task in (Task(), lambda config: float(config.a)):
        [returns] = launch(tmp_path, task, *words, "+c=[1,{x: null, y: 1.5}]")
        files = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("sweep/*/.hydra/*.yaml")}
        assert len(files) == 6
        said = [(done.overrides, done.working_dir, done.task_name, done.return_value) for done in returns]
        written.append((files, said))
        shutil.rmtree(tmp_path / "sweep")
    assert written[0] == written[1]


def test_a_returned_job_holds_no_configuration(sweep: Sweep) -> None:
    """Those of a thousand jobs would take 500 MB."""
    assert [(done.cfg, done.hydra_cfg) for done in sweep.returns] == [(None, None)] * 4


def test_the_sweep_s_own_file_is_there(sweep: Sweep) -> None:
    record = yaml.safe_load((sweep.folder / "sweep" / "multirun.yaml").read_text())
    assert record["hydra"]["overrides"]["task"][:2] == ["a=1,2,13,4", "color=green"]


def test_callbacks_are_called_for_every_job(sweep: Sweep) -> None:
    starts = [note[1] for note in sweep.diary if note[0] == "job starts"]
    ends = {note[1]: tuple(note[2:]) for note in sweep.diary if note[0] == "job ends"}
    assert starts == [3, 2, 1, 0]
    assert ends == {0: ("COMPLETED", 1), 1: ("COMPLETED", 2), 2: ("FAILED", 13), 3: ("COMPLETED", 4)}
    assert sweep.diary[0] == ["multirun starts"]


def test_a_job_ends_before_the_next_starts(sweep: Sweep) -> None:
    assert [note[0] for note in sweep.diary if note[0].startswith("job")] == ["job starts", "job ends"] * 4


def test_job_numbers_go_on_from_batch_to_batch(tmp_path: Path) -> None:
    """As a sweeper sends them that looks at the first results before it asks for more."""
    task = Task()
    returns = launch(tmp_path, task, "a=1,2,3", "hydra.sweeper.max_batch_size=2")
    assert [len(batch) for batch in returns] == [2, 1]
    assert [config.number for batch in task.batches for config in batch] == [0, 1, 2]
    assert (tmp_path / "sweep" / "2" / "app.log").is_file()


def test_a_word_of_hydra_s_own_is_kept(tmp_path: Path) -> None:
    launch(tmp_path, Task(), "a=1,2", "hydra.sweep.subdir=a_${a}", "hydra.output_subdir=books")
    assert (tmp_path / "sweep" / "a_2" / "books" / "config.yaml").is_file()


def test_new_keys_and_interpolations(tmp_path: Path) -> None:
    task = Task()
    launch(tmp_path, task, "+b=1,2", "a=${b}")
    assert [config.twice for config in task.batches[0]] == ["11", "22"]


def test_changing_folders_is_refused(tmp_path: Path) -> None:
    task = Task()
    with pytest.raises(HydraException, match="chdir=true: jobs that run together share one working directory"):
        launch(tmp_path, task, "a=1,2", "hydra.job.chdir=true")
    assert task.batches == []


def test_an_error_of_the_batch_itself_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task()
    monkeypatch.setattr(task, "batch", lambda configs, overrides: iter([1 // 0]))
    with pytest.raises(ZeroDivisionError):
        launch(tmp_path, task, "a=1,2")


def test_hydra_is_as_before_afterwards(tmp_path: Path) -> None:
    launch(tmp_path, Task(), "a=1,2")
    assert HydraConfig.instance().cfg is None
    assert not GlobalHydra.instance().is_initialized()


def test_a_hundred_jobs(tmp_path: Path) -> None:
    """An open log for each would run out of descriptors in the end."""
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    [returns] = launch(tmp_path, Task(), "a=range(1000,1100)", "hydra.output_subdir=null")
    after = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    assert [done.return_value for done in returns] == [float(a) for a in range(1000, 1100)]
    assert all(f"job {n}\n" in (tmp_path / "sweep" / str(n) / "app.log").read_text() for n in (0, 50, 99))
    assert after - before < 10


# --- any other task


def test_a_task_without_batch_is_called_job_by_job(tmp_path: Path) -> None:
    called: list[tuple[int, str]] = []

    def task(config: DictConfig) -> int:
        called.append((config.a, HydraConfig.get().runtime.output_dir))
        return int(config.a)

    [returns] = launch(tmp_path, task, "a=1,2")
    assert called == [(1, f"{tmp_path}/sweep/0"), (2, f"{tmp_path}/sweep/1")]
    assert [done.return_value for done in returns] == [1, 2]


def test_it_may_change_folders(tmp_path: Path) -> None:
    here, there = os.getcwd(), []
    launch(tmp_path, lambda config: there.append(os.getcwd()), "a=1,2", "hydra.job.chdir=true")
    assert there == [f"{tmp_path}/sweep/0", f"{tmp_path}/sweep/1"]
    assert os.getcwd() == here


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
        "seed=3",
        "optimizer=adam model.width=64 seed=2",
        "optimizer=adam optimizer.beta_1=0.5",
        "optimizer.rho=0.5 seed=1",
        "model.hidden=[300,100] model.dropout=0.5",
        "dataset=digits dataset.validation_size=100 training.epochs=2",
        "experiment=book seed=4",
        "model.width=${model.depth}",
        "'question=which one' paths.runs=/tmp/elsewhere",
        "tracking=none device=cpu device.precision=float64",
        "hydra.job.name=other seed=1",
        "+hydra.extra=1 seed=1",
        "++seed=5",
    ],
)
def test_templates_compose_what_hydra_composes(loader: ConfigLoaderImpl, line: str) -> None:
    words = [word.strip("'") for word in line.replace("which one", "which_one").split()]
    master = loader.load_configuration("config", ["hydra.sweep.dir=/tmp/x"], run_mode=RunMode.MULTIRUN)
    own, hydras = Templates(loader).compose(master, words), loader.load_sweep_config(master, words)
    for config in (own, hydras):
        OmegaConf.resolve(config.hydra.job)
    assert OmegaConf.to_container(own) == OmegaConf.to_container(hydras)
    assert own._metadata.flags == hydras._metadata.flags


@pytest.mark.parametrize("word", ["modle.width=3", "model.width=wide", "optimizer=adm", "widht=3"])
def test_they_refuse_what_hydra_refuses(loader: ConfigLoaderImpl, word: str) -> None:
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    with pytest.raises(Exception) as hydras:  # noqa: PT011
        loader.load_sweep_config(master, [word])
    with pytest.raises(type(hydras.value)):
        Templates(loader).compose(master, [word])


def test_a_template_is_composed_once(loader: ConfigLoaderImpl, monkeypatch: pytest.MonkeyPatch) -> None:
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    composed: list[list[str]] = []
    whole_way = loader.load_sweep_config

    def noted(master: DictConfig, words: list[str]) -> DictConfig:
        composed.append(words)
        return whole_way(master, words)

    monkeypatch.setattr(loader, "load_sweep_config", noted)
    templates = Templates(loader)
    for optimizer in ("sgd", "adam"):
        for seed in range(20):
            templates.compose(master, [f"optimizer={optimizer}", f"seed={seed}"])
    assert composed == [["optimizer=sgd"], ["optimizer=adam"]]


def test_jobs_of_one_template_do_not_share_values(loader: ConfigLoaderImpl) -> None:
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    templates = Templates(loader)
    first, second = (templates.compose(master, [f"model.hidden=[{width}]"]) for width in (3, 4))
    first.model.hidden.append(9)
    assert (list(first.model.hidden), list(second.model.hidden)) == ([3, 9], [4])
    assert templates.compose(master, []).model.hidden is None


# --- Hydra's own suites: no task there has `batch`, so it must behave as the basic launcher

OLD_BASE = pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change working directory")


@OLD_BASE
@pytest.mark.slow
@pytest.mark.parametrize(("launcher_name", "overrides"), [("batched", [])])
class TestAsHydraTestsLaunchers(LauncherTestSuite):
    pass


@OLD_BASE
@pytest.mark.slow
@pytest.mark.parametrize(("launcher_name", "overrides"), [("batched", ["hydra.sweeper.max_batch_size=2"])])
class TestAsHydraTestsBatches(BatchedSweeperTestSuite):
    pass


@OLD_BASE
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({"defaults": [{"override hydra/launcher": "batched"}], "hydra": {"mode": "MULTIRUN"}}, ["-m"])],
)
@pytest.mark.slow
class TestAsHydraTestsPrograms(IntegrationTestSuite):
    pass
