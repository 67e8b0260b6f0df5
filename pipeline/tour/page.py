"""docs/tour.md: the commands in it, what stands below them, and what comes out when they are run again."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.console import PROJECT
from pipeline.data.files import shown, whole
from pipeline.errors import UserError
from pipeline.tour.material import Material
from pipeline.tour.stations import STATIONS, TRAINED, show

PAGE = PROJECT / "docs" / "tour.md"
PICTURES = PROJECT / "docs" / "tour"
TOUR, TRAIN = ["python", "-m", "pipeline.tour"], ["python", "-m", "pipeline.train"]

_BLOCK = re.compile(r"```bash\n(?P<command>[^\n]+)\n```\n\n```text\n(?P<said>.*?)```\n", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_TIME = re.compile(r"\b\d+(?:\.\d+)? s\b|\b\d+:\d\d (?:min|h)\b")
_BAR = re.compile("[█▉▊▋▌▍▎▏]+")
NOISE = 1e-4
"""What is written as 3e-09 is rounding: it is below this, and no more is said of it."""


@dataclass(frozen=True)
class Block:
    """A command of the page and the output that stands below it."""

    command: str
    said: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command)

    @property
    def tolerance(self) -> int:
        """Of its numbers, in units of their last place."""
        return STATIONS[self.words[3]].tolerance if self.words[:3] == TOUR else TRAINED


def blocks(text: str) -> list[Block]:
    return [Block(found["command"], found["said"]) for found in _BLOCK.finditer(text)]


def run(command: str, here: Material) -> str:
    """What the command says, run in this process, on the data and in the store of `here`."""
    words = shlex.split(command)
    if words[:3] == TOUR:
        said = show(words[3], here).replace(shown(here.pictures), "reports/tour")
        return "\n".join(line.rstrip() for line in said.splitlines()) + "\n"
    if words[:3] != TRAIN:
        raise UserError(f"docs/tour.md: {command}: expected a command of the tour or of pipeline.train")
    from pipeline import train

    folders = [f"hydra.{mode}.dir={here.runs.absolute()}/.hydra" for mode in ("run", "sweep")]
    paths = [f"paths.{name}={getattr(here, name).absolute()}" for name in ("data", "runs")]
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        status = train.main([*words[3:], *paths, *folders, "tracking=none", *here.words])
    if status:
        raise UserError(f"docs/tour.md: {command}: ended with status {status}: {heard.getvalue()}")
    return heard.getvalue()


def write(raw: Path, data: Path) -> None:
    """Run every command of the page in the order in which they stand, and put what they said and drew into it."""
    text = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as temporary:
        here = Material(raw, data, Path(temporary) / "runs", Path(temporary) / "pictures")
        for block in blocks(text):
            said = run(block.command, here)
            print(f"{block.command}: {difference(block, said) or 'as it stands there'}", flush=True)
            text = text.replace(
                f"{block.command}\n```\n\n```text\n{block.said}", f"{block.command}\n```\n\n```text\n{said}"
            )
        PICTURES.mkdir(exist_ok=True)
        for picture in sorted(here.pictures.glob("*.png")):
            shutil.copyfile(picture, PICTURES / picture.name)
    with whole(PAGE) as place:
        place.write_text(text, "utf-8")


def difference(block: Block, said: str) -> str | None:
    """The first line that differs from what stands on the page, beyond the tolerance of its numbers; None if none does."""
    if block.tolerance == 0:
        pairs = [(one, other) for one, other in _lines(block.said, said) if one != other]
    else:
        pairs = [(a, b) for a, b in _lines(_steady(block.said), _steady(said)) if not _alike(a, b, block.tolerance)]
    return f"{pairs[0][0]!r} is {pairs[0][1]!r} now" if pairs else None


def _lines(one: str, other: str) -> Iterator[tuple[str, str]]:
    a, b = one.splitlines(), other.splitlines()
    length = max(len(a), len(b))
    return zip(a + [""] * (length - len(a)), b + [""] * (length - len(b)), strict=True)


def _steady(said: str) -> str:
    """Without what differs from machine to machine and says nothing of the network: devices, times, the length of bars."""
    lines = [line for line in said.splitlines() if not line.startswith("on ")]
    return "\n".join(" ".join(_TIME.sub("", _BAR.sub("", line)).replace("─", "").split()) for line in lines)


def _alike(one: str, other: str, tolerance: int) -> bool:
    if _NUMBER.sub("", one) != _NUMBER.sub("", other):
        return False
    return all(_near(a, b, tolerance) for a, b in zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True))


def _near(one: str, other: str, tolerance: int) -> bool:
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (one, other))
    if "e" in one or "e" in other:
        return max(abs(a), abs(b)) < NOISE
    places, others = (len(text.partition(".")[2]) for text in (one, other))
    return places == others and abs(a - b) <= (tolerance + 0.5) * 10.0**-places
