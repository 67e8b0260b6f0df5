"""A shard of a sweep: how runs are divided, the file that describes a shard, and the journal of its worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import plural
from pipeline.config.run_config import RunConfig
from pipeline.data.files import whole
from pipeline.models.devices import Device
from pipeline.sweep.plan import PlannedRun
from pipeline.training.outcome import Epoch
from pipeline.training.shapes import cost, shape_of

EPOCH_SECONDS = 2.0
"""Between two epochs that a worker shows: a journal of days stays small."""


@dataclass(frozen=True)
class Shard:
    """All that a worker needs to know; paths are absolute."""

    data: str
    runs: str
    device: Device
    command: list[str]
    """The words of the command that asked for the sweep, for the runs' records."""
    jobs: dict[str, RunConfig]
    """By key."""

    def write(self, path: Path) -> None:
        plain = {**vars(self), "device": asdict(self.device)}
        plain["jobs"] = {key: job.to_dict() for key, job in self.jobs.items()}
        with whole(path) as temporary:
            temporary.write_text(json.dumps(plain) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Shard:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            jobs = {key: RunConfig.from_dict(job) for key, job in plain["jobs"].items()}
            return cls(**{**plain, "device": Device(**plain["device"]), "jobs": jobs})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a share of a sweep ({error}); the command of the sweep writes it") from error


class Journal:
    """What a worker reports of its shard, a line of JSON at a time; it can be read while it is written."""

    def __init__(self, shard: Path) -> None:
        self.path = shard.with_suffix(".journal")
        self._read, self._shown = 0, -EPOCH_SECONDS

    def add(self, **words: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(words | {"at": f"{time.time():.3f}"}) + "\n")

    def show(self, run: PlannedRun, point: Epoch) -> None:
        """An epoch of a run, unless another one has just been shown."""
        if time.monotonic() - self._shown >= EPOCH_SECONDS:
            self._shown = time.monotonic()
            self.add(training=run.key, epoch=point.epoch, metrics=point.metrics)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line that is complete and was not read yet."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self._read)
                lines = file.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    yield json.loads(line)


def divide(runs: Sequence[PlannedRun], shards: int) -> list[list[PlannedRun]]:
    """`runs` in `shards` of equal work, as the engine reckons it.

    Runs that can share a compiled program stand side by side, the longest first, and this row is cut: so each cut costs
    at most one more compilation. Within a shard the order of the sweep is kept.
    """
    work = [cost(run.job) for run in runs]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, run in enumerate(runs):
        groups.setdefault((run.device, run.job.dataset, shape_of(run.job)), []).append(position)
    row = [position for group in sorted(groups.values(), key=lambda g: -work[g[0]]) for position in group]
    total, done, number = sum(work), 0.0, 0
    divided: list[list[int]] = [[] for _ in range(min(shards, len(row)))]
    for place, position in enumerate(row):
        # The shard in which the middle of this run lies; but no shard is skipped, and none stays empty at the end.
        middle = int(len(divided) * (done + work[position] / 2) / total)
        number = max(number, len(divided) - (len(row) - place), min(middle, number + bool(divided[number])))
        divided[number].append(position)
        done += work[position]
    return [[runs[position] for position in sorted(shard)] for shard in divided]


def sizes(shards: Sequence[Sequence[PlannedRun]]) -> str:
    """How many runs the shards have: `3 to 4 runs`."""
    low, high = min(map(len, shards)), max(map(len, shards))
    return f"{low} to {high} runs" if low < high else plural(low, "run")
