"""Make a sweep's best network the champion, if the evidence supports it.

    python -m pipeline.promote [SWEEP] [gap_limit=2.0]

SWEEP is a folder of results (default: results/sweep), a sweep's id, its question or its MLflow parent run. The alias
`champion` of the registered model moves to the best network of the sweep only if
  - its configuration has a significantly higher validation accuracy than the champion's (one-sided t test over seeds at 5 %,
    paired if the seeds are the same),
  - its mean gap (training minus validation accuracy) is under `gap_limit` points, and
  - training it again gives the same bits.
The defaults of `runs` and `tracking` are those of conf/.
Exit status: 0 promoted, or champion already; 6 not promoted, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.data.arrays import load
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import find_sweep
from pipeline.sweep import reproduction
from pipeline.tracking import Tracker, promotion, tracker_for
from pipeline.tracking.address import runs_folder
from pipeline.tracking.promotion import Candidate, NotPromoted

DEFAULTS = {"gap_limit": "2.0", "data": "data/processed", "runs": "", "tracking": ""}


def main(argv: Sequence[str]) -> int:
    names, options = console.read_arguments(argv, DEFAULTS, __doc__ or "")
    if len(names) > 1:
        raise UserError(f"{' '.join(names)}: expected one SWEEP")
    limit = rules.parsed("gap_limit", options["gap_limit"], rules.number(-100, 100))
    store = RunStore(runs_folder(options["runs"]))
    sweep, runs = find_sweep(names[0] if names else "results/sweep", store, console.PROJECT)
    candidate, tracker = promotion.candidate(sweep, runs), tracker_for(options["tracking"])
    print(promote(candidate, limit, console.PROJECT / options["data"], store, runs, tracker))
    return 0


def promote(candidate: Candidate, limit: float, data: Path, store: RunStore, runs: RunStore, tracker: Tracker) -> str:
    """Move the alias to the candidate; return the message. Raises NotPromoted with the first reason against it.

    `runs` holds the sweep of the candidate; it is `store` or a folder of results.
    """
    best, name = candidate.best, candidate.best.job.dataset.name
    published = [each.published(best.key, tracker.address.name) for each in (store, runs)]
    run_id = next((ids["run_id"] for ids in published if "run_id" in ids), None)
    if not run_id or best.weights is None:
        raise NotPromoted(f"{best.name}: not in MLflow with its weights; run its sweep again with tracking")
    champion = promotion.champion(tracker, name)
    if champion is not None and champion.key == best.key:
        return f"{best.name} is the champion already (version {champion.version})"
    reasons = [promotion.check_better(best, candidate.seeds, champion), promotion.check_gap(candidate, limit)]
    [again] = reproduction.reproduce([best], data, store)
    if again.verdict != reproduction.Verdict.IDENTICAL:
        raise NotPromoted(f"{best.name}: trained again it is {again.verdict.description}: {again.explanation}")
    reason = "; ".join([*reasons, "trained again, every bit was the same"])
    version = promotion.register(tracker, candidate, run_id, load(data / name), reason)
    return f"{best.name} is now the champion (version {version} of {promotion.name_of(name)}): {reason}"


if __name__ == "__main__":
    console.run(main)
