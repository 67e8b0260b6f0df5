"""All statistics of one comparison, as tables.

analysis(results, declaration.load(), arrays)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.arrays import Arrays
from pipeline.statistics import contrasts, crossed, design, equal_fit, summary
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import Design
from pipeline.training.result import FINISHED, RunResult

OVER_IMAGES = ("test_accuracy", "val_accuracy", "gap_accuracy")
"""Metrics that also have an interval over seeds and images."""


@dataclass(frozen=True)
class Analysis:
    declared: Declaration
    configurations: pd.DataFrame
    """A row per configuration, by its id.

    The columns of `design.configurations`, whose intervals are over seeds on the given images. Metrics in `OVER_IMAGES`
    also have `<metric>_low_images` and `_high_images`: the interval over seeds and images (`crossed`), for statements
    about new images. NaN with a single seed.
    """
    contrasts: pd.DataFrame
    """A row per declared contrast and metric, with its verdict; the `contrasts` module documents the columns."""
    levels: pd.DataFrame
    """A row per training loss and configuration: held-out loss, accuracy and gaps at that loss (`equal_fit.levels`)."""
    best: str | None
    """Id of the configuration with the highest mean validation accuracy; None without held-out samples or results."""
    design: Design
    """Factors, references, contrasts, and what could not be contrasted."""


def analysis(results: Sequence[RunResult], declared: Declaration, arrays: Arrays | None = None) -> Analysis:
    """Return all declared statistics of the runs of one comparison, finished or not. Incomplete runs never raise.

    `arrays`: the data of the runs. Without them, or for runs on other data, the image component of the test accuracy's
    interval is binomial.
    """
    runs = design.runs_of(results)
    jobs = {result.job.configuration: result.job for result in results}
    table = design.configurations(runs, jobs)
    laid = design.design(jobs, declared)
    used = set(runs.loc[runs["status"].eq(FINISHED), "key"])
    finished = list({result.key: result for result in results if result.key in used}.values())
    curves = {result.key: curve for result in finished if (curve := equal_fit.curve(result))}
    groups = {name: [run for run in finished if run.job.configuration == name] for name in table.index}
    over_images = {name: _over_images(own, arrays) for name, own in groups.items()}
    columns = [f"{metric}_{end}_images" for metric in OVER_IMAGES for end in ("low", "high")]
    images = pd.DataFrame.from_dict(over_images, orient="index").reindex(table.index).reindex(columns=columns)
    table = table.join(images.astype(float))
    ranked = table[f"{summary.RANKING}_mean"].dropna()
    return Analysis(
        declared=declared,
        configurations=table,
        contrasts=contrasts.contrasts(runs, table, laid, declared, curves),
        levels=equal_fit.levels(equal_fit.by_configuration(finished), declared.training_losses, table.index),
        best=str(ranked.idxmax()) if len(ranked) else None,
        design=laid,
    )


def _over_images(runs: Sequence[RunResult], arrays: Arrays | None) -> dict[str, float]:
    """Return `<metric>_low_images` and `_high_images` for OVER_IMAGES of one configuration; empty for a single run."""
    if len(runs) < 2:
        return {}
    predictions = [run.predictions for run in runs if run.predictions is not None]
    images = {"val": runs[0].job.dataset.validation_size, "test": max(map(len, predictions), default=0)}
    metrics = pd.DataFrame([summary.metrics_of(run) for run in runs])
    splits = dict(zip(OVER_IMAGES, ("test", "val", summary.held_out(runs[0])), strict=True))
    found = {
        metric: crossed.of_shares(
            metrics[metric].tolist(), metrics[f"{split}_accuracy"].mean(), images[split], summary.CONFIDENCE
        )
        for metric, split in splits.items()
    }
    # The same number of images does not imply the same images.
    same = arrays and {str(run.identity.get("data")) for run in runs} == {arrays.digest}
    if arrays and same and [*map(len, predictions)] == [len(arrays.test_labels)] * len(runs):
        correct = np.array([np.equal(own, arrays.test_labels) for own in predictions])
        found["test_accuracy"] = crossed.of_answers(correct, summary.CONFIDENCE)
    ends = {metric: np.clip(interval, *summary.BOUNDS[metric]) for metric, interval in found.items()}
    return {
        f"{metric}_{end}_images": value
        for metric, own in ends.items()
        for end, value in zip(("low", "high"), own, strict=True)
    }
