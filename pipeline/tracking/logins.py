"""Passwords of tracking addresses: in the environment, never in a word or a file that Hydra copies beside every run."""

from __future__ import annotations

import os

from pipeline.cli.errors import UserError, without_logins
from pipeline.config import rules
from pipeline.tracking.address import redact


def without_login(word: str) -> str:
    """The word without the password that a tracking address may hold, which goes where MLflow's own words look for it.

    Hydra writes every word beside every run, and a run's record and tags have the command in them.
    """
    key, _, value = word.partition("=")
    if key.lstrip("+") != "tracking.uri":
        return word
    uri = value.strip("'\"")
    shown = redact(uri)
    if shown == uri or "${" in uri:
        return word
    if not os.environ.get("MLFLOW_TRACKING_URI", "").strip():
        os.environ["MLFLOW_TRACKING_URI"] = uri
    return f"{key}='{shown}'"


def refuse_written_logins() -> None:
    """Raise UserError if a file of conf/tracking/ holds a password."""
    for name in rules.options("tracking"):
        text = (rules.CONF / "tracking" / f"{name}.yaml").read_text(encoding="utf-8")
        if without_logins(text) != text:
            raise UserError(
                f"conf/tracking/{name}.yaml: holds a password, which Hydra would copy beside every run; "
                "set MLFLOW_TRACKING_URI to that address instead"
            )
