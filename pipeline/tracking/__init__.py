"""Tracking with MLflow. Only this package imports it, and only once something is recorded (3 s)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.config import machine
from pipeline.tracking.address import NONE, SERVER, SQLITE, resolve
from pipeline.tracking.database import TrackingUnavailable, check
from pipeline.tracking.tracker import NullTracker, ParentRun, Tracker

__all__ = [
    "NONE",
    "SERVER",
    "SQLITE",
    "NullTracker",
    "ParentRun",
    "Tracker",
    "TrackingUnavailable",
    "open_tracker",
    "tracker_for",
]


def open_tracker(
    kind: str, uri: str | None = None, root: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Tracker:
    """Return the tracker for `tracking=<kind>`: sqlite (a file in the project), server, or none.

    `MLFLOW_TRACKING_URI` in `environment` overrides `uri`. Nothing is created and MLflow is not imported, but an unusable
    database raises UserError here, before training.
    """
    address = resolve(kind, uri, root, environment)
    if address.kind == NONE:
        return NullTracker(address)
    if address.database is not None:
        check(address.database)
    return Tracker(address)


def tracker_for(tracking: str) -> Tracker:
    """Return the tracker for the `tracking=` of a command that composes no configuration; that of `conf/` if it is empty."""
    kind, uri = (tracking, None) if tracking else machine.tracking()
    return open_tracker(kind, uri)
