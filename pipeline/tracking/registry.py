"""The registered model and its alias `champion`: which network is the one to use, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.tracking import models
from pipeline.tracking.describe import CONFIGURATION, DATA, KEY, TAG_LIMIT, fit

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.tracker import Tracker
    from pipeline.training.result import RunResult

ALIAS = "champion"
SEEDS = "val_accuracy.by_seed"


def name_of(dataset: str) -> str:
    return f"{dataset}-dense"


@dataclass(frozen=True)
class Champion:
    """What the registry says of a version that holds the alias."""

    version: str
    run_name: str
    key: str
    configuration: str
    data: str
    seeds: dict[int, float]
    """Validation accuracy of its configuration by seed."""


class AliasMoved(Exception):
    """Another version holds the alias than the one that was compared."""


def champion(tracker: Tracker, dataset: str) -> Champion | None:
    """The version that holds the alias; None if there is none yet."""
    with tracker.connection.exclusive("look up the champion") as client:
        return _champion(client, dataset)


def _champion(client: MlflowClient, dataset: str) -> Champion | None:
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(name_of(dataset), ALIAS)
    except MlflowException as error:
        # A store that is away or locked must not pass for one without a champion.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model, no alias
            return None
        raise
    tags = version.tags
    seeds = {int(seed): float(value) for seed, value in json.loads(tags.get(SEEDS, "{}")).items()}
    name = tags.get("run.name", "")
    return Champion(version.version, name, tags.get(KEY, ""), tags.get(CONFIGURATION, ""), tags.get(DATA, ""), seeds)


def promote(
    tracker: Tracker,
    best: RunResult,
    run_id: str,
    seeds: Mapping[int, float],
    image_shape: tuple[int, int],
    brightest: int,
    reason: str,
    before: Champion | None,
) -> str:
    """Register the network of `best` as a new version, with the reason, and move the alias to it; the version.

    Raises AliasMoved, with nothing registered, if `before` no longer holds the alias.
    """
    from mlflow.exceptions import MlflowException

    dataset = best.job.dataset.name
    name = name_of(dataset)
    tags = {
        "reason": reason,
        "run.name": best.name,
        KEY: best.key,
        CONFIGURATION: best.job.configuration,
        DATA: best.identity["data"],
        SEEDS: json.dumps(seeds),
    }
    with tracker.connection.exclusive(f"promote {best.name}") as client:
        then, now = (
            f"version {holder.version} ({holder.run_name})" if holder else "none"
            for holder in (before, _champion(client, dataset))
        )
        if now != then:
            raise AliasMoved(f"the champion was {then} when they were compared and is {now} now")
        model_id = models.log_served(client, run_id, best, image_shape, brightest)
        try:
            client.create_registered_model(
                name, description=f"Dense networks on {dataset}; `{ALIAS}` is the one to use."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=run_id,
            model_id=model_id,
            description=reason,
            tags={name: fit(value, TAG_LIMIT) for name, value in tags.items()},
        )
        # Last: a version without the alias harms nobody.
        client.set_registered_model_alias(name, ALIAS, version.version)
        return str(version.version)
