"""How two runs, or two sweeps, differ: configuration, origin and results. Lines of 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pipeline.cli.formatting import NOTHING, number, p_value, plural
from pipeline.config.names import names
from pipeline.statistics.consistency import on_images
from pipeline.statistics.summary import metrics_of
from pipeline.storage.find import beginning
from pipeline.storage.identity import path_of
from pipeline.storage.sweeps import Sweep
from pipeline.training.result import RunResult

LABEL, COLUMN = 30, 24
"""Width of a label, and of the value of each side."""
INDENT = "  "
PACKAGES = ("python", "tensorflow", "keras", "jax", "jaxlib", "numpy", "mlflow", "hydra-core", "dvc", "lock")
MACHINE = ("platform", "machine", "cpu", "cores", "numerics_class")
MADE_OF: dict[str, Callable[[RunResult], Mapping[str, Any]]] = {
    "code": lambda run: {path_of(path): digest[:12] for path, digest in sorted(run.sources.items())},
    "data": lambda run: {"digest": beginning(run.identity.get("data", NOTHING))},
    "numerics": lambda run: run.identity.get("numerics", {}),
    "packages": lambda run: {key: run.environment.get(key, NOTHING) for key in PACKAGES},
    "machine": lambda run: {key: run.environment.get(key, NOTHING) for key in MACHINE},
}
"""Parts of a run's origin besides its configuration."""
METRICS = {"test_accuracy": "test accuracy, %", "val_accuracy": "validation accuracy, %", "gap_accuracy": "gap, points"}
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy", "gap/accuracy")
MOST = 12
"""Maximum number of differences of code, data, packages or machine that are named."""
Pair = tuple[RunResult, RunResult]


def row(label: str, *values: object) -> str:
    """Return a line with a label and the value of each side, cut to fit."""
    cells = [_cut(f"{INDENT}{label}", LABEL), *(_cut(str(value), COLUMN) for value in values)]
    return " ".join(cells).rstrip()


def _cut(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else f"{text[: width - 1]}…"


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Return the lines under a title, or that nothing differs."""
    return [title, *lines] if lines else [f"{title}: the same"]


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return a line for each name whose values differ."""
    return [
        row(name, first.get(name, NOTHING), second.get(name, NOTHING))
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def changed(label: str, first: float, second: float, digits: int) -> str:
    """Return a line with two numbers and their difference."""
    return row(
        label, number(first, digits), f"{number(second, digits)}  ({number(second - first, digits, signed=True)})"
    )


def origins(pairs: Sequence[Pair]) -> list[str]:
    """Return the differences in code, data, numerics, packages and machine, with the number of pairs if not all have them."""
    lines, same = [], []
    for title, of in MADE_OF.items():
        counted = Counter(line for first, second in pairs for line in differing(of(first), of(second)))
        if not counted:
            same.append(title)
            continue
        found = counted.most_common(MOST)
        lines += [title, *(line if n == len(pairs) else f"{line}  ({plural(n, 'pair')})" for line, n in found)]
        if len(counted) > MOST:
            lines.append(f"{INDENT}and {len(counted) - MOST} more")
        if title == "code":
            commits = {tuple(run.environment.get("git_commit", "")[:12] for run in pair) for pair in pairs}
            lines += [f"{INDENT}git diff {a} {b} -- pipeline" for a, b in sorted(commits) if a and b and a != b]
    return [*lines, f"{', '.join(same)}: the same"] if same else lines


# --- two runs


def of_runs(first: RunResult, second: RunResult, labels: np.ndarray | None) -> list[str]:
    """Compare two runs. `labels` are those of the test samples of both, uint8 (samples,); None if not available."""
    both = first, second
    called = names([first.job, second.job])
    return [
        row("run", *(called[run.job] for run in both)),
        row("key", *(beginning(run.key) for run in both)),
        row("started", *(run.started[:16] or NOTHING for run in both)),
        row("status", *(run.status for run in both)),
        *section("configuration", differing(*(run.job.flat() for run in both))),
        *origins([both]),
        *section("metrics", _metrics(*map(metrics_of, both))),
        *section("curves, largest difference", _curves(*both)),
        *_predictions(*both, labels),
    ]


def _metrics(first: Mapping[str, float], second: Mapping[str, float]) -> list[str]:
    return [
        changed(label, 100 * first[name], 100 * second[name], 2)
        for name, label in METRICS.items()
        if not (np.isnan(first[name]) and np.isnan(second[name])) and first[name] != second[name]
    ]


def _curves(first: RunResult, second: RunResult) -> list[str]:
    """Return, for each curve of both, the epoch at which they differ most, and the values there."""
    lines = []
    for name in CURVES:
        a, b = (dict(zip(run.epochs, run.history.get(name, []), strict=False)) for run in (first, second))
        epoch = max(a.keys() & b.keys(), key=lambda epoch: (abs(a[epoch] - b[epoch]), -epoch), default=None)
        if epoch is not None and a[epoch] != b[epoch]:
            lines.append(changed(f"{name}, epoch {epoch}", a[epoch], b[epoch], 4))
    return lines


def _predictions(first: RunResult, second: RunResult, labels: np.ndarray | None) -> list[str]:
    """Return McNemar's test of two finished runs on the same test samples."""
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
    """Compare two sweeps: their values, and the origin and metrics of their pairs."""
    first, second = map(_values, results)
    differ = [key for key in {**first, **second} if {*first.get(key, ())} != {*second.get(key, ())}]
    # Keys that have one value in each sweep, and not the same: pairs may differ in these.
    constant = {key for key in differ if key != "seed" and len(first.get(key, "?")) == len(second.get(key, "?")) == 1}
    others: dict[str, list[RunResult]] = {}
    for run in results[1]:
        others.setdefault(_but_for(run, constant), []).append(run)
    pairs = [
        (run, max(others[own], key=partial(_alike, run)))
        for run in results[0]
        if (own := _but_for(run, constant)) in others
    ]
    partnered = [{pair[side].key for pair in pairs} for side in (0, 1)]
    values = [row(key, *(", ".join(side.get(key, ())) or NOTHING for side in (first, second))) for key in differ]
    same = sum(a.key == b.key for a, b in pairs)
    bits = sum(bool(a.digests) and a.digests.get("final_weights") == b.digests.get("final_weights") for a, b in pairs)
    but = f" but for {', '.join(sorted(constant))}" if constant else ""
    return [
        row("sweep", *(sweep.name for sweep in sweeps)),
        row("id", *(sweep.id[:8] or NOTHING for sweep in sweeps)),
        row("runs", *map(len, results)),
        row("finished", *(sum(run.finished for run in runs) for runs in results)),
        *section("configuration", values),
        f"{plural(len(pairs), 'pair')} of the same configuration and seed{but}:",
        f"{INDENT}{same} the same run, {bits} of the same final weights",
        row("without a partner", *(len(runs) - len(keys) for runs, keys in zip(results, partnered, strict=True))),
        *(origins(pairs) if pairs else []),
        *(section("metrics of the pairs, second minus first", _differences(pairs)) if pairs else []),
    ]


def _values(runs: Sequence[RunResult]) -> dict[str, dict[str, None]]:
    """Return the values of each key of the configurations, in order."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for key, value in run.job.flat().items():
            found.setdefault(key, {})[str(value)] = None
    return found


def _but_for(run: RunResult, constant: set[str]) -> str:
    return str(sorted((key, value) for key, value in run.job.flat().items() if key not in constant))


def _alike(first: RunResult, second: RunResult) -> int:
    """Return how many parts of the origin two runs share. A sweep over precisions has several runs of a configuration and seed."""
    parts, others = ({**run.identity, **run.identity.get("numerics", {})} for run in (first, second))
    return sum(others.get(name) == part for name, part in parts.items())


def _differences(pairs: Sequence[Pair]) -> list[str]:
    """Return, for each metric, the mean difference and the two extremes with their runs."""
    finished = [(a, b) for a, b in pairs if a.finished and b.finished]
    called = names([a.job for a, _ in finished])
    lines = []
    for name, label in METRICS.items():
        apart = [(100 * (metrics_of(b)[name] - metrics_of(a)[name]), called[a.job]) for a, b in finished]
        apart = [own for own in apart if not np.isnan(own[0])]
        if any(value for value, _ in apart):
            mean = float(np.mean([value for value, _ in apart]))
            lines.append(f"{INDENT}{label}: mean {number(mean, signed=True)}, {plural(len(apart), 'pair')}")
            ends = {"least": min(apart), "most": max(apart)}
            lines += [row(f"{INDENT}{end}", number(value, signed=True), run) for end, (value, run) in ends.items()]
    return lines
