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
    target_runs: pd.DataFrame
    """The same for each run (`targets.runs`)."""
    profile: pd.DataFrame
    """Performance profile of each optimizer (`targets.profile`); empty where only one was run."""
    best: str | None
    """Id of the configuration of highest mean validation accuracy; None where nothing was held out, or nothing finished."""
    results: tuple[RunResult, ...]
    """The runs, finished or not."""
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
    used = set(runs["key"])
    finished = list({result.key: result for result in results if result.finished and result.key in used}.values())
    curves = {result.key: curve for result in finished if (curve := equal_fit.curve(result))}
    target_runs = targets.runs(finished, declared.target)
    reached = targets.by_configuration(target_runs)
    return Analysis(
        declared=declared,
        configurations=table.join(_summarised(runs)).join(_over_images(finished, table, labels, declared)),
        contrasts=contrasts.contrasts(runs, table, laid, declared, curves),
        levels=equal_fit.levels(equal_fit.by_configuration(finished), declared.training_losses, table.index),
        targets=reached,
        target_runs=target_runs,
        profile=targets.profile(reached, laid.problems),
        best=best_of(runs),
        results=tuple(results),
        design=laid,
    )


def best_of(runs: pd.DataFrame) -> str | None:
    """Id of the configuration of the highest mean `summary.RANKING` over its finished runs."""
    finished = runs[runs["status"].eq(FINISHED)]
    known = finished.groupby("configuration", sort=False)[summary.RANKING].mean().dropna()
    return str(known.idxmax()) if len(known) else None


def _summarised(runs: pd.DataFrame) -> pd.DataFrame:
    finished = runs[runs["status"].eq(FINISHED)]
    return summary.intervals(finished, ["configuration"], summary.SUMMARISED).set_index("configuration")


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
    images = {"val": runs[0].job.dataset.validation_size, "test": _test_images(runs)}
    figures = pd.DataFrame([summary.figures_of(run) for run in runs])
    held_out = summary.held_out(runs[0])

    def binomial(figure: str, split: str) -> crossed.Interval:
        accuracy = float(figures[f"{split}_accuracy"].mean())
        return crossed.of_shares(figures[figure].tolist(), accuracy, images[split], confidence)

    answers = _answers(runs, labels)
    found = [
        crossed.of_answers(answers, confidence) if answers is not None else binomial("test_accuracy", "test"),
        binomial("val_accuracy", "val"),
        binomial("gap_accuracy", held_out),
    ]
    bounds = [summary.BOUNDS[figure] for figure in OVER_IMAGES]
    return [float(np.clip(end, *ends)) for interval, ends in zip(found, bounds, strict=True) for end in interval]


def _test_images(runs: Sequence[RunResult]) -> int:
    return max((len(run.predictions) for run in runs if run.predictions is not None), default=0)


def _answers(runs: Sequence[RunResult], labels: np.ndarray | None) -> np.ndarray | None:
    """Which test images each run classifies correctly, bool (runs, images); None where that is not known of all of them."""
    known = [run.predictions for run in runs if run.predictions is not None]
    # Equally many images are not yet the same images.
    data = {str(run.identity.get("data")) for run in runs}
    if labels is None or len(known) < len(runs) or len(data) > 1 or any(len(own) != len(labels) for own in known):
        return None
    return np.array([np.equal(predictions, labels) for predictions in known])
