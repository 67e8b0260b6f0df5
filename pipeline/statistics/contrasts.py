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
- `margin`, `minimum_effect`: as declared for the figure.
- `detectable`: the smallest mean difference that n seeds of this SD detect, at the declared power, as the only comparison;
  `detectable_in_family`: the same at the strictest step of Holm's correction.
- `seeds_to_decide`: see `power.seeds_to_decide`; infinite over 100,000. `seeds_still_needed`: how many more than n.
- For the gaps, at matched training loss (`matched.at_matched_training_loss`; from the histories, thus against the validation
  split where there is one): `matched_n` seeds of which both curves have such a place, `matched_training_loss` (mean),
  `matched_difference`, `matched_sd`, `matched_low`, `matched_high`, `matched_p` and `matched_holm` of the declared test.
- `note`: why something is missing; empty where nothing is.

NaN stands for what could not be computed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.results.result import FINISHED
from pipeline.statistics import paired, power
from pipeline.statistics.declaration import SIGN_FLIP, Declaration
from pipeline.statistics.design import Contrast, Design
from pipeline.statistics.matched import History, at_matched_training_loss
from pipeline.statistics.wording import FIGURES, GAPS, plural

MATCHED = ("difference", "sd", "low", "high")
COLUMNS = [
    "contrast", "dataset", "at", "a", "b", "figure", "n", "only_a", "only_b", "unlike", "mean_a", "mean_b",
    *paired.COLUMNS, "comparisons", "holm_sign_flip", "holm_t", "holm_equivalent", "holm", "margin", "minimum_effect",
    "detectable", "detectable_in_family", "seeds_to_decide", "seeds_still_needed",
    "matched_n", "matched_training_loss", *(f"matched_{part}" for part in MATCHED), "matched_p", "matched_holm",
    "note", "a_configuration", "b_configuration",
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
    blocks = Blocks(runs, table)
    rows, differences, matched = [], [], []
    for contrast in design.contrasts:
        pairs = blocks.pairs(contrast)
        equal = _matched(pairs, histories) if histories is not None else None
        for figure in FIGURES:
            rows.append(_described(contrast, figure, pairs, table, design))
            differences.append(pairs.a[figure].to_numpy() - pairs.b[figure].to_numpy())
            matched.append(equal[figure].to_numpy() if equal is not None and figure in GAPS else np.empty(0))
            rows[-1]["matched_n"] = len(matched[-1]) if figure in GAPS else None
            rows[-1]["matched_training_loss"] = (
                equal["level"].mean() if len(matched[-1]) and equal is not None else np.nan
            )
    found = pd.DataFrame(rows)
    if found.empty:
        return pd.DataFrame(columns=COLUMNS)
    for part, sizes in {"margin": declared.margin, "minimum_effect": declared.minimum_effect}.items():
        found[part] = found["figure"].map(dict(sizes)).astype(float)
    margins = found["margin"].to_numpy()
    found = found.join(_by_seeds(differences, margins, declared))
    at_equal_loss = _by_seeds(matched, margins, declared)
    for part in MATCHED:
        found[f"matched_{part}"] = at_equal_loss[part]
    found["matched_p"] = at_equal_loss[paired.claim_column(declared)]
    adjusted = {"p_sign_flip": "holm_sign_flip", "p_t": "holm_t", "p_equivalent": "holm_equivalent"}
    for p, holm in (adjusted | {"matched_p": "matched_holm"}).items():
        found[holm] = _holm(found, p)
    found["holm"] = found["holm_sign_flip" if declared.claim_test == SIGN_FLIP else "holm_t"]
    found["matched_n"] = found["matched_n"].astype("Int64")
    return _with_power(found, declared)[COLUMNS]


class Pairs:
    """The runs of two configurations, seed by seed: rows of `a` and `b` belong together."""

    def __init__(self, a: pd.DataFrame, b: pd.DataFrame) -> None:
        shared = a.index.intersection(b.index)
        like = (a.loc[shared, "identity"] == b.loc[shared, "identity"]).to_numpy()
        self.only_a, self.only_b, self.unlike = len(a) - len(shared), len(b) - len(shared), int((~like).sum())
        self.a, self.b = a.loc[shared[like]], b.loc[shared[like]]


class Blocks:
    """Finished runs by configuration and seed."""

    def __init__(self, runs: pd.DataFrame, table: pd.DataFrame) -> None:
        finished = runs[runs["status"].eq(FINISHED)].set_index("seed")[["configuration", "key", "identity", *FIGURES]]
        # Runs that finished without one of the figures would make it unknown of the whole contrast.
        finished = finished.dropna(subset=list(FIGURES))
        self._none = finished.iloc[:0]
        self._of = {str(name): rows.sort_index() for name, rows in finished.groupby("configuration", sort=False)}

    def pairs(self, contrast: Contrast) -> Pairs:
        return Pairs(self._of.get(contrast.a, self._none), self._of.get(contrast.b, self._none))


def _matched(pairs: Pairs, histories: Mapping[str, History]) -> pd.DataFrame:
    """A row per pair of runs with a common training loss: `level`, and the difference of each gap there."""
    read = [
        at_matched_training_loss(histories.get(a, {}), histories.get(b, {}))
        for a, b in zip(pairs.a["key"], pairs.b["key"], strict=True)
    ]
    rows = [{"level": one.training_loss, **{gap: one.a[gap] - one.b[gap] for gap in GAPS}} for one in read]
    return pd.DataFrame(rows, columns=["level", *GAPS], dtype=float).dropna()


def _described(contrast: Contrast, figure: str, pairs: Pairs, table: pd.DataFrame, design: Design) -> dict[str, object]:
    return {
        "contrast": contrast.declared,
        "dataset": contrast.dataset,
        "at": contrast.at,
        "a": table.loc[contrast.a, "label"],
        "b": table.loc[contrast.b, "label"],
        "figure": figure,
        "n": len(pairs.a),
        "only_a": pairs.only_a,
        "only_b": pairs.only_b,
        "unlike": pairs.unlike,
        "mean_a": pairs.a[figure].mean(),
        "mean_b": pairs.b[figure].mean(),
        "comparisons": design.comparisons[contrast.dataset, contrast.declared],
        "note": _note(contrast, pairs, table),
        "a_configuration": contrast.a,
        "b_configuration": contrast.b,
    }


def _note(contrast: Contrast, pairs: Pairs, table: pd.DataFrame) -> str:
    said = []
    for configuration in (contrast.a, contrast.b):
        row = table.loc[configuration]
        lost = int(row["diverged"] + row["failed"])
        if lost:
            said.append(f"{plural(lost, 'run')} of {row['label']} did not finish ({row['diverged']} diverged)")
    if pairs.unlike:
        said.append(f"{plural(pairs.unlike, 'seed')} left out: other data, code or device")
    n = len(pairs.a)
    if n == 0 and pairs.only_a and pairs.only_b:
        said.append("no seed in common, so nothing is paired")
    elif n < 2:
        said.append(f"{plural(n, 'common seed')}: no test, no interval")
    return "; ".join(said)


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
    n, sd = found["n"].to_numpy(), found["sd"].to_numpy()
    comparisons = found["comparisons"].to_numpy(dtype=float)
    alone, strictest = np.full(len(found), declared.alpha), declared.alpha / comparisons
    for column, alphas in {"detectable": alone, "detectable_in_family": strictest}.items():
        effects = [power.detectable_effect(int(s), float(a), declared.power) for s, a in zip(n, alphas, strict=True)]
        found[column] = np.array(effects) * sd
    needed = power.seeds_to_decide(
        sd, found["minimum_effect"].to_numpy(), found["margin"].to_numpy(), comparisons, declared
    )
    return found.assign(seeds_to_decide=needed, seeds_still_needed=np.maximum(0, needed - n))
