"""Which runs of two sweeps are compared."""

from pipeline.storage.sweeps import Sweep
from pipeline.sweep.difference import of_sweeps, row
from pipeline.training.result import RunResult
from tests.support.factory import stored

SWEEPS = [Sweep("first", []), Sweep("second", [])]


def run(precision: str, code: str = "5") -> RunResult:
    numerics = {"backend": "tensorflow", "precision": precision}
    return stored(identity={"data": "d" * 64, "source": code * 64, "numerics": numerics})


def test_runs_of_several_precisions_are_compared_with_those_of_the_same() -> None:
    old, new = ([run(precision, code) for precision in ("float32", "float64")] for code in "56")
    same, other_code = of_sweeps(SWEEPS, [old, old]), of_sweeps(SWEEPS, [old, new[::-1]])
    assert "  2 the same run, 2 of the same final weights" in same
    assert "code, data, numerics, packages, machine: the same" in same
    assert not [line for line in other_code if "precision" in line]


def test_a_run_that_is_in_no_pair_has_no_partner() -> None:
    both = [run("float32"), run("float64")]
    assert row("without a partner", 0, 1) in of_sweeps(SWEEPS, [both[:1], both])
    assert row("without a partner", 0, 0) in of_sweeps(SWEEPS, [both, both[:1]]), "a partner of two is one run"
    assert row("without a partner", 0, 2) in of_sweeps(SWEEPS, [[], both])
