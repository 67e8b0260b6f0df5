"""Which runs a store of MLflow wants to keep: those of registered models, and not those that a person deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.tracking import describe, runs

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.tracking.tracker import Tracker


def deleted_keys(tracker: Tracker) -> set[str]:
    """Keys of the runs that a person deleted, and that have no other run in the store."""
    from mlflow.entities import ViewType

    with tracker.connection.exclusive("look for deleted runs") as client:
        experiments = [found.experiment_id for found in client.search_experiments(ViewType.ALL)]
        found = runs.search(client, experiments, f"tags.`{describe.KEY}` LIKE '%'", deleted=True)
    there = {_key(run) for run in found if not runs.deleted(run)}
    return {_key(run) for run in found if runs.REPLACED not in run.data.tags} - there


def registered_keys(tracker: Tracker) -> set[str]:
    """Keys of the runs whose networks are versions of a registered model."""
    with tracker.connection.exclusive("look for registered models") as client:
        versions = client.search_model_versions()
        tagged = {version.tags[describe.KEY] for version in versions if describe.KEY in version.tags}
        found = runs.with_ids(client, [version.run_id for version in versions if version.run_id])
    return tagged | {_key(run) for run in found}


def _key(run: Run) -> str:
    return str(run.data.tags.get(describe.KEY, ""))
