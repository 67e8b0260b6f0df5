"""Train a run again, from its record alone, and say whether the bits are the same.

    python -m pipeline.reproduce RUN
    python -m pipeline.reproduce --all-of SWEEP [--sample N]

RUN is a key (or its first letters), the id of an MLflow run, a run's name or its folder; SWEEP is a folder of results, a
sweep's id, question or MLflow parent run. Exit status: 0 identical, 10 different though nothing differs that decides (a
defect), 11 different, as what decides differs, and statistically consistent, 12 inconsistent, 13 cannot be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.storage import identity
from pipeline.storage.divergence import first_divergence
from pipeline.storage.find import find_run
from pipeline.storage.record import OtherRelease, UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import find_sweep
from pipeline.tracking import Tracker, open_tracker
from pipeline.tracking.address import home
from pipeline.training.result import FAILED, Result

IDENTICAL, DEFECT, CONSISTENT, INCONSISTENT, IMPOSSIBLE = (
    "identical",
    "defect",
    "consistent",
    "inconsistent",
    "impossible",
)
GRAVITY = [IDENTICAL, CONSISTENT, IMPOSSIBLE, INCONSISTENT, DEFECT]
"""Of several runs the gravest verdict is the exit status: a defect above all."""
STATUS = {IDENTICAL: 0, DEFECT: 10, CONSISTENT: 11, INCONSISTENT: 12, IMPOSSIBLE: 13}
DEFAULTS = {"data": "data/processed", "runs": "runs", "tracking": "sqlite"}
DECIDING = ("python", "numpy", "jaxlib", "platform")
"""What of the environment may decide bits, beside what the key and the numerics class hold."""


@dataclass
class Attempt:
    """A run, what differs between then and here, and what came of training it again."""

    then: Result
    differs: list[str] = field(default_factory=list)
    """What decides bits and is not what it was, a line each."""
    verdict: str = ""
    words: str = ""
    now: Result | None = None

    @property
    def name(self) -> str:
        return f"{self.then.name} ({self.then.key[:12]})"


def main(argv: Sequence[str]) -> int:
    asked = Asked.read(argv)
    store = RunStore(home() / asked.options["runs"])
    tracker = open_tracker(asked.options["tracking"])
    if asked.sweep:
        sweep, runs = find_sweep(asked.sweep, store, console.PROJECT)
        keys = [key for key in sweep.keys if key in runs]
        if asked.sample and asked.sample < len(keys):
            keys = random.Random(sweep.id).sample(keys, asked.sample)
        results, others = readable(runs, keys)
        failed = sum(result.status == FAILED for result in results)
        lost = f", of which {failed} failed and {'has' if failed == 1 else 'have'} no numbers" if failed else ""
        print(f"{len(results)} of the {len(sweep.keys)} runs of {sweep.name}{lost}")
        if others:
            print(f"{len(others)} are left out: {others[0]}")
    else:
        results = [found(asked.run, store, tracker)]
    attempts = reproduce([result for result in results if result.status != FAILED], asked.folder, store)
    for attempt in attempts:
        tell(attempt, len(attempts) > 1)
        note(attempt, store, tracker)
    if not attempts and asked.sweep and others:
        raise UserError("nothing to reproduce: every run of it is of another release of this project")
    if not attempts:
        raise UserError("nothing to reproduce: every run of it failed, and a failure has no numbers")
    if len(attempts) > 1:
        counts = {verdict: sum(one.verdict == verdict for one in attempts) for verdict in STATUS}
        print(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    return STATUS[max((attempt.verdict for attempt in attempts), key=GRAVITY.index)]


@dataclass
class Asked:
    """The words of the command."""

    run: str
    sweep: str
    sample: int
    options: dict[str, str]

    @classmethod
    def read(cls, argv: Sequence[str]) -> Asked:
        rest, run, sweep, sample = [], "", "", ""
        words = iter(argv)
        for word in words:
            if word in ("--all-of", "--sample"):
                value = next(words, "")
                value = "" if value.startswith("-") or "=" in value else value
                sweep, sample = (value, sample) if word == "--all-of" else (sweep, value)
                if not value:
                    raise UserError(f"{word}: expected {'a sweep' if word == '--all-of' else 'a number'} behind it")
            elif not word.startswith("-") and "=" not in word and not run:
                run = word
            else:
                rest.append(word)
        options = console.words(rest, DEFAULTS, __doc__ or "")
        if sample and not (sample.isdecimal() and int(sample) > 0):
            raise UserError(f"--sample {sample}: expected a whole number of at least 1")
        if bool(run) == bool(sweep):
            raise UserError("expected one RUN, or --all-of SWEEP; --help says what they are")
        return cls(run, sweep, int(sample or 0), options)

    @property
    def folder(self) -> Path:
        return console.PROJECT / self.options["data"]


def readable(store: RunStore, keys: Sequence[str]) -> tuple[list[Result], list[OtherRelease]]:
    """The runs of these keys, and what is said of those that another release wrote."""
    results, others = [], []
    for key in keys:
        try:
            results.append(store.read(key))
        except OtherRelease as error:
            others.append(error)
    return results, others


def found(word: str, store: RunStore, tracker: Tracker) -> Result:
    """The run on disk; where only MLflow still has it, what MLflow recorded of it."""
    try:
        return find_run(word, store)
    except UserError as missing:
        recorded = None if isinstance(missing, UnreadableRun) else tracker.recorded(word)
        if recorded is None:
            raise
        return recorded


def reproduce(results: Sequence[Result], data: Path, store: RunStore) -> list[Attempt]:
    """Train every one of `results` again, those that can share a device and data together, and judge each."""
    attempts = [Attempt(result) for result in results]
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        made_of = [attempt.then.job.dataset, sorted(attempt.then.identity.get("numerics", {}).items())]
        groups.setdefault(repr(made_of), []).append(attempt)
    for group in groups.values():
        try:
            train(group, data)
        except (UserError, KeyError) as error:
            # A KeyError is a setting that its numerics have not: another release wrote them.
            for attempt in group:
                attempt.verdict = IMPOSSIBLE
                attempt.words = f"its numerics have no {error}" if isinstance(error, KeyError) else str(error)
    for attempt in attempts:
        if not attempt.verdict:
            judge(attempt, data, store)
    return attempts


def train(group: Sequence[Attempt], folder: Path) -> None:
    """Check what the runs of `group` need against what is here, and train them. Raises UserError for what is missing."""
    from pipeline.data.arrays import load, split
    from pipeline.models import devices
    from pipeline.storage.numerics import numerics_class
    from pipeline.training import trainer

    then = group[0].then
    arrays = load(folder / then.job.dataset.name)
    numerics: dict[str, Any] = then.identity["numerics"]
    device = devices.choose(
        kind=numerics["device"],
        backend=numerics["backend"],
        precision=numerics["precision"],
        xla=numerics["xla"],
        trainer=numerics["trainer"],
        workers=0,
        stack=numerics["stack"] if numerics["backend"] == "jax" else 0,
    )
    devices.start(device)
    here = numerics_class(device)
    able = []
    for attempt in group:
        if attempt.then.identity["data"] != arrays.digest:
            attempt.verdict = IMPOSSIBLE
            wanted = attempt.then.identity["data"][:12]
            attempt.words = f"its data are not here: {folder / arrays.name} has the digest {arrays.digest[:12]}, the run had {wanted}"
        else:
            attempt.differs = differences(attempt.then, device.numerics(), here)
            able.append(attempt)
    events = trainer.train(
        [a.then.job for a in able],
        split(arrays, then.job.dataset.validation_size, then.job.dataset.train_size),
        arrays.classes,
        device,
    )
    for event in events:
        if isinstance(event, trainer.Done):
            able[event.index].now = event.result


def differences(then: Result, numerics: dict[str, Any], numerics_class: str) -> list[str]:
    """What decides bits and is another one now: code, versions, the way this machine computes."""
    lines = []
    if then.identity["source"] != identity.source_digest():
        lines.append(code(then))
    was = then.identity["numerics"]
    lines += [f"{name}: {was[name]} then, {value} now" for name, value in numerics.items() if was.get(name) != value]
    here = identity.environment()
    lines += [
        f"{name}: {then.environment[name]} then, {here.get(name, 'none')} now"
        for name in DECIDING
        if name in then.environment and then.environment[name] != here.get(name)
    ]
    known = then.environment.get("numerics_class")
    if known != numerics_class:
        cpu = then.environment.get("cpu", "another processor")
        lines.append(f"numerics class: {(known or 'not recorded')[:12]} then ({cpu}), {numerics_class[:12]} here")
    return lines


def code(then: Result) -> str:
    """Which files of the code differ, and which commit has them as they were."""
    here = identity.sources()
    names = sorted(name for name in {*then.sources, *here} if then.sources.get(name) != here.get(name))
    shown = ", ".join(f"pipeline/{name}" for name in names[:6]) + (
        f" and {len(names) - 6} more" if len(names) > 6 else ""
    )
    line = f"code: {shown or 'not the same'}"
    commit = then.environment.get("git_commit")
    if not commit:
        return f"{line}; the run knows no commit"
    had = identity.at_commit(commit, names)
    if not had:
        return f"{line}; commit {commit[:12]}, which is not in this repository, had them"
    if all(had[name] == then.sources.get(name) for name in names):
        return f"{line}; commit {commit[:12]} has them as they were"
    patch = (
        f", with the patch {then.key[:12]}…/uncommitted.diff on top"
        if then.patch
        else " only in part: they were not committed"
    )
    return f"{line}; commit {commit[:12]} has them{patch}"


def judge(attempt: Attempt, data: Path, store: RunStore) -> None:
    """Set verdict and words of an attempt that was trained."""
    now = attempt.now
    if now is None or now.status == FAILED:
        attempt.verdict = IMPOSSIBLE
        attempt.words = f"training it again failed: {now.reason if now else 'no result'}"
        return
    divergence = first_divergence(attempt.then, now)
    if divergence is None:
        attempt.verdict = IDENTICAL
        attempt.words = "every bit is the same: initial weights, batch order, each epoch, final weights, predictions"
    elif not attempt.differs:
        attempt.verdict, attempt.words = DEFECT, divergence
    else:
        result = consistency(attempt.then, now, data, store)
        attempt.verdict = CONSISTENT if result[0] else INCONSISTENT
        attempt.words = f"{divergence}; {result[1]}"


def consistency(then: Result, now: Result, data: Path, store: RunStore) -> tuple[bool, str]:
    """Whether two results that differ are as alike as two seeds, or, with too few of those, on the test images."""
    from pipeline.report.prose import inference
    from pipeline.statistics.consistency import against_seeds, on_images

    if not (then.finished and now.finished):
        return then.status == now.status, f"{then.status} then, {now.status} now"
    seeds = {
        result.job.seed: result.figures["test/accuracy"]
        for result in store.records()
        if result.finished and result.job.configuration == then.job.configuration and result.identity == then.identity
    } | {then.job.seed: then.figures["test/accuracy"]}
    if len(seeds) >= 3:
        found = against_seeds(then.figures["test/accuracy"], now.figures["test/accuracy"], list(seeds.values()))
    elif then.predictions is None or now.predictions is None:
        return False, "too few seeds here, and no predictions recorded, to tell whether it is consistent"
    else:
        from pipeline.data.arrays import load

        labels = load(data / then.job.dataset.name).test_labels
        found = on_images(labels, then.predictions, now.predictions)
    return found.consistent, inference.consistency(found)


VERDICTS = {
    IDENTICAL: "identical",
    DEFECT: "different, though nothing differs that decides: a defect",
    CONSISTENT: "different, and statistically consistent",
    INCONSISTENT: "inconsistent",
    IMPOSSIBLE: "cannot be repeated",
}


def tell(attempt: Attempt, brief: bool) -> None:
    """The verdict on one run: of many, a line; of one, all that differs and where the two part."""
    if not brief or attempt.verdict != IDENTICAL:
        for line in attempt.differs:
            print(f"  {line}")
    print(
        f"{attempt.name}: {VERDICTS[attempt.verdict]}{'' if brief and attempt.verdict == IDENTICAL else ': ' + attempt.words}"
    )


def note(attempt: Attempt, store: RunStore, tracker: Tracker) -> None:
    """Put the verdict on the run in MLflow, where it is there; the run folder stays as it was made."""
    run_id = store.published(attempt.then.key, tracker.address.name).get("run_id")
    if run_id and attempt.verdict != IMPOSSIBLE:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            tracker.set_tags(run_id, {"reproduced": f"{attempt.verdict}, {when}, on {identity.machine()}"})
        except UserError as error:
            print(f"warning: the verdict is not in MLflow ({error})")


if __name__ == "__main__":
    console.run(main)
