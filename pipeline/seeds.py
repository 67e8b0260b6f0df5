"""Train the seeds that would decide what a comparison leaves open.

    python -m pipeline.seeds [FOLDER …] [KEY=VALUE …]
    python -m pipeline.seeds results/sweep plan=true

FOLDERs are those of `python -m pipeline.compare`, which names this command where more seeds would decide something. First every
configuration gets the seeds to explore. Then those whose contrasts the seeds to confirm would decide get these; both numbers are
in conf/comparison.yaml.

Runs of results/sweep are joined by those in results/sweep-10-seeds or results/sweep-30-seeds, runs of a store by those in the same
store. They have the question and the device of the runs that are there. plan=true only says what would be trained and how long
it takes. After a stop or a kill the same command goes on.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.cli import console, terminal
from pipeline.cli.errors import RunsLost, UserError
from pipeline.cli.formatting import plural
from pipeline.config import commandline
from pipeline.config.compose import ConfigurationError
from pipeline.storage.sources import named_folders, read_sources
from pipeline.tracking import SQLITE

if TYPE_CHECKING:
    from pipeline.sweep.seeds import SeedSweep

DEFAULTS = {
    "plan": "false",
    "retry": "failed",
    "fail_fast": "false",
    "tags": "null",
    "note": "null",
    "device.workers": "0",
    "paths.data": "data/processed",
    "paths.runs": "runs",
    "tracking": SQLITE,
    "tracking.uri": "null",
}
"""Words of `pipeline.train` that change no result."""


def main(argv: Sequence[str]) -> int:
    folders, _ = console.read_arguments(argv, DEFAULTS, __doc__ or "")
    named = [argument for argument in argv if argument not in folders]
    if problems := commandline.check(named, False):
        raise ConfigurationError(problems)
    terminal.show("reading runs")
    from pipeline.report.evidence import Evidence  # pandas, which --help need not wait for
    from pipeline.report.prose import limits
    from pipeline.sweep.estimate import show_plan
    from pipeline.sweep.seeds import seed_sweeps

    evidence = Evidence(read_sources(named_folders(folders)))
    if evidence.finished.empty:
        raise UserError(limits.nothing_finished(evidence))
    sweeps = seed_sweeps(evidence, named, shlex.join(["python", "-m", "pipeline.seeds", *argv]))
    terminal.clear()
    for sweep in sweeps:
        show_plan(sweep.plan, sweep.settings)
    if not sweeps:
        print("nothing to train: more seeds would decide nothing")
    elif not sweeps[0].settings["plan"]:
        train(sweeps)
        new = [console.in_checkout(sweep.folder) for sweep in sweeps]
        terminal.suggest(
            shlex.join(["python", "-m", "pipeline.compare", *dict.fromkeys([*folders, *new] if folders else [])])
        )
    return 0


def train(sweeps: Sequence[SeedSweep]) -> None:
    """Raises TrackingUnavailable if MLflow did not take everything, RunsLost if a run failed."""
    from pipeline.sweep.session import Session

    ended = [Session(sweep.plan, sweep.settings).run() for sweep in sweeps]
    for each in ended:
        if each.unsent:
            raise each.unsent
    if failed := sum(outcome.failed for each in ended for outcome in each.outcomes.values()):
        raise RunsLost(f"{plural(failed, 'run')} failed, each named above; the same command tries them again")


if __name__ == "__main__":
    console.run(main)
