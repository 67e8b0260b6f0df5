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

    def add(self, **words: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(words | {"at": f"{time.time():.3f}"}) + "\n")

    def lines(self) -> Iterator[dict[str, str]]:
        """Every line that is complete."""
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)
