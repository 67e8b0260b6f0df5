"""What a search found: on the console, as a table, and on its parent run in MLflow."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipeline.cli.formatting import plural
from pipeline.config import rules
from pipeline.data.files import whole
from pipeline.sweep.search_study import Study
from pipeline.tracking.describe import NOTE

TABLE = "trials.csv"
SHOWN = 20
"""Trials of a Pareto front that are printed."""


def write(study: Study, folder: Path) -> Path:
    """The table of all trials: number, status, whether it is on the front, objectives, values, epochs, seconds, run."""
    front = {trial.number for trial in study.best}
    rows = [_row(study, trial, trial.number in front) for trial in study.trials]
    with whole(folder / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0] if rows else ["trial"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / TABLE


def _row(study: Study, trial: FrozenTrial, best: bool) -> dict[str, Any]:
    told = trial.values if trial.state == TrialState.COMPLETE else [None] * len(study.settings.objectives)
    objectives = {each.name: value for each, value in zip(study.settings.objectives, told or [], strict=True)}
    values = {key: trial.params.get(key) for key in study.distributions}
    about = {name: trial.user_attrs.get(name) for name in ("time/epochs", "time/train_s", "name", "key", "reason")}
    return {
        "trial": trial.number,
        "status": trial.user_attrs["status"],
        "best": best,
        **objectives,
        **values,
        **about,
    }


def lines(study: Study) -> Iterator[str]:
    """What the console shows at the end."""
    trials = study.trials
    counts = Counter(trial.user_attrs["status"] for trial in trials)
    yield f"{plural(len(trials), 'trial')}: {', '.join(f'{count} {status}' for status, count in counts.items())}"
    best = study.best
    if len(study.settings.objectives) > 1:
        yield f"{plural(len(best), 'trial')} on the Pareto front:"
    for trial in best[:SHOWN]:
        yield _line(study, trial)
    if len(best) > SHOWN:
        yield f"and {len(best) - SHOWN} more in {TABLE}"


def _line(study: Study, trial: FrozenTrial) -> str:
    found = zip(study.settings.objectives, trial.values, strict=True)
    figures = ", ".join(f"{each.name} {value:.4f}" for each, value in found)
    values = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    return f"trial {trial.number}: {figures}; {values}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else rules.shown(value)


def for_mlflow(study: Study, folder: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Tags and files of the parent run; the table is written for it."""
    tags = {
        "study": study.name,
        "trials": str(len(study.trials)),
        "objectives": ", ".join(sorted(each.name for each in study.settings.objectives)),
        "best.trials": ", ".join(f"{trial.number}: {trial.user_attrs['name']}" for trial in study.best),
        NOTE: "\n\n".join(lines(study)),
    }
    return tags, {f"search/{TABLE}": write(study, folder)}
