"""Curves as tables: a row per point, and mean and interval over seeds."""

from __future__ import annotations

import pandas as pd

from pipeline.statistics.summary import Experiments, intervals, shape


def curve_points(experiments: Experiments) -> pd.DataFrame:
    """A row per run, point of its curve and split (`train`; `val`, or `test` where nothing is held out).

    `epoch` is that of the point, `loss` and `accuracy` are the split's.
    """
    rows = []
    for experiment, results in experiments.items():
        for result in results:
            job, history = result.job, result.history
            about = (job.dataset.name, experiment, result.name, job.configuration, result.status)
            run = (*about, job.optimizer.name, shape(job), job.width, job.seed)
            for split in ("train", "val", "test"):
                losses, accuracies = history.get(f"{split}/loss", []), history.get(f"{split}/accuracy", [])
                points = zip(result.epochs, losses, accuracies, strict=False)
                rows += [(*run, epoch, split, loss, accuracy) for epoch, loss, accuracy in points]
    columns = ["dataset", "experiment", "name", "configuration", "status", "optimizer", "hidden", "width", "seed"]
    frame = pd.DataFrame(rows, columns=[*columns, "epoch", "split", "loss", "accuracy"])
    return frame.astype({"width": "Int64", "loss": float, "accuracy": float})


def bands(curve: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds of loss and accuracy, for each configuration, split and epoch."""
    return intervals(curve, ["experiment", "configuration", "split", "epoch"], ["loss", "accuracy"])
