"""What Hydra has written for jobs that are not trained after all: with `plan=true`, or if the command is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pipeline.cli.console import PROJECT


def remove_leftovers(folder: Path, sweep: Path) -> None:
    """Remove Hydra's files from `folder`, of one job or of a sweep, and the folders that are empty then.

    These are `folder` and what is above it: up to the folder of the `sweep`, or within the checkout or working directory. A
    folder with anything else in it stays.
    """
    ends = {Path.cwd(), PROJECT}
    folder, sweep = folder.absolute(), sweep.absolute()
    above = [parent for parent in folder.parents if parent == sweep or ends & {*parent.parents}]
    with suppress(OSError):
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            (folder / ".hydra" / name).unlink(missing_ok=True)
        for log in folder.glob("*.log"):
            if not log.stat().st_size:
                log.unlink()
        if (folder / ".hydra").is_dir():
            (folder / ".hydra").rmdir()
        for empty in (folder, *above):
            if [entry.name for entry in empty.iterdir()] == ["multirun.yaml"]:
                (empty / "multirun.yaml").unlink()
            empty.rmdir()
