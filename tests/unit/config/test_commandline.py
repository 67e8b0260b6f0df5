"""Checks of the command line before anything is composed: one line per mistake, which says what was expected."""

import pytest

from pipeline.config.commandline import MOST_JOBS, check

GOOD = [
    "optimizer=rmsprop optimizer.rho=0.5",
    "model.width=65536",
    "model.hidden=[300,100]",
    "seed=18446744073709551615",
    "experiment=book",
    "+experiment=book",
    "device.xla=false",
    "hydra/launcher=batched",
    "model.width=${model.depth}",
    "--cfg job",
    "-cn config optimizer=sgd",
]

BAD = {
    # An unknown name: the nearest one is suggested.
    "optimizer=adma": "did you mean 'adam'",
    "optimizer=": "optimizer=: expected one of adadelta, ",
    "device.backend=torch": "expected one of tensorflow, jax",
    # An unknown key, or a key of another optimizer.
    "model.widht=5": "no such key (did you mean 'model.width'?)",
    "epochs=3": "did you mean 'training.epochs'",
    "optimizer.lr=0.1": "did you mean 'optimizer.learning_rate'",
    "lr=0.1": "did you mean 'optimizer.learning_rate'",
    "--epochs=3": "no such option (did you mean 'training.epochs=VALUE'?)",
    "xyzzy=1": "xyzzy: no such key",
    "dataset.name=digits": "choose another with dataset=NAME (digits, ",
    # A value out of range or of the wrong type.
    "model.width=0": "expected a whole number from 1 to 65,536",
    "model.width=": "expected a whole number",
    "model.hidden=[300,true]": "such as [300,100]",
    "model.dropout=1": "at least 0 and under 1",
    "optimizer.learning_rate=1e400": "over 0 and at most 1000",
    "optimizer.centered=2": "true or false",
    "seed='3'": "expected a whole number",
    "question=": "expected a text",
    # Not a setting.
    "model.width": "model.width: expected KEY=VALUE",
    "seed=range(3": "expected a closing bracket",
    "~seed": "cannot be deleted",
    # Several values without --multirun.
    "model.width=16,32": "need --multirun (-m)",
    "optimizer=glob(*)": "need --multirun (-m)",
}

GOOD_SWEEPS = [
    "optimizer=sgd,adam model.width=16,64 seed=range(3)",
    "optimizer=adam,rmsprop optimizer.rho=0.9,0.95",
    "experiment=book seed=range(5)",
    "optimizer=glob(*)",
    "model.hidden=[16],[300,100],null",
    "seed=interval(0,3)",
    f"seed=range({MOST_JOBS})",
]

BAD_SWEEPS = {
    "seed=range(0)": "the range is empty",
    "seed=range(-2,3)": "seed=-2: expected a whole number",
    "seed=range(1000000)": "expected at most 100,000; split it",
    "model.width=range(1,1001) seed=range(1000)": "this sweep has 1,000,000 runs: expected at most 100,000; split it",
    "seed=range(0,10,0)": "seed=range(0,10,0): ",
    "optimizer=adam,adm": "optimizer=adm: expected one of ",
    "optimizer=sgd, adam": "optimizer=sgd,: expected no space after a comma",
    "model.width=16,0": "model.width=0: expected a whole number",
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


@pytest.mark.fault("custom options")
@pytest.mark.parametrize("how", ["--config-dir /own", "--config-dir=/own", "hydra.searchpath=[file:///own]"])
@pytest.mark.parametrize("word", ["optimizer=adam,slow", "+sweep=slow"])
def test_files_of_ones_own_are_left_to_hydra(how: str, word: str) -> None:
    assert check([*how.split(), word, "optimizer.beta_1=0.8"], multirun=True) == []
    [problem] = check([*how.split(), word, "optimizer.beta_1=8"], multirun=True)
    assert problem == "optimizer.beta_1=8: expected a number of at least 0 and under 1"
    assert check([word], multirun=True) != []
