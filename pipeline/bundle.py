"""A sweep as one file, to hand on or to keep.

    python -m pipeline.bundle SWEEP [out=FILE]      writes it
    python -m pipeline.bundle open FILE             takes its runs in: into runs/, results/ and MLflow, as they were

SWEEP is a folder of results (results/sweep), a sweep's id, its question or its MLflow parent run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline import console
from pipeline.errors import UserError
from pipeline.publisher import Publisher
from pipeline.results import archive
from pipeline.results.store import RunStore
from pipeline.results.sweep import Ledger, Sweep, find_sweep, gather
from pipeline.tracking import TrackingUnavailable, open_tracker
from pipeline.tracking.address import home

DEFAULTS = {"out": "", "data": "data/processed", "runs": "runs", "tracking": "sqlite"}


def main(argv: Sequence[str]) -> int:
    words = [word for word in argv if "=" not in word and not word.startswith("-")]
    options = console.words([word for word in argv if word not in words], DEFAULTS, __doc__ or "")
    store = RunStore(home() / options["runs"])
    if len(words) == 2 and words[0] == "open":
        take_in(Path(words[1]), store, options["tracking"])
    elif len(words) == 1:
        hand_out(words[0], store, options["out"], console.PROJECT / options["data"])
    else:
        raise UserError("expected SWEEP, or open FILE; --help says what they are")
    return 0


def hand_out(word: str, store: RunStore, out: str, data: Path) -> None:
    sweep, runs = find_sweep(word, store, console.PROJECT)
    path = Path(out or f"{slug(sweep)}.zip")
    with tempfile.TemporaryDirectory() as folder:
        size = archive.pack(sweep, runs, report(sweep, runs, data, Path(folder)), path)
    print(
        f"{path}: {len(sweep.keys)} runs of {sweep.name}, {size / 1e6:.1f} MB; open it elsewhere with: "
        f"python -m pipeline.bundle open {path.name}"
    )


def report(sweep: Sweep, runs: RunStore, data: Path, folder: Path) -> dict[str, Path]:
    """Tables and pictures of this sweep alone; none where none of its runs finished."""
    from pipeline.compare import images
    from pipeline.report.evidence import Evidence, read_sources
    from pipeline.report.write import write

    gather(runs, sweep, folder / "runs")
    evidence = Evidence(read_sources([folder / "runs"]))
    return {} if evidence.finished.empty else write(evidence, images(evidence, data), folder / "report")


def take_in(path: Path, store: RunStore, tracking: str) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    sweep, new, pictures = archive.unpack(path, store)
    folder = console.PROJECT / "results" / slug(sweep)
    tracker = open_tracker(tracking)
    results = [store.read(key) for key in sweep.keys if key in store]
    names = {result.job.dataset.name: result.identity["data"] for result in results}
    publisher = Publisher(tracker, store, sweep.name, {name: {"name": name, "digest": d} for name, d in names.items()})
    publisher.begin(f"{sweep.name} (from {path.name})", {"bundle": path.name}, sweep.id)
    try:
        for result in results:
            publisher.publish(result)
    except BaseException:
        publisher.close("KILLED")
        raise
    missing = publisher.close("FINISHED" if not sweep.lost else "FAILED")
    sweep.parent_run_id = publisher.parent
    Ledger(store).write(sweep)
    gather(store, sweep, folder)
    for name, content in pictures.items():
        file = folder / "report" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    shown = folder.relative_to(console.PROJECT)
    print(
        f"{sweep.name}: {len(results)} runs, {new} of them new here; they are in {shown}: python -m pipeline.compare {shown}"
    )
    if publisher.stopped:
        raise publisher.stopped
    if missing:
        raise TrackingUnavailable(missing)


def slug(sweep: Sweep) -> str:
    """A name for files: the question's words, and the sweep's id."""
    words = re.sub(r"[^a-z0-9]+", "-", sweep.name.lower()).strip("-") or "sweep"
    return f"{words}-{sweep.id[:8]}" if sweep.id else words


if __name__ == "__main__":
    console.run(main)
