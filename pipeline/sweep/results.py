"""The results of a plan that a command makes itself: what is there is taken, what is new is trained and published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.storage.store import RunStore
from pipeline.sweep.plan import Plan, look_up, store_root
from pipeline.sweep.session import opened
from pipeline.tracking import NONE, TrackingUnavailable
from pipeline.tracking.address import resolve
from pipeline.training.result import RunResult


def results_of(plan: Plan, settings: Mapping[str, Any]) -> tuple[list[RunResult | None], TrackingUnavailable | None]:
    """The result of each run of `plan`, None for one that was lost, and why MLflow lacks some, if it does.

    Says nothing if there is nothing to do.
    """
    store, tracking = RunStore(store_root(settings["paths"]["runs"])), settings["tracking"]
    results = [run.stored for run in look_up(plan, store, settings, single=False)]
    address = resolve(tracking["kind"], tracking["uri"])
    unpublished = address.kind != NONE and store.unpublished([run.key for run in plan], address.name)
    if all(results) and not unpublished:
        return results, None
    try:
        with opened(plan, settings) as session:
            for position, outcome in session.train():
                results[position] = outcome.result
    except TrackingUnavailable as error:
        return results, error
    return results, None
