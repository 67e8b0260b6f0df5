"""All statistics of one comparison: tables and verdicts.

analysis(results, declaration.load(), labels)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd

from pipeline.statistics import bootstrap, contrasts, design, gap_points, slopes, summary, verdicts
from pipeline.statistics.declaration import OPTIMIZERS, Declaration
from pipeline.statistics.design import Design
from pipeline.statistics.figures import FIGURES
from pipeline.statistics.interaction import Interaction, interaction
from pipeline.statistics.pairs import Blocks
from pipeline.training.result import FINISHED, RunResult

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
]


class Unsampled(Enum):
    """Why there is no bootstrap over test images."""

    LABELS = "no labels"
    PREDICTIONS = "no predictions"


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
    results: tuple[RunResult, ...]
    """The runs, finished or not."""
    design: Design
    """Which contrasts were formed of what was declared, and which could not be."""
    unsampled: Unsampled | None
    """Why the bootstrap over images is left out; None where it is not."""


def analysis(
    results: Sequence[RunResult],
    declared: Declaration,
    labels: np.ndarray | None = None,
    training_images: int | None = None,
) -> Analysis:
    """Everything that `declared` asks of the runs of one comparison, finished or not.

    `labels`, integers (images,), are the right classes of the test split that the runs' predictions are of; without them
    the bootstrap over images is left out. `training_images`: how many there are, validation samples included; where that is
    not known, a curve on a part of them may have one epoch less to be compared. Never raises for what runs lack.
    """
    runs = design.runs_of(results)
    table = design.configurations(runs)
    laid = design.design(table, declared)
    used = {str(key) for key in runs["key"]}
    finished = [result for result in results if result.finished and result.key in used]
    histories = {result.key: slopes.alike(result, training_images) for result in finished}
    judged = verdicts.judged(contrasts.contrasts(runs, table, laid, declared, histories), declared)
    points = gap_points.gap_points(finished, declared, training_images)
    best = design.best_of(table, declared)
    table = table.join(_summarised(runs))
    resampled, unsampled = _bootstrap(finished, Blocks(runs), table, judged, best, labels, declared)
    interactions = tuple(interaction(runs, table, figure, declared) for figure in FIGURES)
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
        results=tuple(results),
        design=laid,
        unsampled=unsampled,
    )


def _summarised(runs: pd.DataFrame) -> pd.DataFrame:
    finished = runs[runs["status"].eq(FINISHED)]
    return summary.intervals(finished, ["configuration"], summary.SUMMARISED).set_index("configuration")


def _bootstrap(
    finished: Sequence[RunResult],
    blocks: Blocks,
    table: pd.DataFrame,
    judged: pd.DataFrame,
    best: str | None,
    labels: np.ndarray | None,
    declared: Declaration,
) -> tuple[pd.DataFrame, Unsampled | None]:
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
        rows.append({**ids, **labelled, **vars(found)})
    return pd.DataFrame(rows, columns=BOOTSTRAP), missing


def _correct(
    results: Sequence[RunResult], labels: np.ndarray | None
) -> tuple[dict[str, dict[str, np.ndarray]], Unsampled | None]:
    """By configuration and key, which test images a run classifies correctly; and what is missing."""
    if labels is None:
        return {}, Unsampled.LABELS
    predicted = [
        (str(result.identity.get("data")), result, result.predictions)
        for result in results
        if result.predictions is not None and len(result.predictions) == len(labels)
    ]
    if not predicted:
        return {}, Unsampled.PREDICTIONS
    # Equally many images are not yet the same images.
    most, _ = Counter(data for data, _, _ in predicted).most_common(1)[0]
    found: dict[str, dict[str, np.ndarray]] = {}
    for data, result, predictions in predicted:
        if data == most:
            of_runs = found.setdefault(design.configuration_of(result.job), {})
            of_runs[result.key] = np.equal(predictions, labels)
    return found, None
