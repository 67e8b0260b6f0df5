"""Make a sweep's best network the champion, if the evidence carries it.

    python -m pipeline.promote [SWEEP] [gap_limit=2.0]

SWEEP is a folder of results (results/sweep, where nothing is said), a sweep's id, its question or its MLflow parent run.
The alias `champion` of the registered model moves only if the challenger's configuration is better on the validation
split than the champion's beyond the spread of the seeds (one-sided t test at 5 %, paired where the seeds are the same),
its mean gap (training minus validation accuracy) is under `gap_limit` points, and its run, trained again, gives the same
bits. Exit status: 0 promoted, or champion already; 6 not promoted, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import reproduce
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import percent
from pipeline.data.sources import find
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import find_sweep
from pipeline.tracking import open_tracker, registry
from pipeline.tracking.address import home
from pipeline.training.result import Result

DEFAULTS = {"gap_limit": "2.0", "data": "data/processed", "runs": "runs", "tracking": "sqlite"}
ALPHA = 0.05
FEWEST = 3
"""Seeds without which a spread is not known."""


class NotPromoted(UserError):
    """The evidence does not carry it. Exit status 6."""

    exit_status = 6


def main(argv: Sequence[str]) -> int:
    words = [word for word in argv if "=" not in word and not word.startswith("-")]
    options = console.words([word for word in argv if word not in words], DEFAULTS, __doc__ or "")
    if len(words) > 1:
        raise UserError(f"{' '.join(words)}: expected one SWEEP")
    try:
        limit = float(options["gap_limit"])
    except ValueError:
        raise UserError(f"gap_limit={options['gap_limit']}: expected a number of points, such as 2.0") from None
    store = RunStore(home() / options["runs"])
    sweep, runs = find_sweep(words[0] if words else "results/sweep", store, console.PROJECT)
    if sweep.winner is None or sweep.winner not in runs:
        raise NotPromoted(f"{sweep.name}: has no best run to promote")
    best = runs.read(sweep.winner)
    same = [one for one in map(runs.record, sweep.keys) if one.job.configuration == best.job.configuration]
    like = [one for one in same if one.finished]
    if len(like) < len(same):
        raise NotPromoted(
            f"{best.name}: {len(same) - len(like)} of the {len(same)} seeds of its configuration were lost"
        )
    tracker = open_tracker(options["tracking"])
    data = console.PROJECT / options["data"]
    print(promote(best, like, limit, data, store, tracker))
    return 0


def promote(
    best: Result, like: Sequence[Result], limit: float, data: Path, store: RunStore, tracker: registry.Tracker
) -> str:
    """Move the alias to `best`, a run of the configuration whose finished runs are `like`; what is to be said.

    Raises NotPromoted with the first reason against it.
    """
    run_id = store.published(best.key, tracker.address.name).get("run_id")
    if not run_id or best.weights is None:
        raise NotPromoted(f"{best.name}: is not in MLflow with its weights; run its sweep again with tracking")
    seeds = {one.job.seed: one.figures["best/val_accuracy"] for one in like if "best/val_accuracy" in one.figures}
    if len(seeds) < FEWEST:
        raise NotPromoted(
            f"{best.name}: {len(seeds)} seeds with a validation split; expected at least {FEWEST} to know their spread"
        )
    champion = registry.champion(tracker, best.job.dataset.name)
    if champion is not None and champion.key == best.key:
        return f"{best.name} is the champion already (version {champion.version})"
    reasons = [better(best, seeds, champion)]
    # Against the validation split: choices are not made on the test split.
    gap = 100 * float(np.mean([one.history["gap/accuracy"][-1] for one in like]))
    if gap >= limit:
        raise NotPromoted(
            f"{best.name}: its gap of {gap:.2f} points to the validation split is not under the limit of {limit:g} (gap_limit)"
        )
    reasons.append(f"its gap of {gap:.2f} points to the validation split is under the limit of {limit:g}")
    [attempt] = reproduce.reproduce([best], data, store)
    if attempt.verdict != reproduce.IDENTICAL:
        raise NotPromoted(f"{best.name}: trained again it is {reproduce.VERDICTS[attempt.verdict]}: {attempt.words}")
    reasons.append("trained again, every bit was the same")
    reason = "; ".join(reasons)
    from pipeline.data.arrays import load

    shape = load(data / best.job.dataset.name).image_shape
    try:
        version = registry.promote(
            tracker,
            best.job.dataset.name,
            run_id,
            best.job.to_dict(),
            best.weights,
            shape,
            find(best.job.dataset.name).brightest,
            {
                registry.KEY: best.key,
                "run.name": best.name,
                registry.CONFIGURATION: best.job.configuration,
                registry.DATA: best.identity["data"],
                registry.SEEDS: json.dumps(seeds),
            },
            reason,
            champion,
        )
    except registry.AliasMoved as moved:
        # Retraining takes minutes, and another promotion may end meanwhile.
        raise NotPromoted(f"{best.name}: {moved}; the same command compares them anew") from None
    return f"{best.name} is the champion now (version {version} of {registry.name_of(best.job.dataset.name)}): {reason}"


def better(best: Result, seeds: dict[int, float], champion: registry.Champion | None) -> str:
    """The comparison with the champion in words. Raises NotPromoted where it is not better beyond the spread."""
    from scipy import stats

    ours = np.array(list(seeds.values()))
    told = f"validation accuracy {percent(ours.mean())} over {len(seeds)} seeds"
    if champion is None:
        return f"{told}; there was no champion"
    if champion.data != best.identity["data"]:
        raise NotPromoted(
            f"{best.name}: the champion {champion.run_name} was trained on other data; they cannot be compared"
        )
    if champion.configuration == best.job.configuration:
        raise NotPromoted(
            f"{best.name}: the champion {champion.run_name} has the same configuration; another seed is not better"
        )
    common = sorted(set(seeds) & set(champion.seeds))
    if len(common) >= FEWEST:
        pairs = np.array([seeds[seed] for seed in common]), np.array([champion.seeds[seed] for seed in common])
        difference = float(np.mean(pairs[0] - pairs[1]))
        p = (
            1.0
            if np.ptp(pairs[0] - pairs[1]) == 0 and difference <= 0
            else float(stats.ttest_rel(*pairs, alternative="greater").pvalue)
        )
    else:
        theirs = np.array(list(champion.seeds.values()))
        difference = float(ours.mean() - theirs.mean())
        p = float(stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater").pvalue)
    told += f", {100 * difference:+.2f} points against the champion {champion.run_name} (p = {p:.2g})"
    if not p < ALPHA:
        raise NotPromoted(f"{best.name}: {told}: not better beyond the spread of the seeds")
    return told


if __name__ == "__main__":
    console.run(main)
