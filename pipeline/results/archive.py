"""A sweep in one file: its record, its runs and pictures, in a zip archive that is checked before anything is taken from it.

One member, `bundle.json`, holds the sweep's record and the sha256 and size of every other one. Nothing else is
believed: names are of a few known forms, sizes are bounded, and every run is read, digests and all, before it is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.data.files import whole
from pipeline.errors import UserError
from pipeline.results.store import DAMAGE, PATCH, PREDICTIONS, PROBABILITIES, RECORD, WEIGHTS, DamagedRun, RunStore
from pipeline.results.sweep import Sweep, copy

INDEX = "bundle.json"
FORMAT = 1
OF_A_RUN = (RECORD, PREDICTIONS, PROBABILITIES, WEIGHTS, PATCH)
NAMES = re.compile(
    rf"runs/[0-9a-f]{{64}}/({'|'.join(map(re.escape, OF_A_RUN))})|report/(figures/)?[A-Za-z0-9_]+\.(png|html|csv|json)"
)
LARGEST, LARGEST_TOGETHER, MOST = 2**30, 2**35, 1_000_000
"""Bytes of one member, bytes of all, number of members: more is taken for an attack."""
LARGEST_IN_MEMORY = 2**28
"""Bytes of the list, and of all of a report together."""
PIECE = 2**20
COPIES = 10
"""Of a run that another machine replaces while it is copied."""


class DamagedBundle(UserError):
    """A file that is no bundle, or not whole."""


def pack(sweep: Sweep, store: RunStore, report: Mapping[str, Path], path: Path) -> int:
    """Write the sweep, its runs out of `store` and the files of `report` to `path`, whole or not at all; its size."""
    lost = {one.key for one in sweep.lost}
    if gone := [key for key in sweep.keys if key not in store and key not in lost]:
        raise UserError(
            f"{sweep.name}: {len(gone)} of its {len(sweep.keys)} runs are gone from {store.root}; train it again"
        )
    listed: dict[str, dict[str, Any]] = {}

    def put(archive: zipfile.ZipFile, name: str, file: Path) -> None:
        # Read once: others may replace the file, and the list is to be of what the archive holds.
        content = file.read_bytes()
        listed[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        archive.writestr(_entry(name), content)

    with whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(report.items()):
            if NAMES.fullmatch(f"report/{name}"):
                put(archive, f"report/{name}", file)
        for key in sorted(set(sweep.keys)):
            if key in store or key not in lost:
                with tempfile.TemporaryDirectory() as folder:
                    for file in _copied(store, key, Path(folder)):
                        put(archive, f"runs/{key}/{file.name}", file)
        # Ids in MLflow belong to one store.
        index = {"format": FORMAT, "sweep": asdict(sweep) | {"parent_run_id": None}, "members": listed}
        archive.writestr(_entry(INDEX), json.dumps(index, indent=1))
    return path.stat().st_size


def _copied(store: RunStore, key: str, folder: Path) -> list[Path]:
    """The files of a run, which belong together and are checked: nothing damaged goes into a bundle."""
    copies = RunStore(folder)
    for _ in range(COPIES):
        copy(store, key, folder)
        with suppress(KeyError, DamagedRun):
            copies.read(key)
            break
        store.read(key)  # says so where it is no better; else another machine has replaced it meanwhile
    else:
        raise UserError(f"{store.folder(key)}: others write it all the time")
    return [file for name in sorted(OF_A_RUN) if (file := copies.folder(key) / name).is_file()]


def unpack(path: Path, store: RunStore) -> tuple[Sweep, int, dict[str, bytes]]:
    """Take the runs of a bundle into `store`: its sweep, how many were not there yet, and the files of its report.

    A run that `store` has already stays as it is. Raises DamagedBundle, and UserError for a run that is there with other
    bits, before anything is written.
    """
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            sweep, members = _index(archive)
            report: dict[str, bytes] = {}
            checked = RunStore(Path(folder))
            for name, expected in members.items():
                file = checked.root / name.removeprefix("runs/")
                file.parent.mkdir(parents=True, exist_ok=True)
                _take_out(archive, name, expected, file)
                if name.startswith("report/"):
                    report[name.removeprefix("report/")] = file.read_bytes()
            absent = [key for key in sweep.keys if key not in checked and key not in {lost.key for lost in sweep.lost}]
            if absent:
                raise DamagedBundle(f"{path}: {len(absent)} of the sweep's {len(sweep.keys)} runs are not in it")
            results = [checked.read(key) for key in checked.keys()]  # noqa: SIM118
            here = {result.key: _digests(store, result.key) for result in results if result.key in store}
            if others := [one for one in results if here.get(one.key) not in (None, one.digests)]:
                made = others[0].environment.get("cpu", "another machine")
                raise UserError(
                    f"{path}: {len(others)} of its {len(results)} runs are here with other bits, such as {others[0].name} "
                    f"({made} there); a store holds one result of a key, so open it into another one: add runs=FOLDER"
                )
            new = [result for result in results if here.get(result.key) is None]
            for result in new:
                store.write(result)
            return sweep, len(new), report
    except DamagedRun as error:
        raise DamagedBundle(f"{path}: a run in it is damaged ({error})") from error
    except UserError:
        raise
    except OSError as error:
        raise DamagedBundle(f"{path}: cannot be taken in ({error.strerror or error})") from error
    except DAMAGE as error:
        raise DamagedBundle(f"{path}: not a bundle, or damaged ({error})") from error


def _digests(store: RunStore, key: str) -> dict[str, str] | None:
    """Of what a run came to in `store`; None where it is damaged, and to be written anew."""
    try:
        return store.read(key).digests
    except DamagedRun:
        return None


def _index(archive: zipfile.ZipFile) -> tuple[Sweep, dict[str, dict[str, Any]]]:
    path = archive.filename
    try:
        if archive.getinfo(INDEX).file_size > LARGEST_IN_MEMORY:
            raise ValueError("its list is too long")
        plain = json.loads(archive.read(INDEX))
        if plain["format"] != FORMAT:
            raise ValueError(f"format {plain['format']}, expected {FORMAT}")
        members = dict(plain["members"])
        sweep = Sweep.of(plain["sweep"])
        sizes = [int(member["size"]) for member in members.values()]
        shown = sum(int(member["size"]) for name, member in members.items() if name.startswith("report/"))
        if (
            len(sizes) > MOST
            or sum(sizes) > LARGEST_TOGETHER
            or max(sizes, default=0) > LARGEST
            or min(sizes, default=0) < 0
            or shown > LARGEST_IN_MEMORY
        ):
            raise ValueError("it is larger than any sweep")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedBundle(f"{path}: not a bundle of this project ({error})") from error
    strange = [name for name in members if not NAMES.fullmatch(name)]
    others = sorted(set(archive.namelist()) - {INDEX, *members})
    if strange or others:
        raise DamagedBundle(
            f"{path}: holds {(strange + others)[0]!r}, which no bundle holds; nothing was taken from it"
        )
    return sweep, members


def _take_out(archive: zipfile.ZipFile, name: str, expected: Mapping[str, Any], path: Path) -> None:
    """Write a member to `path`, piece by piece; never more of it than its list says."""
    left, sha256 = int(expected["size"]), hashlib.sha256()
    try:
        member = archive.open(name)
    except KeyError as error:
        raise DamagedBundle(f"{archive.filename}: {name} is missing") from error
    with member, open(path, "wb") as file:
        while left >= 0 and (piece := member.read(min(left + 1, PIECE))):
            left -= len(piece)
            sha256.update(piece)
            file.write(piece)
    if left != 0 or sha256.hexdigest() != expected.get("sha256"):
        raise DamagedBundle(f"{archive.filename}: {name} is not what the list says; nothing was taken from it")


def _entry(name: str) -> zipfile.ZipInfo:
    """One date for all, so that the same sweep gives the same file."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
