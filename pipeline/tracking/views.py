"""The pages of MLflow's UI: the runs of an experiment, in a saved view "Overfitting gap" of the columns that matter."""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.tracking.tracker import Tracker

NAME, KEY = "Overfitting gap", "overfitting-gap"
GAP = "metrics.`overfitting_gap/accuracy`"
COLUMNS = (
    "params.`optimizer.name`",
    "params.`model.width`",
    "params.`seed`",
    GAP,
    "metrics.`test/accuracy`",
    "metrics.`val/accuracy`",
    "metrics.`train/accuracy`",
    "metrics.`time/train_s`",
)
SHOWN = 10
"""Experiments whose pages are listed."""


def page(experiment_id: str) -> str:
    """Where MLflow's UI shows the runs of an experiment, in the view. Its front page leads to an empty overview of traces of
    language models instead."""
    return f"/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"


def experiment_tags() -> dict[str, str]:
    """The kind of experiment, so that MLflow's UI opens its runs rather than traces of language models, and the view as
    "Views → Save as new view" would write it; MLflow has no call for it.

    A version that writes the view otherwise shows no view of that name.
    """
    state = {
        "orderByKey": GAP,
        "orderByAsc": False,
        "selectedColumns": COLUMNS,
        "runsHiddenMode": "FIRST_10_RUNS",
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": NAME, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    return {
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{KEY}": json.dumps(view),
    }


def pages(tracker: Tracker, server: str) -> list[str]:
    """A line for each of the newest experiments with the address of its page at `server`."""
    with tracker.connection.exclusive("list the experiments") as client:
        # One more, since MLflow's own "Default" is not shown.
        found = client.search_experiments(max_results=SHOWN + 1)
    newest = [experiment for experiment in found if experiment.name != "Default"][:SHOWN]
    return [f"  {shown.name}: {server}/#{page(shown.experiment_id)}" for shown in newest]
