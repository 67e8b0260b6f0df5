"""All statistics of one comparison: tables, verdicts, the two answers, and what cannot be said.

analysis(results, declaration.load(), labels)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.results.result import FINISHED, Result
from pipeline.statistics import answers, bootstrap, contrasts, design, gap_points, slopes, summary, verdicts
from pipeline.statistics.answers import Headline
from pipeline.statistics.declaration import OPTIMIZERS, Declaration
from pipeline.statistics.interaction import Interaction, interaction
from pipeline.statistics.pairs import Blocks
from pipeline.statistics.wording import FIGURES, plural

BOOTSTRAP = [
    "configuration",
    "against",
    "a",
    "b",
    "estimate",
    "low",
    "high",
    "standard_error",
    "seeds",
    "images",
    "over",
]


@dataclass(frozen=True)
class Analysis:
    declared: Declaration
    configurations: pd.DataFrame
    """A row per configuration, by its id: `design.configurations`, and mean, SD and interval of `summary.SUMMARISED`."""
    contrasts: pd.DataFrame
    """A row per declared contrast and figure, with its verdict: columns in `contrasts` and `verdicts.judged`."""
    interactions: tuple[Interaction, ...]
    """Optimizer x width, one for each figure."""
    gap_points: pd.DataFrame
    """A row per run and declared point (`gap_points.gap_points`)."""
    gap_points_by_configuration: pd.DataFrame
    onsets: pd.DataFrame
    """A row per run: the epoch after which held-out loss only rises."""
    bootstrap: pd.DataFrame
    """Test accuracy of the best configuration over seeds and images, and the differences of others at equal width from it.

    Columns: ids and labels of A and B (`configuration`, `against`, `a`, `b`; B empty in the first row, which is no
    difference), then `bootstrap.Bootstrap`. Where nothing is chosen there is a row without B for each configuration.
    """
    best: str | None
    """Id of the configuration of highest mean validation accuracy; None where nothing can be chosen."""
    limits: tuple[str, ...]
    """What these runs cannot say, a sentence each."""
    which: str
    """Answer: which optimizer and width."""
    overfits: str
    """Answer: who overfits more."""
    headline: Headline
    """The same in one sentence."""


def analysis(
    results: Sequence[Result],
    declared: Declaration,
    labels: np.ndarray | None = None,
    training_images: int | None = None,
) -> Analysis:
    """Everything that `declared` asks of the runs of one comparison, finished or not.

    `labels`, integers (images,), are the right classes of the test split that the runs' predictions are of; without them
    the bootstrap over images is left out. `training_images`: how many there are, validation samples included; where that is
    not known, a curve on a part of them may have one epoch less to be compared. Never raises for what runs lack: `limits`
    says what is missing, and why.
    """
    runs = design.runs_of(results)
    table = design.configurations(runs)
    limits = design.limits(table, runs, results, declared)
    laid = design.design(table, declared)
    used = {str(key) for key in runs["key"]}
    finished = [result for result in results if result.finished and result.key in used]
    histories = {result.key: slopes.alike(result, training_images) for result in finished}
    judged = verdicts.judged(contrasts.contrasts(runs, table, laid, declared, histories), declared)
    points = gap_points.gap_points(finished, declared, training_images)
    best = answers.best_of(table, declared)
    table = table.join(_summarised(runs))
    resampled, unsampled = _bootstrap(finished, Blocks(runs), table, judged, best, labels, declared)
    interactions = tuple(interaction(runs, table, figure, declared) for figure in FIGURES)
    said = [*limits, *laid.limits, *_unpaired(judged), *unsampled] if len(finished) else limits
    return Analysis(
        declared=declared,
        configurations=table,
        contrasts=judged,
        interactions=interactions,
        gap_points=points,
        gap_points_by_configuration=gap_points.by_configuration(points),
        onsets=gap_points.onsets(finished),
        bootstrap=resampled,
        best=best,
        limits=tuple(said),
        which=answers.which(table, judged, best),
        overfits=answers.overfits(table, judged, declared),
        headline=answers.headline(table, judged, declared),
    )


def _summarised(runs: pd.DataFrame) -> pd.DataFrame:
    finished = runs[runs["status"].eq(FINISHED)]
    return summary.intervals(finished, ["configuration"], summary.SUMMARISED).set_index("configuration")


def _unpaired(judged: pd.DataFrame) -> list[str]:
    """Contrasts of which fewer than two seeds are pairs."""
    rows = judged.drop_duplicates(["contrast", "a_configuration", "b_configuration"])
    rows = rows[rows["n"] < 2]
    if rows.empty:
        return []
    first = rows.iloc[0]
    named = f"{first['a']} and {first['b']} ({first['note']})"
    others = f", nor of {plural(len(rows) - 1, 'contrast')} more" if len(rows) > 1 else ""
    return [f"Seeds do not pair the runs of {named}{others}: there is no test and no interval."]


def _bootstrap(
    finished: Sequence[Result],
    blocks: Blocks,
    table: pd.DataFrame,
    judged: pd.DataFrame,
    best: str | None,
    labels: np.ndarray | None,
    declared: Declaration,
) -> tuple[pd.DataFrame, list[str]]:
    correct, missing = _correct(finished, labels)
    at_equal_width = judged[judged["contrast"].eq(OPTIMIZERS) & judged["b_configuration"].eq(best or "")]
    others = map(str, at_equal_width["a_configuration"].drop_duplicates())
    alone = [best] if best else map(str, table.index[table["n"] > 0])
    asked = [*((name, "") for name in alone), *((name, best or "") for name in others)]
    rows = []
    for name, against in asked:
        if against:
            # The pairs of the contrasts: of equal seeds, data, code and numerics.
            known, others_known = correct.get(name, {}), correct.get(against, {})
            pairs = [(a, b) for a, b in blocks.pairs(name, against).keys if a in known and b in others_known]
            if not pairs:
                continue
            first, second = (
                np.array(side) for side in zip(*((known[a], others_known[b]) for a, b in pairs), strict=True)
            )
            found = bootstrap.difference(first, second, declared)
        elif known := correct.get(name, {}):
            found = bootstrap.accuracy(np.array(list(known.values())), declared)
        else:
            continue
        labelled = {"a": table.loc[name, "label"], "b": table.loc[against, "label"] if against else ""}
        ids = {"configuration": name, "against": against}
        rows.append({**ids, **labelled, **vars(found), "over": found.over})
    return pd.DataFrame(rows, columns=BOOTSTRAP), missing


def _correct(
    results: Sequence[Result], labels: np.ndarray | None
) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """By configuration and key, which test images a run classifies correctly; and what is missing, in words."""
    if labels is None:
        return {}, ["The labels of the test images are not at hand: nothing is said of the uncertainty over images."]
    predicted = [
        (str(result.identity.get("data")), result, result.predictions)
        for result in results
        if result.predictions is not None and len(result.predictions) == len(labels)
    ]
    if not predicted:
        return {}, ["No run has predictions of these test images: nothing is said of the uncertainty over images."]
    # Equally many images are not yet the same images.
    most, _ = Counter(data for data, _, _ in predicted).most_common(1)[0]
    found: dict[str, dict[str, np.ndarray]] = {}
    for data, result, predictions in predicted:
        if data == most:
            of_runs = found.setdefault(design.configuration_of(result.job), {})
            of_runs[result.key] = np.equal(predictions, labels)
    return found, []
