"""The words of a command, before anything is composed: every mistake in one line that says what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pipeline.config import schema
from pipeline.config.commandline import MOST_JOBS, check, words_of
from pipeline.config.hydra_version import VERSION_BASE
from pipeline.config.rules import CONF, options

GOOD = [
    "optimizer=adam",
    "optimizer=rmsprop optimizer.rho=0.5",
    "optimizer=muon optimizer.ns_steps=3",
    "optimizer.weight_decay=null",
    "optimizer.learning_rate=1e-3",
    "optimizer.learning_rate=1",
    "model.width=1",
    "model.width=65536",
    "model.hidden=[300,100]",
    "model.hidden=null",
    "model.dropout=0",
    "seed=18446744073709551615",
    "dataset=digits",
    "experiment=book",
    "+experiment=book",
    "sweep=null",
    "device=cpu",
    "device.xla=false",
    "device.backend=jax",
    "tracking=none",
    "tracking.uri=http://127.0.0.1:5000",
    "paths.runs=/tmp/elsewhere",
    "hydra.run.dir=elsewhere",
    "hydra/launcher=basic",
    "hydra.verbose=true",
    "model.width=${model.depth}",
    "--cfg job",
    "--help",
    "-cn config optimizer=sgd",
    "-v",
]

BAD = {
    # A name that is not there: the nearest one is offered.
    "optimizer=adm": "did you mean 'adam'",
    "optimizer=Adam": "did you mean 'adam'",
    "optimizer=rmspop": "did you mean 'rmsprop'",
    "optimizer=": "optimizer=: expected one of adadelta, ",
    "optimizer=null": "expected one of adadelta, ",
    "dataset=mnits": "did you mean 'mnist'",
    "model=null": "expected one of dense",
    "training=fast": "did you mean 'default'",
    "device=gpuu": "did you mean 'gpu'",
    "tracking=sqlit": "did you mean 'sqlite'",
    "experiment=bok": "did you mean 'book'",
    "sweep=smok": "did you mean 'smoke'",
    "model.activation=rleu": "did you mean 'relu'",
    "model.kernel_initializer=he_nromal": "did you mean 'he_normal'",
    "training.loss=categorical_crossentropyy": "did you mean 'categorical_crossentropy'",
    "device.precision=float46": "did you mean 'float64'",
    "device.trainer=engin": "did you mean 'engine'",
    "device.backend=torch": "expected one of tensorflow, jax",
    "device.kind=tpu": "expected one of auto, cpu, gpu",
    "tracking.kind=mlflow": "expected one of sqlite, server, none",
    # A key that is not there.
    "model.widht=5": "no such key (did you mean 'model.width'?)",
    "+widht=5": "no such key (did you mean 'model.width'?)",
    "++widht=5": "no such key (did you mean 'model.width'?)",
    "width=5": "did you mean 'model.width'",
    "epochs=3": "did you mean 'training.epochs'",
    "learning_rate=0.1": "did you mean 'optimizer.learning_rate'",
    "optimizer.learning_rat=0.1": "did you mean 'optimizer.learning_rate'",
    "seeds=3": "did you mean 'seed'",
    "xyzzy=1": "xyzzy: no such key",
    # A key of another optimizer, or of nobody.
    "optimizer.beta_1=0.9": "rmsprop has no such key; it has optimizer.learning_rate, optimizer.rho, ",
    "optimizer=adam optimizer.rho=0.9": "adam has no such key; it has optimizer.learning_rate, ",
    "optimizer.name=adam": "choose another with optimizer=NAME",
    "dataset.name=digits": "choose another with dataset=NAME (digits, mnist)",
    # A value out of its range, or of the wrong kind.
    "model.width=0": "expected a whole number from 1 to 65,536",
    "model.width=-5": "model.width=-5: expected a whole number",
    "model.width=65537": "from 1 to 65,536",
    "model.width=nan": "expected a whole number",
    "model.width=1e400": "expected a whole number",
    "model.width=64.0": "expected a whole number",
    "model.width=wide": "model.width=wide: expected a whole number",
    "model.width=true": "expected a whole number",
    "model.width=null": "model.width=null: expected a whole number",
    "model.width=": "expected a whole number",
    "model.depth=0": "from 1 to 32",
    "model.depth=33": "from 1 to 32",
    "model.hidden=[]": "such as [300,100]",
    "model.hidden=[0]": "such as [300,100]",
    "model.hidden=300": "such as [300,100]",
    "model.hidden=[300,1.5]": "such as [300,100]",
    "model.hidden=[300,true]": "such as [300,100]",
    "model.hidden=[[300]]": "such as [300,100]",
    "model.activation=null": "expected one of relu, ",
    "model.dropout=1": "at least 0 and under 1",
    "model.dropout=-0.1": "at least 0 and under 1",
    "model.dropout=nan": "at least 0 and under 1",
    "optimizer.learning_rate=0": "over 0 and at most 1000",
    "optimizer.learning_rate=-0.001": "over 0 and at most 1000",
    "optimizer.learning_rate=nan": "over 0 and at most 1000",
    "optimizer.learning_rate=inf": "over 0 and at most 1000",
    "optimizer.learning_rate=1e400": "over 0 and at most 1000",
    "optimizer.learning_rate=-1e400": "over 0 and at most 1000",
    "optimizer.learning_rate=fast": "over 0 and at most 1000",
    "optimizer.learning_rate=true": "over 0 and at most 1000",
    "optimizer.learning_rate=null": "over 0 and at most 1000",
    "optimizer.rho=1.0": "at least 0 and under 1",
    "optimizer.epsilon=0": "over 0 and at most 1",
    "optimizer.momentum=-0.1": "at least 0 and under 1",
    "optimizer.centered=2": "true or false",
    "optimizer.weight_decay=-1": "or null",
    "optimizer=muon optimizer.ns_steps=0": "from 1 to 20",
    "optimizer=ftrl optimizer.learning_rate_power=1": "at least -10 and at most 0",
    "training.epochs=0": "from 1 to 10,000",
    "training.epochs=2.5": "expected a whole number",
    "training.batch_size=0": "from 1 to ",
    "training.batch_size=-128": "from 1 to ",
    "training.curve_samples=-1": "from 0 to ",
    "seed=-1": "expected a whole number from 0 to 18,446,744,073,709,551,615",
    "seed=18446744073709551616": "expected a whole number from 0 to 18,446,744,073,709,551,615",
    "seed=1.5": "expected a whole number",
    "seed='3'": "expected a whole number",
    "dataset.validation_size=-1": "from 0 to ",
    "device.workers=-1": "from 0 to 1,024",
    "device.stack=65537": "from 0 to 65,536",
    "device.xla=maybe": "true or false",
    "question=": "expected a text",
    "question=null": "expected a text",
    "paths.runs=": "expected a text",
    # What is no setting at all.
    "model.width": "model.width: expected KEY=VALUE",
    "model.width=[16": "expected KEY=VALUE",
    "~seed": "cannot be deleted",
    "~optimizer": "cannot be deleted",
    # Several values where one command trains one run.
    "model.width=16,32": "need --multirun (-m)",
    "seed=range(3)": "need --multirun (-m)",
    "seed=choice(1,2)": "need --multirun (-m)",
    "seed=interval(0,3)": "need --multirun (-m)",
    "optimizer=glob(*)": "need --multirun (-m)",
}

GOOD_SWEEPS = [
    "optimizer=sgd,adam model.width=16,64 seed=range(3)",
    "optimizer=adam,rmsprop optimizer.rho=0.9,0.95",
    "sweep=smoke optimizer.momentum=0.5",
    "sweep=smoke optimizer.beta_1=0.5",
    "experiment=book seed=range(5)",
    "optimizer=glob(*)",
    "optimizer=glob(adam*)",
    "model.hidden=[16],[300,100],null",
    "seed=range(10,0,-1)",
    "seed=range(1,4)",
    "seed=shuffle(range(3))",
    "seed=sort(3,1,2)",
    "seed=interval(0,3)",
    f"seed=range({MOST_JOBS})",
]

BAD_SWEEPS = {
    "seed=range(0)": "an empty range",
    "seed=range(5,5)": "an empty range",
    "seed=range(2,-3)": "an empty range",
    "seed=range(0,10,-1)": "an empty range",
    "seed=range(-2,3)": "seed=-2: expected a whole number",
    "seed=range(0,1,0.25)": "seed=0.0: expected a whole number",
    "seed=range(1000000)": "expected at most 100,000; split it",
    "seed=range(0,1e9)": "expected at most 100,000; split it",
    "model.width=range(1,1001) seed=range(1000)": "this sweep has 1,000,000 runs: expected at most 100,000; split it",
    "seed=choice()": "expected KEY=VALUE",
    "optimizer=adam,adm": "optimizer=adm: expected one of ",
    "model.width=16,0": "model.width=0: expected a whole number",
    "model.hidden=[16],[0]": "model.hidden=[0]: expected a list",
    "optimizer=adam,sgd optimizer.rho=0.9": "optimizer.rho: adam, sgd has no such key",
    "sweep=smoke optimizer.rho=0.5": "optimizer.rho: sgd, adam has no such key",
    "experiment=book optimizer.beta_1=0.5": "optimizer.beta_1: rmsprop has no such key",
}


@pytest.mark.parametrize("line", GOOD)
def test_accepted(line: str) -> None:
    assert check(line.split(" "), multirun=False) == []


@pytest.mark.parametrize("line", GOOD_SWEEPS)
def test_accepted_with_multirun(line: str) -> None:
    assert check(line.split(), multirun=True) == []


@pytest.mark.parametrize(("line", "expected"), BAD.items())
def test_refused(line: str, expected: str) -> None:
    [problem] = check(line.split(), multirun=False)
    assert expected in problem


@pytest.mark.parametrize(("line", "expected"), BAD_SWEEPS.items())
def test_refused_with_multirun(line: str, expected: str) -> None:
    assert expected in check(line.split(), multirun=True)[0]


@pytest.mark.parametrize("line", [*BAD, *BAD_SWEEPS])
def test_a_problem_is_one_line_that_names_the_key(line: str) -> None:
    problems = check(line.split(), multirun=line in BAD_SWEEPS)
    key = line.split()[-1].lstrip("+~").partition("=")[0]
    assert all("\n" not in problem for problem in problems)
    assert all(problem.lstrip("~").startswith(key) or "this sweep has" in problem for problem in problems)


@pytest.mark.parametrize("value", ["adm", "sdg", "adamw2", "nadm"])
def test_a_misspelt_optimizer_is_shown_all_of_them(value: str) -> None:
    [problem] = check([f"optimizer={value}"], multirun=False)
    assert ", ".join(options("optimizer")) in problem


def test_everything_that_is_wrong_is_said_at_once() -> None:
    words = ["optimizer=adm", "model.width=0", "training.epochs=0", "widht=3", "model.width=16,32"]
    assert len(check(words, multirun=False)) == 5


def test_the_same_problem_is_said_once() -> None:
    assert len(check(["model.width=0,0,0"], multirun=True)) == 1


def test_a_value_may_have_spaces() -> None:
    assert check(["question='which one?'"], multirun=False) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("optimizer.lr=0.1", "did you mean 'optimizer.learning_rate'", id="the usual short name"),
        pytest.param("optimizer=null", "optimizer=null: ", id="null as it was typed"),
        pytest.param("seed=range(0,10,0)", "seed=range(0,10,0): ", id="a range that goes nowhere"),
        pytest.param("seed=range(1000000)", "this sweep has 1,000,000 runs", id="how many runs it would be"),
    ],
)
def test_the_message_says_what_to_do(line: str, expected: str) -> None:
    assert expected in "".join(check(line.split(), multirun="range" in line))


def test_info_may_have_a_value() -> None:
    assert words_of(["--info", "searchpath", "seed=1"]) == ["seed=1"]


def test_a_grid_is_the_product_of_its_lists() -> None:
    words = ["model.width=range(1,102)", "seed=range(1000)"]
    assert check(words, multirun=True) == ["this sweep has 101,000 runs: expected at most 100,000; split it"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-m", "seed=1", "--multirun"], ["seed=1"]),
        (["--cfg", "job", "seed=1"], ["seed=1"]),
        (["-c", "job"], []),
        (["--config-path", "a=b", "seed=1"], ["seed=1"]),
        (["--package=x", "seed=1"], ["seed=1"]),
        ([], []),
    ],
)
def test_words_are_what_is_no_option(argv: list[str], words: list[str]) -> None:
    assert words_of(argv) == words


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with an optimizer, an experiment and a sweep of a person's own."""
    for group, content in {
        "optimizer": "name: adam\nlearning_rate: 0.0005\n",
        "experiment": "# @package _global_\ndefaults: [override /optimizer: slow]\n",
        "sweep": "# @package _global_\nhydra: {sweeper: {params: {optimizer: slow}}}\n",
    }.items():
        (tmp_path / group).mkdir()
        (tmp_path / group / "slow.yaml").write_text(content)
    return tmp_path


@pytest.mark.fault("options of one's own")
@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("--config-dir {}", "optimizer=slow"),
        ("--config-dir={}", "optimizer=adam,slow"),
        ("-cd {}", "optimizer=glob(sl*)"),
        ("hydra.searchpath=[file://{}]", "experiment=slow"),
        ("hydra.searchpath=[file://{}]", "+sweep=slow"),
    ],
)
def test_options_are_where_hydra_looks_for_them(own: Path, how: str, word: str) -> None:
    words = [*how.format(own).split(), word, "optimizer.beta_1=0.8"]
    assert check(words, multirun=True) == []
    [problem, *_] = check([word, "optimizer.beta_1=0.8"], multirun=True)
    assert "expected one of" in problem or "matches none of" in problem


@pytest.mark.fault("options of one's own")
def test_one_that_is_misspelt_there_is_offered(own: Path) -> None:
    [problem] = check(["-cd", str(own), "optimizer=slwo"], multirun=False)
    assert problem.endswith("sgd, slow (did you mean 'slow'?)")
    [problem] = check(["-cd", str(own), "optimizer=slow", "optimizer.beta_1=8"], multirun=False)
    assert problem == "optimizer.beta_1=8: expected a number of at least 0 and under 1"


def test_folders_of_hydra_are_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a command is started: below a folder that DVC tracks, each log would change what a stage depends on."""
    schema.register()
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        composed = compose("config", return_hydra_config=True).hydra
        assert Path(composed.run.dir).is_relative_to(CONF.parent / "outputs")
        assert Path(composed.sweep.dir).is_relative_to(CONF.parent / "multirun")
