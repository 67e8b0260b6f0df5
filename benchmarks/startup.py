"""Time what a user waits for before anything happens: python -m benchmarks.startup [repeats=5]

Prints wall-clock seconds of whole processes, medians of the repeats. `dvc repro` with nothing to do needs a finished
pipeline; preprocessing needs the files of MNIST (python -m pipeline.fetch).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from pipeline.cli import console

STAGES = ("fetch", "preprocess", "compare")
COMMANDS = {
    **{f"import pipeline.{stage}": ("-c", f"import pipeline.{stage}") for stage in STAGES},
    "pipeline.train --help": ("-m", "pipeline.train", "--help"),
    "pipeline.train --cfg job": ("-m", "pipeline.train", "--cfg", "job"),
    "dvc repro, nothing to do": (str(Path(sys.executable).parent / "dvc"), "repro"),
}


def main(argv: Sequence[str]) -> int:
    repeats = int(console.read_options(argv, {"repeats": "5"}, __doc__ or "")["repeats"])
    print(measure.machine())
    with tempfile.TemporaryDirectory() as folder:
        outputs = (f"processed={folder}", f"card={folder}/card.json", f"samples={folder}/samples.png")
        commands = COMMANDS | {"preprocess MNIST": ("-m", "pipeline.preprocess", *outputs)}
        for name, command in commands.items():
            runs = [measure.process(*command) for _ in range(repeats)]
            seconds, peak = [run.seconds for run in runs], max(run.peak_mb for run in runs)
            print(f"{name:28} {statistics.median(seconds):5.2f} s  (slowest {max(seconds):.2f}), {peak} MB", flush=True)
    return 0


if __name__ == "__main__":
    console.run(main)
