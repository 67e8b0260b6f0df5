"""The declared contrasts: a row for each of them and each figure, with all that a verdict rests on.

Figures are in their own units: shares for accuracies, nats for losses. Columns of `contrasts`:

- `contrast`: the declared contrast that the row belongs to; `dataset`; `at`: what A and B share (`width 512`, `adam`).
- `a`, `b`: the two configurations in words; `a_configuration`, `b_configuration`: their ids. A minus B is looked at; B is
  the best at equal width, or the narrower one.
- `figure`: `test_accuracy`, `gap_accuracy` or `gap_loss`, all against the test split after the last epoch.
- `n`: seeds that both have, and on which everything in the row rests. `only_a`, `only_b`: finished seeds that only one has.
  `unlike`: seeds that both have, of other data, code or device, so that they are no pair. None of these is used.
- `mean_a`, `mean_b`: over the n seeds.
- `difference`, `sd`, `low`, `high`, `p_sign_flip`, `p_t`, `probability_greater`, `p_equivalent`: see `paired.describe`.
- `comparisons`: what Holm's correction counts (`design.Design`); `holm_sign_flip`, `holm_t`, `holm_equivalent`: adjusted p,
  within the data set, the declared contrast and the figure. `holm`: that of the declared test.
- `margin`, `minimum_effect`, `effect_to_find`: as declared for the figure; NaN for `gap_loss` where the loss is no
  cross-entropy.
- `detectable`: the smallest true difference that n seeds of this SD find, p < alpha and a mean over the minimum, at the
  declared power, as the only comparison; `detectable_in_family`: the same at the strictest step of Holm's correction. Of a
  gap it is the difference alone: what a claim takes besides, at matched training loss and on the test split, is not in it.
- `seeds_to_decide`: see `power.seeds_to_decide`; of a gap also to claim the effect at matched training loss; infinite over
  100,000. `seeds_still_needed`: how many more than n. Where a verdict is given, or no number of seeds would give one, it says
  nothing: `verdicts.judged` has the number that counts.
- For the gaps, at matched training loss (`matched.at_matched_training_loss`; from the histories, thus against the validation
  split where there is one): `matched_n` seeds of which both curves have such a place, `matched_training_loss` (mean),
  `matched_difference`, `matched_sd`, `matched_low`, `matched_high`, `matched_p` and `matched_holm` of the declared test.
NaN stands for what could not be computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.statistics import paired, power
from pipeline.statistics.declaration import SIGN_FLIP, SIZES, Declaration
from pipeline.statistics.design import CROSS_ENTROPY, Contrast, Design
from pipeline.statistics.figures import FIGURES, GAPS
from pipeline.statistics.matched import History
from pipeline.statistics.pairs import Blocks, Pairs

MATCHED = ("difference", "sd", "low", "high")
COLUMNS = [
    "contrast", "dataset", "at", "a", "b", "figure", "n", "only_a", "only_b", "unlike", "mean_a", "mean_b",
    *paired.COLUMNS, "comparisons", "holm_sign_flip", "holm_t", "holm_equivalent", "holm", "margin", "minimum_effect", "effect_to_find",
    "detectable", "detectable_in_family", "seeds_to_decide", "seeds_still_needed",
    "matched_n", "matched_training_loss", *(f"matched_{part}" for part in MATCHED), "matched_p", "matched_holm",
    "a_configuration", "b_configuration",
]  # fmt: skip


def contrasts(
    runs: pd.DataFrame,
    table: pd.DataFrame,
    design: Design,
    declared: Declaration,
    histories: Mapping[str, History] | None = None,
) -> pd.DataFrame:
    """The table that the module describes; without `histories` (by key) nothing is known at matched training loss.

    `runs` and `table` as `design.runs_of` (or `design.completed`) and `design.configurations` give them.
    """
    blocks, labels = Blocks(runs), table["label"]
    rows, differences, matched = [], [], []
    for contrast in design.contrasts:
        pairs = blocks.pairs(contrast.a, contrast.b)
        counts = _counts(contrast, pairs, labels, design)
        equal = pairs.gaps_at_matched_loss(histories or {})
        there = {"matched_n": len(equal["level"]), "matched_training_loss": _mean(equal["level"])}
        for figure in FIGURES:
            gap = figure in GAPS
            differences.append(pairs.difference(figure))
            matched.append(equal[figure] if gap else np.empty(0))
            means = {"mean_a": _mean(pairs.a[figure]), "mean_b": _mean(pairs.b[figure])}
            rows.append({"figure": figure, **counts, **means, **(there if gap else {})})
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    found = pd.DataFrame(rows)
    # Sizes are declared in nats: of another loss nothing is small or large, nor any verdict possible.
    in_nats = found["a_configuration"].map(table["loss"]).isin(CROSS_ENTROPY) | found["figure"].ne("gap_loss")
    for part in SIZES:
        found[part] = found["figure"].map(dict(getattr(declared, part))).astype(float).where(in_nats)
    margins = found["margin"].to_numpy()
    found = found.join(paired.within_bounds(_by_seeds(differences, margins, declared), found["figure"]))
    at_equal_loss = paired.within_bounds(_by_seeds(matched, margins, declared), found["figure"])
    for part in MATCHED:
        found[f"matched_{part}"] = at_equal_loss[part]
    found["matched_p"] = at_equal_loss[paired.claim_column(declared)]
    adjusted = {"p_sign_flip": "holm_sign_flip", "p_t": "holm_t", "p_equivalent": "holm_equivalent"}
    for p, holm in (adjusted | {"matched_p": "matched_holm"}).items():
        found[holm] = _holm(found, p)
    found["holm"] = found["holm_sign_flip" if declared.claim_test == SIGN_FLIP else "holm_t"]
    found["matched_n"] = found["matched_n"].astype("Int64")
    return _with_power(found, declared)[COLUMNS]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _counts(contrast: Contrast, pairs: Pairs, labels: pd.Series, design: Design) -> dict[str, object]:
    return {
        "contrast": contrast.declared,
        "dataset": contrast.dataset,
        "at": contrast.at,
        "a": labels[contrast.a],
        "b": labels[contrast.b],
        "n": pairs.n,
        "only_a": pairs.only_a,
        "only_b": pairs.only_b,
        "unlike": pairs.unlike,
        "comparisons": design.comparisons[contrast.dataset, contrast.declared],
        "a_configuration": contrast.a,
        "b_configuration": contrast.b,
    }


def _by_seeds(samples: list[np.ndarray], margins: np.ndarray, declared: Declaration) -> pd.DataFrame:
    """`paired.describe` of samples of different sizes: those of equal size together."""
    sizes = np.array([len(sample) for sample in samples])
    parts = []
    for n in np.unique(sizes):
        rows = np.flatnonzero(sizes == n)
        stacked = np.array([samples[row] for row in rows]).reshape(len(rows), n)
        parts.append(paired.describe(stacked, margins[rows], declared).set_axis(rows))
    return pd.concat(parts).sort_index()


def _holm(found: pd.DataFrame, column: str) -> pd.Series:
    adjusted = pd.Series(np.nan, index=found.index)
    for _, family in found.groupby(["dataset", "contrast", "figure"], sort=False):
        comparisons = int(family["comparisons"].iloc[0])
        adjusted[family.index] = paired.holm(family[column].to_numpy(dtype=float), comparisons)
    return adjusted


def _with_power(found: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    n, sd, minimum = (found[name].to_numpy() for name in ("n", "sd", "minimum_effect"))
    comparisons = found["comparisons"].to_numpy(dtype=float)
    alone, strictest = np.full(len(found), declared.alpha), declared.alpha / comparisons
    for column, alphas in {"detectable": alone, "detectable_in_family": strictest}.items():
        found[column] = power.detectable(sd, minimum, n, alphas, declared)
    sizes = {part: found[part].to_numpy() for part in SIZES}
    needed = power.seeds_to_decide(sd, sizes, comparisons, declared)
    # A claim on a gap takes the difference at matched training loss too, which may scatter more, and which not every seed has.
    matched_sd, there = found["matched_sd"].to_numpy(), found["matched_n"].to_numpy(dtype=float, na_value=np.nan)
    alpha = declared.alpha / comparisons
    matched = power.seeds_to_claim(sizes["effect_to_find"], matched_sd, minimum, alpha, declared.power)
    with np.errstate(divide="ignore", invalid="ignore"):
        matched = np.ceil(np.maximum(matched, declared.seeds_to_explore) * n / there)
    needed = np.where(np.isnan(matched), needed, np.maximum(needed, matched))
    return found.assign(seeds_to_decide=needed, seeds_still_needed=np.maximum(0, needed - n))
