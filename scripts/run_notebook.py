"""Run notebooks from top to bottom and store their outputs: python scripts/run_notebook.py docs/tour.ipynb

What depends on this machine stays out of the file: times, versions, and what libraries write to stderr when they start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

TIMEOUT = 600
"""Seconds for one cell."""


def run(path: Path, **environment: str) -> Any:
    """Run the notebook in its own folder and return it with new outputs. Raises CellExecutionError if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        # This drops TensorFlow's messages, which come from C++; what Python prints is an output as usual.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
    )
    client.execute(env=os.environ | environment)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(paths: list[str]) -> int:
    for path in paths:
        nbformat.write(run(Path(path)), path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
