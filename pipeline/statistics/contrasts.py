"""The declared contrasts: a row per contrast and metric, with its statistics and verdict.

Metrics are in their own units: shares for accuracies, nats for losses. Columns of `contrasts`:

- `contrast`: the factor (`optimizer`, `model.width`, `dataset.train_size`, or another dotted name); `dataset`; `at`: what A
  and B share, in words (`width 512`, `adam`).
- `a`, `b`: the two configurations in words; `a_configuration`, `b_configuration`: their ids. A minus B is looked at; B has
  the value that the others are held against, or the next smaller one.
- `figure`: a key of `metrics.METRICS`; `question`: its `metrics.Question`.
- `n`: the seeds on which everything in the row rests: the first 30 that both have, or the first 10, or all if fewer.
  `seeds`: how many both have. `only_a`, `only_b`: finished seeds that only one has. `unlike`: seeds that both have, of other
  data, code or device, so that they are no pair. `lost_a`, `lost_b`: runs that diverged or failed.
- `mean_a`, `mean_b`: over the n seeds; `level`: of `fit_…` metrics the mean training loss (nats) at which they were read.
  Seeds without a common training loss are not in `seeds` of these metrics.
- `difference`, `sd`, `low`, `high`, `p` (sign-flip permutation test), `p_t` (paired t test), `p_equivalent` (TOST),
  `effect_size`: see `paired.describe`. The interval is over seeds, on the images that there are.
- `comparisons`: contrasts in the family of Holm's correction: those of this factor and metric. `holm`: adjusted p
  of the t test; `holm_equivalent`: of TOST.
- `margin`: as declared for the metric; NaN for losses where a training loss is no cross-entropy, and for `fit_accuracy` of two
  different losses.
- `detectable`: the smallest true difference that n seeds claim (`power.detectable`).
- `more_seeds`: how many more decide at the declared power; infinite where the seeds to confirm would not, NaN where
  something is decided or the number is not known.
- `verdict` (`verdicts.Kind`), `lacks` (why no difference is claimed, `verdicts.Lack` joined by `; `), `standing`
  (`explored`, `confirmed`, or empty: too few seeds for a claim).
NaN stands for what could not be computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.statistics import paired, power
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import Design
from pipeline.statistics.equal_fit import VALUES, Curve, at_equal_training_loss
from pipeline.statistics.metrics import FIT, METRICS
from pipeline.statistics.verdicts import Kind, verdict

CROSS_ENTROPY = ("categorical_crossentropy", "kl_divergence")
"""Losses in nats, the unit of the declared margins; for one-hot labels the two are equal."""

COLUMNS = [
    "contrast", "dataset", "at", "a", "b", "figure", "question",
    "n", "seeds", "only_a", "only_b", "unlike", "lost_a", "lost_b", "level", "mean_a", "mean_b",
    *paired.COLUMNS, "comparisons", "holm", "holm_equivalent", "margin", "detectable", "more_seeds",
    "verdict", "lacks", "standing", "a_configuration", "b_configuration",
]  # fmt: skip


def contrasts(
    runs: pd.DataFrame, table: pd.DataFrame, design: Design, declared: Declaration, curves: Mapping[str, Curve]
) -> pd.DataFrame:
    """Return the table described above.

    `runs` and `table` as `design.runs_of` and `design.configurations` give them, `curves` by key.
    """
    lost = table["diverged"] + table["failed"]
    rows, differences = [], []
    for contrast in design.contrasts:
        a, b, others = paired.pairs(runs, contrast.a, contrast.b)
        about = {"contrast": contrast.factor, "dataset": table.at[contrast.a, "dataset"], "at": contrast.at, **others}
        for side, name in (("a", contrast.a), ("b", contrast.b)):
            about |= {side: table.at[name, "label"], f"{side}_configuration": name, f"lost_{side}": int(lost[name])}
        for metric, values in _values(a, b, curves).items():
            seeds = values.shape[1]
            used = values[:, : declared.looks(seeds) or seeds]
            differences.append(used[0] - used[1])
            row = {"figure": metric, "question": str(METRICS[metric].question), "n": used.shape[1], "seeds": seeds}
            means = [float(own.mean()) if own.size else math.nan for own in used]
            rows.append(about | row | dict(zip(("mean_a", "mean_b", "level"), means, strict=True)))
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    found = pd.DataFrame(rows)
    # Margins are in nats: with another loss there is no margin and so no verdict.
    loss_a, loss_b = (found[f"{side}_configuration"].map(table["loss"]) for side in "ab")
    nats = loss_a.isin(CROSS_ENTROPY) & loss_b.isin(CROSS_ENTROPY)
    # Accuracies have other units, but only training losses of one kind can be equal.
    shares = found["figure"].str.endswith("accuracy") & (loss_a.eq(loss_b) | ~found["figure"].isin(FIT))
    found["margin"] = found["figure"].map(dict(declared.margin)).astype(float).where(nats | shares)
    found = found.join(paired.described(differences, found["margin"].to_numpy(), declared))
    found = _with_holm(paired.within_bounds(found, found["figure"]))
    return _with_power(_with_verdicts(found, declared), declared)[COLUMNS]


def _values(a: pd.DataFrame, b: pd.DataFrame, curves: Mapping[str, Curve]) -> dict[str, np.ndarray]:
    """Return, by metric, A's values, B's, and the training losses at which they were read, for seeds with both."""
    keys = zip(a["key"], b["key"], strict=True)
    read = [at_equal_training_loss(curves.get(first), curves.get(second)) for first, second in keys]
    found = {}
    for metric in METRICS:
        if metric in FIT:
            place = VALUES.index(FIT[metric])
            values = np.array([(first[place], second[place], level) for level, first, second in read]).reshape(-1, 3).T
        else:
            values = np.array([a[metric], b[metric], np.full(len(a), np.nan)])
        found[metric] = values[:, np.isfinite(values[:2]).all(axis=0)]
    return found


def _with_holm(found: pd.DataFrame) -> pd.DataFrame:
    families = found.groupby(["contrast", "figure"], sort=False)
    found["comparisons"] = families["n"].transform("size")
    for column, p in {"holm": "p_t", "holm_equivalent": "p_equivalent"}.items():
        found[column] = families[p].transform(lambda family: paired.holm(family.to_numpy(dtype=float)))
    return found


def _with_verdicts(found: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    columns = (found[name] for name in ("n", "difference", "holm", "holm_equivalent", "margin"))
    given = [verdict(*values) for values in zip(*columns, [declared] * len(found), strict=True)]
    lacks = ["; ".join(own.lacks) for own in given]
    kinds, standings = ([str(getattr(own, part)) for own in given] for part in ("kind", "standing"))
    return found.assign(verdict=kinds, lacks=lacks, standing=standings)


def _with_power(found: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    n, sd, margin, comparisons = (found[name].to_numpy(dtype=float) for name in ("n", "sd", "margin", "comparisons"))
    needed = power.seeds_to_decide(sd, margin, comparisons, declared) - found["seeds"].to_numpy(dtype=float)
    undecided = found["verdict"].eq(Kind.NO_DIFFERENCE).to_numpy() & ~(needed <= 0)
    return found.assign(
        detectable=power.detectable(sd, margin, n, comparisons, declared),
        more_seeds=np.where(undecided, needed, np.nan),
    )
