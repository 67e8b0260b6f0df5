"""Files under a run of MLflow."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.cli.errors import UserError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


LARGEST_TEXT = 2**20


def add(client: MlflowClient, run_id: str, files: Mapping[str, Path]) -> None:
    """Put files and whole folders under a run, each at its own path (`figures/gap.png`), which ends with its own name."""
    for name, path in files.items():
        if path.is_dir():
            client.log_artifacts(run_id, str(path), name)
        else:
            folder = str(PurePosixPath(name).parent)
            client.log_artifact(run_id, str(path), None if folder == "." else folder)


def read(client: MlflowClient, run_id: str, name: str) -> str:
    """The text of a file at the top of a run's files. Raises UserError if there is none, or one that is too large."""
    sizes = {item.path: item.file_size or 0 for item in client.list_artifacts(run_id)}
    if not 0 < sizes.get(name, 0) <= LARGEST_TEXT:
        raise UserError(f"MLflow run {run_id}: expected a file {name} of at most {LARGEST_TEXT:,} bytes")
    with tempfile.TemporaryDirectory() as temporary:
        return Path(client.download_artifacts(run_id, name, temporary)).read_text(encoding="utf-8")


def check_folder(client: MlflowClient, run_id: str, ours: Path | None) -> None:
    """Raise UserError if the files of the run's experiment are where the project was before it was moved.

    MLflow keeps their absolute path: it would create the old folder again, and show none of the earlier files.
    """
    parts = urlsplit(client.get_run(run_id).info.artifact_uri)
    if parts.scheme not in ("", "file") or ours is None:
        return
    theirs = next((path for path in Path(unquote(parts.path)).parents if path.name == ours.name), ours)
    if theirs != ours and not theirs.exists():
        made, link = shlex.quote(str(theirs.parent)), f"{shlex.quote(str(ours))} {shlex.quote(str(theirs))}"
        raise UserError(
            f"MLflow looks for the files of this experiment in {theirs}, which is gone (was the project moved?);"
            f" lead it to them with: mkdir -p {made} {shlex.quote(str(ours))} && ln -s {link}"
        )
