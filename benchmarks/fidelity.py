"""Does the engine train what `keras.fit` trains? The book's network on MNIST, both ways, the same seeds.

    python -m benchmarks.fidelity [seeds=10] [dropout=0,0.2]

From the same initial weights and the same orders, float32 rounding alone sets the two apart (with dropout, the masks too:
each trainer draws them from the run's own generator, in its own order of operations). Printed for test accuracy
and gap, in points: both means, the mean paired difference with its 95 % interval, and the p value of the test of
equivalence within 0.1 point (two one-sided t tests on the pairs).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.storage.store import RunStore

FIGURES = {"test accuracy": "test/accuracy", "gap": "overfitting_gap/accuracy"}
MARGIN = 0.1


def figures(trainer: str, seeds: int, dropout: str) -> dict[str, np.ndarray]:
    """Each figure of each seed, in points."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("experiment=book", f"seed=range({seeds})", f"model.dropout={dropout}", f"device.trainer={trainer}")
        measure.sweep(Path(folder), *words)
        runs = sorted(RunStore(Path(folder) / "runs"), key=lambda run: run.job.seed)
    return {name: 100 * np.array([run.figures[figure] for run in runs]) for name, figure in FIGURES.items()}


def main(argv: Sequence[str]) -> int:
    from scipy import stats
    from statsmodels.stats.weightstats import ttost_paired

    values = console.words(argv, {"seeds": "10", "dropout": "0,0.2"}, __doc__ or "")
    seeds = int(values["seeds"])
    print(f"{measure.machine()}; {seeds} seeds")
    for dropout in values["dropout"].split(","):
        engine, reference = (figures(trainer, seeds, dropout) for trainer in ("engine", "reference"))
        for name in FIGURES:
            difference = engine[name] - reference[name]
            half = stats.t.ppf(0.975, seeds - 1) * difference.std(ddof=1) / np.sqrt(seeds)
            p, _, _ = ttost_paired(engine[name], reference[name], -MARGIN, MARGIN)
            print(
                f"dropout {dropout}, {name}: engine {engine[name].mean():.3f}, keras.fit {reference[name].mean():.3f}, "
                f"difference {difference.mean():+.3f} ({difference.mean() - half:+.3f} to {difference.mean() + half:+.3f}), "
                f"equivalent within {MARGIN} point: p = {p:.4f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    console.run(main)
