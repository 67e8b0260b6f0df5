"""All statistics of one comparison, as tables.

analysis(results, declaration.load(), labels)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics import contrasts, crossed, design, equal_fit, summary, targets
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import Design
from pipeline.training.result import FINISHED, RunResult

OVER_IMAGES = ("test_accuracy", "val_accuracy", "gap_accuracy")
"""Figures whose interval is over seeds and images too."""


@dataclass(frozen=True)
class Analysis:
    declared: Declaration
    configurations: pd.DataFrame
    """A row per configuration, by its id.

    The columns of `design.configurations`; `<figure>_mean`, `_sd`, `_low`, `_high` of each of `summary.SUMMARISED`, with
    Student's interval over seeds on the images that there are; of `OVER_IMAGES` also `<figure>_low_images`, `_high_images`:
    the interval over seeds and images (`crossed`), for a statement about new images. NaN with a single seed.
    """
    contrasts: pd.DataFrame
    """A row per declared contrast and figure, with its verdict: columns in the docstring of `contrasts`."""
    levels: pd.DataFrame
    """A row per training loss and configuration: held-out loss, accuracy and gaps there (`equal_fit.levels`)."""
    targets: pd.DataFrame
    """A row per configuration with a validation split: epochs and seconds to the target (`targets.by_configuration`)."""
    best: str | None
    """Id of the configuration of highest mean validation accuracy; None where nothing was held out, or nothing finished."""
    design: Design
    """Factors, references and contrasts, and what could not be contrasted."""


def analysis(results: Sequence[RunResult], declared: Declaration, labels: np.ndarray | None = None) -> Analysis:
    """Everything that `declared` asks of the runs of one comparison, finished or not. Never raises for what runs lack.

    `labels`, integers (images,), are the right classes of the test split; without them the images' part of the test
    accuracy's interval is binomial.
    """
    runs = design.runs_of(results)
    jobs = {result.job.configuration: result.job for result in results}
    table = design.configurations(runs, jobs)
    laid = design.design(jobs, declared)
    used = set(runs.loc[runs["status"].eq(FINISHED), "key"])
    finished = list({result.key: result for result in results if result.key in used}.values())
    curves = {result.key: curve for result in finished if (curve := equal_fit.curve(result))}
    figures = summary.intervals(runs[runs["status"].eq(FINISHED)], ["configuration"], summary.SUMMARISED)
    table = table.join(figures.set_index("configuration")).join(_over_images(finished, table, labels, declared))
    ranked = table[f"{summary.RANKING}_mean"].dropna()
    return Analysis(
        declared=declared,
        configurations=table,
        contrasts=contrasts.contrasts(runs, table, laid, declared, curves),
        levels=equal_fit.levels(equal_fit.by_configuration(finished), declared.training_losses, table.index),
        targets=targets.by_configuration(targets.runs(finished, declared.target)),
        best=str(ranked.idxmax()) if len(ranked) else None,
        design=laid,
    )


def _over_images(
    finished: Sequence[RunResult], table: pd.DataFrame, labels: np.ndarray | None, declared: Declaration
) -> pd.DataFrame:
    """Columns `<figure>_low_images` and `_high_images`, a row per configuration of `table`."""
    groups: dict[str, list[RunResult]] = {}
    for result in finished:
        groups.setdefault(result.job.configuration, []).append(result)
    rows = {
        name: _intervals_over_images(groups.get(str(name), []), labels, declared.confidence) for name in table.index
    }
    columns = [f"{figure}_{end}_images" for figure in OVER_IMAGES for end in ("low", "high")]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(float)


def _intervals_over_images(runs: Sequence[RunResult], labels: np.ndarray | None, confidence: float) -> list[float]:
    """Low and high of each of OVER_IMAGES, of one configuration's runs."""
    if len(runs) < 2:
        return [np.nan] * 2 * len(OVER_IMAGES)
    predictions = [run.predictions for run in runs if run.predictions is not None]
    images = {"val": runs[0].job.dataset.validation_size, "test": max(map(len, predictions), default=0)}
    figures = pd.DataFrame([summary.figures_of(run) for run in runs])

    def binomial(figure: str, split: str) -> crossed.Interval:
        accuracy = float(figures[f"{split}_accuracy"].mean())
        return crossed.of_shares(figures[figure].tolist(), accuracy, images[split], confidence)

    # Equally many images are not yet the same images.
    data = {str(run.identity.get("data")) for run in runs}
    complete = len(predictions) == len(runs) and len(data) == 1
    if labels is not None and complete and {*map(len, predictions)} == {len(labels)}:
        test = crossed.of_answers(np.array([np.equal(own, labels) for own in predictions]), confidence)
    else:
        test = binomial("test_accuracy", "test")
    found = [test, binomial("val_accuracy", "val"), binomial("gap_accuracy", summary.held_out(runs[0]))]
    bounds = [summary.BOUNDS[figure] for figure in OVER_IMAGES]
    return [float(np.clip(end, *ends)) for interval, ends in zip(found, bounds, strict=True) for end in interval]
