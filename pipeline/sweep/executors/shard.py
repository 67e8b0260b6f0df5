"""A shard of a sweep on disk: the file that describes it, and the journal of its worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.config.run_config import RunConfig
from pipeline.data.files import whole
from pipeline.models.devices import Device


@dataclass(frozen=True)
class Task:
    """One run of a shard."""

    job: RunConfig
    key: str
    again: bool
    """Whether the store has a result of it that does not count (see `retry` and `force`)."""
    overrides: list[str]


@dataclass(frozen=True)
class ShardFile:
    """All that a worker needs to know; paths are absolute."""

    data: str
    runs: str
    device: Device
    command: list[str]
    """The words of the command that asked for the sweep, for the runs' records."""
    tasks: list[Task]

    def write(self, path: Path) -> None:
        plain = {**vars(self), "device": asdict(self.device)}
        plain["tasks"] = [{**vars(task), "job": task.job.to_dict()} for task in self.tasks]
        with whole(path) as temporary:
            temporary.write_text(json.dumps(plain) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ShardFile:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            tasks = [Task(**{**task, "job": RunConfig.from_dict(task["job"])}) for task in plain["tasks"]]
            return cls(**{**plain, "device": Device(**plain["device"]), "tasks": tasks})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a share of a sweep ({error}); the command of the sweep writes it") from error


class Journal:
    """What a worker reports of its shard, a line of JSON at a time; it can be read while it is written."""

    def __init__(self, shard: Path) -> None:
        self.path = shard.with_suffix(".journal")
        self._read = 0

    def add(self, **words: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(words | {"at": f"{time.time():.3f}"}) + "\n")

    def news(self) -> Iterator[dict[str, str]]:
        """Complete lines that were added since the last time."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._read)
                added = file.read()
        except OSError:
            return
        added = added[: added.rfind(b"\n") + 1]
        self._read += len(added)
        for line in added.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
