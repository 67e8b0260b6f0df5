"""How often a false claim is made: a configuration against itself, and simulated sweeps with a known truth."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.statistics import contrasts, design, equal_fit, paired
from pipeline.statistics.declaration import OPTIMIZER
from pipeline.statistics.verdicts import Kind
from pipeline.training.result import FINISHED, RunResult
from tests.support import factory

CLAIMS = (Kind.LARGER, Kind.SMALLER)

RMSPROP = np.array([0.9780, 0.9799, 0.9723, 0.9795, 0.9785, 0.9759, 0.9803, 0.9754, 0.9779, 0.9804])
"""MNIST test accuracy of ten seeds of a 784-512-10 network (rmsprop, five epochs of 50,000 samples)."""


def at_most(count: int, share: float = 0.05) -> int:
    """Return the 99.9 % quantile of the number of false claims among `count`, if each has probability `share`."""
    return int(stats.binom.ppf(0.999, count, share))


# --- a configuration against itself


@pytest.mark.parametrize(
    "draw",
    [
        lambda random, shape: random.normal(0.978, 0.0018, size=shape),
        lambda random, shape: random.choice(RMSPROP, size=shape),
        lambda random, shape: np.maximum(random.normal(0, 0.01, size=shape), 0),
    ],
    ids=["normal", "few values", "an excess that is often zero"],
)
def test_a_configuration_against_itself_over_disjoint_seeds(declared, draw):
    """Either test finds a difference in about 5 % of the repetitions, not more."""
    seeds = draw(np.random.default_rng(10), (2000, 20))
    found = paired.describe(seeds[:, :10] - seeds[:, 10:], np.full(2000, 0.001), declared)
    for p in ("p", "p_t"):
        assert 0.035 <= (found[p] < declared.alpha).mean() <= 0.06, p


# --- simulated sweeps

EPOCHS = 12


@dataclasses.dataclass(frozen=True)
class Truth:
    """How a configuration trains: training loss starts at 0.5 and is multiplied by `factor` in each epoch.

    Held-out loss is higher by `gap` nats for each factor of e that the training loss has fallen. Beyond `turn` factors
    it is three times as much per factor, so that held-out loss turns up.
    """

    factor: float = 0.75
    gap: float = 0.02
    turn: float = 9.0

    def losses(self, random: np.random.Generator, shared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both losses by epoch; all configurations of a seed have the `shared` noise in speed and gap."""
        fallen = (1 + 0.01 * (shared[0] + random.normal())) * -np.log(self.factor) * np.arange(EPOCHS)
        training = 0.5 * np.exp(-fallen)
        gap = self.gap + 0.0006 * (shared[1] + random.normal())
        return training, training + gap * (fallen + 2 * np.maximum(fallen - self.turn, 0))


def run(
    optimizer: str, width: int, seed: int, truth: Truth, random: np.random.Generator, shared: np.ndarray
) -> RunResult:
    job = factory.job(optimizer, width, seed, validation=10_000, epochs=EPOCHS)
    training, held_out = truth.losses(random, shared)
    accuracy = {"train": 1 - 0.3 * training, "val": 1 - 0.3 * held_out}
    test = accuracy["val"][-1] + 0.0008 * (shared[2] + random.normal())
    history = {
        "train/loss": training,
        "val/loss": held_out,
        **{f"{split}/accuracy": accuracy[split] for split in accuracy},
    }
    metrics = {name: float(values[-1]) for name, values in history.items()}
    metrics |= {"test/accuracy": test, "test/loss": metrics["val/loss"], "best/val_accuracy": accuracy["val"].max()}
    plain = {name: values.tolist() for name, values in history.items()}
    return RunResult(
        f"{optimizer}{width}-{seed}", job, FINISHED, history=plain, metrics=metrics, identity={"data": "d"}
    )


def sweep(truths: Callable[[str, int], Truth], random: np.random.Generator, seeds: int = 10) -> list[RunResult]:
    """Three optimizers at two widths."""
    shared = random.normal(size=(seeds, 3))
    return [
        run(optimizer, width, seed, truths(optimizer, width), random, shared[seed])
        for optimizer in ("rmsprop", "sgd", "adam")
        for width in (64, 512)
        for seed in range(seeds)
    ]


def contrasted(results: Sequence[RunResult], declared) -> pd.DataFrame:
    """Return only the table of contrasts, which is quicker than the whole analysis."""
    runs, jobs = design.runs_of(results), {result.job.configuration: result.job for result in results}
    table = design.configurations(runs, jobs)
    curves = {result.key: curve for result in results if (curve := equal_fit.curve(result))}
    return contrasts.contrasts(runs, table, design.design(jobs, declared), declared, curves)


def verdicts(results: Sequence[RunResult], declared) -> pd.DataFrame:
    """Return the verdicts on optimizers: a row per pair, a column per figure."""
    rows = contrasted(results, declared)
    rows = rows[rows["contrast"].eq(OPTIMIZER)]
    return rows.pivot(index=["a", "b"], columns="figure", values="verdict")


def test_sweeps_without_any_effect_make_false_claims_in_under_5_percent(quick):
    """Counts families with a false claim: at most 5 % with Holm's correction alone, hardly any over the margin."""
    small = dataclasses.replace(quick, margin=dict.fromkeys(quick.margin, 1e-9))
    random, families = np.random.default_rng(0), []
    for _ in range(25):
        rows = contrasted(sweep(lambda optimizer, width: Truth(), random), small)
        rows["claimed"] = rows["verdict"].isin(CLAIMS)
        rows["over"] = rows["claimed"] & (rows["difference"].abs() > rows["figure"].map(quick.margin))
        families.append(rows.groupby(["contrast", "figure"])[["claimed", "over"]].any())
    # No held-out loss turns up here, so there is no excess to compare.
    told = pd.concat(families).drop("excess_loss", level="figure")
    assert len(told) == 25 * 2 * 5
    assert 0 < told["claimed"].sum() <= at_most(len(told))
    assert told["over"].mean() < 0.05


def test_one_that_has_only_fitted_further_has_the_larger_gap_and_no_more(quick):
    """adam's training loss falls faster, but on the same curve of held-out against training loss."""
    random, wrong = np.random.default_rng(2), 0
    for _ in range(10):
        found = verdicts(sweep(lambda name, width: Truth(0.6 if name == "adam" else 0.75), random), quick)
        adam = found.loc[[pair for pair in found.index if "adam" in pair[0]]]
        assert (adam["gap_loss"] == Kind.LARGER).all()
        assert not adam["fit_loss"].eq(Kind.NO_DIFFERENCE).all()  # equal in truth, and some are shown to be
        wrong += adam[["fit_loss", "fit_accuracy"]].isin(CLAIMS).any(axis=None)
        others = found.loc[[pair for pair in found.index if "sgd" in pair[0]]]
        wrong += others.isin(CLAIMS).any(axis=None)
    assert wrong <= at_most(10)


def test_a_true_difference_at_equal_fit_is_found(quick):
    """adam generalises worse at any training loss."""
    random = np.random.default_rng(3)
    for _ in range(10):
        found = verdicts(sweep(lambda name, width: Truth(gap=0.026 if name == "adam" else 0.02), random), quick)
        adam = found.loc[[pair for pair in found.index if "adam" in pair[0]]]
        assert (adam[["fit_loss", "gap_loss"]] == Kind.LARGER).all(axis=None)
        assert (adam["fit_accuracy"] == Kind.SMALLER).all()
