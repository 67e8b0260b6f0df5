"""A guided tour through the pipeline for a student of the book; docs/tour.md is the same with its words.

    python -m pipeline.tour STATION

shows one station: its numbers here, its picture in reports/tour. Without a STATION: which there are. --write runs every
command of docs/tour.md in a place of its own and puts what came out into the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import console
from pipeline.config.rules import nearest
from pipeline.errors import UserError
from pipeline.tour.material import Material
from pipeline.tracking.address import home

DEFAULTS = {"raw": "data/raw", "data": "data/processed", "runs": "runs", "pictures": "reports/tour"}


def main(argv: Sequence[str]) -> int:
    names = [word for word in argv if not word.startswith("-") and "=" not in word]
    options = console.words([word for word in argv if word not in (*names, "--write")], DEFAULTS, __doc__ or "")
    from pipeline.tour.stations import STATIONS, show

    for name in names:
        if name not in STATIONS:
            raise UserError(f"{name}: no such station; expected one of {', '.join(STATIONS)}{nearest(name, STATIONS)}")
    if len(names) > 1 or (names and "--write" in argv):
        raise UserError(f"{' '.join(argv)}: expected one STATION, or --write")
    if "--write" in argv:
        from pipeline.tour import page

        page.write(console.PROJECT / options["raw"], console.PROJECT / options["data"])
    elif names:
        print(show(names[0], place(options)))
    else:
        width = max(map(len, STATIONS))
        print("\n".join(f"{name:{width}}  {station.question}" for name, station in STATIONS.items()))
        print("\npython -m pipeline.tour STATION shows one; the words to them are in docs/tour.md")
    return 0


def place(options: dict[str, str]) -> Material:
    raw, data, pictures = (console.PROJECT / options[name] for name in ("raw", "data", "pictures"))
    return Material(raw, data, home() / options["runs"], pictures)


if __name__ == "__main__":
    console.run(main)
