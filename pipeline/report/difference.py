"""In what two runs, or two sweeps, differ: what they were made of, and what came of it. Plain lines of 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.cli.formatting import NOTHING, number, p_value, plural
from pipeline.config.names import names
from pipeline.statistics.consistency import on_images
from pipeline.statistics.summary import figures_of
from pipeline.storage.find import beginning
from pipeline.storage.identity import path_of
from pipeline.storage.sweeps import Sweep
from pipeline.training.result import RunResult

LABEL, COLUMN = 30, 24
"""Characters of a line: of its label, and of the value of each side."""
INDENT = "  "
PACKAGES = ("python", "tensorflow", "keras", "jax", "jaxlib", "numpy", "mlflow", "hydra-core", "dvc", "lock")
MACHINE = ("platform", "machine", "cpu", "cores", "numerics_class")
"""What of a run's environment is of its packages, and of its machine."""
FIGURES = {"test_accuracy": "test accuracy, %", "val_accuracy": "validation accuracy, %", "gap_accuracy": "gap, points"}
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy", "gap/accuracy")
MOST = 12
"""Files, or values of a sweep, that are named; of more, their number."""


def row(label: str, *values: object) -> str:
    """A line: a label, then the value of each side, cut where there is no room."""
    cut = [f"{_cut(str(value), COLUMN):<{COLUMN}}" for value in values]
    return " ".join([f"{_cut(label, LABEL):<{LABEL}}", *cut]).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def section(title: str, lines: Sequence[str]) -> list[str]:
    """The lines under a title, or that nothing differs."""
    return [title, *lines] if lines else [f"{title}: the same"]


# --- two runs


def of_runs(first: RunResult, second: RunResult, labels: np.ndarray | None) -> list[str]:
    """What differs between two runs. `labels` are those of the test samples of both, uint8 (samples,); None if not here."""
    both = first, second
    called = names([first.job, second.job])
    return [
        row("run", *(called[run.job] for run in both)),
        row("key", *(beginning(run.key) for run in both)),
        row("started", *(run.started[:16] or NOTHING for run in both)),
        row("status", *(run.status for run in both)),
        *section("configuration", differing(*(run.job.flat() for run in both))),
        *_origins([(first, second)]),
        *section("figures", _figures(first, second)),
        *section("curves, largest difference", _curves(first, second)),
        *_predictions(first, second, labels),
    ]


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """A line for each name whose values differ."""
    return [
        row(INDENT + name, first.get(name, NOTHING), second.get(name, NOTHING))
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def _origins(pairs: Sequence[tuple[RunResult, RunResult]]) -> list[str]:
    """Code, data, numerics, packages, machine: what differs, and in how many pairs if not in all."""
    lines, same = [], []
    for title, of in ORIGINS.items():
        counted = Counter(line for first, second in pairs for line in of(first, second)).most_common(MOST)
        if counted:
            lines.append(title)
            lines += [line if count == len(pairs) else f"{line}  ({plural(count, 'pair')})" for line, count in counted]
        else:
            same.append(title)
    return [*lines, f"{', '.join(same)}: the same"] if same else lines


def _data(first: RunResult, second: RunResult) -> list[str]:
    digests = [beginning(run.identity.get("data", NOTHING)) for run in (first, second)]
    return [row(f"{INDENT}digest", *digests)] if digests[0] != digests[1] else []


def _code(first: RunResult, second: RunResult) -> list[str]:
    """Files that decide numbers and differ, and how git shows the difference."""
    files = [
        path
        for path in sorted({*first.sources, *second.sources})
        if first.sources.get(path) != second.sources.get(path)
    ]
    lines = [
        row(INDENT + path_of(path), *(run.sources.get(path, NOTHING)[:12] for run in (first, second)))
        for path in files[:MOST]
    ]
    if len(files) > MOST:
        lines.append(f"{INDENT}and {len(files) - MOST} more files")
    commits = [run.environment.get("git_commit", "") for run in (first, second)]
    if files and all(commits) and commits[0] != commits[1]:
        lines.append(f"{INDENT}git diff {commits[0][:12]} {commits[1][:12]} -- pipeline")
    return lines


def _environment(keys: Iterable[str], first: RunResult, second: RunResult) -> list[str]:
    return differing(*({key: run.environment.get(key, NOTHING) for key in keys} for run in (first, second)))


ORIGINS = {
    "code": _code,
    "data": _data,
    "numerics": lambda a, b: differing(a.identity.get("numerics", {}), b.identity.get("numerics", {})),
    "packages": lambda a, b: _environment(PACKAGES, a, b),
    "machine": lambda a, b: _environment(MACHINE, a, b),
}


def _figures(first: RunResult, second: RunResult) -> list[str]:
    a, b = figures_of(first), figures_of(second)
    return [
        row(
            INDENT + label,
            number(100 * a[name]),
            f"{number(100 * b[name])}  ({number(100 * (b[name] - a[name]), signed=True)})",
        )
        for name, label in FIGURES.items()
        if not (np.isnan(a[name]) and np.isnan(b[name])) and a[name] != b[name]
    ]


def _curves(first: RunResult, second: RunResult) -> list[str]:
    """For each curve of both the epoch at which they are farthest apart, and its values there."""
    lines = []
    for name in CURVES:
        curves = [dict(zip(run.epochs, run.history.get(name, []), strict=False)) for run in (first, second)]
        shared = [epoch for epoch in curves[0] if epoch in curves[1]]
        if shared:
            epoch = max(shared, key=lambda epoch: abs(curves[0][epoch] - curves[1][epoch]))
            values = [curve[epoch] for curve in curves]
            if values[0] != values[1]:
                apart = number(values[1] - values[0], 4, signed=True)
                lines.append(
                    row(f"{INDENT}{name}, epoch {epoch}", number(values[0], 4), f"{number(values[1], 4)}  ({apart})")
                )
    return lines


def _predictions(first: RunResult, second: RunResult, labels: np.ndarray | None) -> list[str]:
    """McNemar's test of two finished runs on the same test samples."""
    title = "predictions"
    if first.predictions is None or second.predictions is None:
        return [f"{title}: not compared, since a run did not finish"]
    if labels is None or not len(labels) == len(first.predictions) == len(second.predictions):
        return [f"{title}: not compared, since the test samples of both are not here"]
    found = on_images(labels, first.predictions, second.predictions)
    return [
        f"{title} of {len(labels):,} test samples",
        f"{INDENT}right with the first only {found.only_then:,}, with the second only {found.only_now:,}",
        f"{INDENT}McNemar's exact test, of these two networks and not of their kinds: {p_value(found.p)}",
    ]


# --- two sweeps


def of_sweeps(sweeps: Sequence[Sweep], results: Sequence[Sequence[RunResult]]) -> list[str]:
    """What differs between two sweeps: their values, the origin of runs that are pairs, and the figures of these."""
    first, second = map(_values, results)
    differ = [key for key in {**first, **second} if {*first.get(key, ())} != {*second.get(key, ())}]
    # Keys that have one value in each sweep, and not the same: pairs may differ in these.
    constant = {key for key in differ if key != "seed" and len(first.get(key, "?")) == len(second.get(key, "?")) == 1}
    others = {_but_for(run, constant): run for run in results[1]}
    pairs = [(run, others[own]) for run in results[0] if (own := _but_for(run, constant)) in others]
    values = [
        row(INDENT + key, *(", ".join(side.get(key, ())) or NOTHING for side in (first, second))) for key in differ
    ]
    return [
        row("sweep", *(sweep.name for sweep in sweeps)),
        row("id", *(sweep.id[:8] or NOTHING for sweep in sweeps)),
        row("runs", *map(len, results)),
        row("finished", *(sum(run.finished for run in runs) for runs in results)),
        *section("configuration", values),
        *_pairing(pairs, results, constant),
        *(_origins(pairs) if pairs else []),
        *(section("figures of the pairs, second minus first", _differences(pairs)) if pairs else []),
    ]


def _values(runs: Sequence[RunResult]) -> dict[str, dict[str, None]]:
    """The values of each key of the configurations, as they come."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for key, value in run.job.flat().items():
            found.setdefault(key, {})[str(value)] = None
    return found


def _but_for(run: RunResult, constant: set[str]) -> str:
    return str(sorted((key, value) for key, value in run.job.flat().items() if key not in constant))


def _pairing(
    pairs: Sequence[tuple[RunResult, RunResult]], results: Sequence[Sequence[RunResult]], constant: set[str]
) -> list[str]:
    same = sum(a.key == b.key for a, b in pairs)
    bits = sum(bool(a.digests) and a.digests.get("final_weights") == b.digests.get("final_weights") for a, b in pairs)
    alone = [len(runs) - len(pairs) for runs in results]
    but = f" but for {', '.join(sorted(constant))}" if constant else ""
    return [
        f"{plural(len(pairs), 'pair')} of the same configuration and seed{but}:",
        f"{INDENT}{same} the same run, {bits} of the same final weights",
        f"{INDENT}without a partner: {alone[0]} of the first, {alone[1]} of the second",
    ]


def _differences(pairs: Sequence[tuple[RunResult, RunResult]]) -> list[str]:
    """Of each figure the mean of the differences and the two largest, with the runs that have them."""
    finished = [(a, b) for a, b in pairs if a.finished and b.finished]
    called = names([a.job for a, _ in finished])
    lines = []
    for name, label in FIGURES.items():
        apart = [(figures_of(b)[name] - figures_of(a)[name], called[a.job]) for a, b in finished]
        apart = [(100 * value, run) for value, run in apart if not np.isnan(value)]
        if any(value for value, _ in apart):
            mean = float(np.mean([value for value, _ in apart]))
            lines.append(f"{INDENT}{label}: mean {number(mean, signed=True)}, {plural(len(apart), 'pair')}")
            ends = {"least": min(apart), "most": max(apart)}
            lines += [f"{2 * INDENT}{end} {number(value, signed=True)}, {run}" for end, (value, run) in ends.items()]
    return lines
