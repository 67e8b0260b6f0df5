"""Train more seeds where they would decide a comparison.

    python -m pipeline.seeds [FOLDER …] [KEY=VALUE …]
    python -m pipeline.seeds results/sweep plan=true

FOLDERs are those of `python -m pipeline.compare`, which suggests this command if more seeds would decide something. First every
configuration gets the seeds to explore. Then the configurations whose contrasts the seeds to confirm would decide get those.
conf/comparison.yaml sets both numbers.

New runs for results/sweep go to results/sweep-10-seeds or results/sweep-30-seeds, or to results/sweep-10-seeds-more if
results/sweep-10-seeds is among the FOLDERs. Those for a store of runs go to the same store. They have the question and the
device of the stored runs. plan=true shows what would be trained, and for how long. After a stop or a kill the same command
continues.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipeline.cli import console, terminal
from pipeline.cli.errors import RunsLost, UserError
from pipeline.cli.formatting import plural
from pipeline.config import commandline
from pipeline.config.compose import ConfigurationError
from pipeline.storage.sources import named_folders, read_sources
from pipeline.tracking import SQLITE

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
"""Overrides of `pipeline.train` that change no result."""


def main(argv: Sequence[str]) -> int:
    folders, _ = console.read_arguments(argv, DEFAULTS, __doc__ or "")
    named = [argument for argument in argv if argument not in folders]
    if problems := commandline.check(named, False):
        raise ConfigurationError(problems)
    terminal.show("reading runs")
    from pipeline.report.evidence import Evidence  # imports pandas, which --help does not need
    from pipeline.report.prose import limits
    from pipeline.sweep.estimate import show_plan
    from pipeline.sweep.seeds import seed_sweeps
    from pipeline.sweep.session import Session

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
        ended: list[Session] = []
        for sweep in sweeps:
            ended.append(Session(sweep.plan, sweep.settings).run())
            if sweep.settings["fail_fast"] and any(outcome.failed for outcome in ended[-1].outcomes.values()):
                break
        if failed := sum(outcome.failed for each in ended for outcome in each.outcomes.values()):
            raise RunsLost(f"{plural(failed, 'run')} failed, each named above; the same command trains them again")
        for each in ended:
            if each.unsent:
                raise each.unsent
        new = [console.in_checkout(sweep.folder) for sweep in sweeps]
        terminal.suggest(
            shlex.join(["python", "-m", "pipeline.compare", *dict.fromkeys([*folders, *new] if folders else [])])
        )
    return 0


if __name__ == "__main__":
    console.run(main)
