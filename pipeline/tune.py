"""Tune each optimizer's learning rate on the validation split, with the same budget for all, and compare it to the default.

python -m pipeline.tune
python -m pipeline.tune dataset=digits model.width=32 optimizers=sgd,adam rates=8
python -m pipeline.tune model.width=16 out=reports/width16   # one call per width: the budget is per call

Every optimizer gets the same number of rates with the same seeds: first those of conf/tune.yaml around its default, then
one at a time. If the best rate so far lies at an edge, the next one lies beyond it, else in the wider gap next to the best.
The score of a rate is the mean over seeds of the best validation accuracy. A diverged run counts as 0; of equal rates, the
one nearest to the default is chosen. The chosen rate and the default are then trained with other seeds, so that luck in
choosing does not count as a gain. Finished runs are not trained again.

All other overrides are those of `python -m pipeline.train` and hold for every run. plan=true shows what would be trained, and
for how long. Writes tuned.csv, tuned_rates.csv, tuned.md and tuned.png.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli import console, terminal
from pipeline.config import commandline, rules
from pipeline.config.compose import ConfigurationError
from pipeline.sweep import tuning

DECIDED = ("optimizer", "seed", "sweep", "question", "force", "hydra")
"""Overrides of `pipeline.train` that this command sets itself."""


def main(argv: Sequence[str]) -> int:
    defaults = {key: str(value) for key, value in rules.content(".", "tune").items()} | {"out": "reports"}
    values, shared = commandline.own_and_shared(argv, defaults, DECIDED, __doc__ or "")
    if problems := commandline.check(shared, False):
        raise ConfigurationError(problems)
    terminal.show("composing")
    tuner = tuning.Tuner(tuning.Budget.of(values), shared)
    if tuner.settings["plan"]:
        print("\n".join(tuner.preview()))
        return 0
    tunings = tuner.run()
    terminal.show("drawing")
    from pipeline.report import tuned  # imports Altair, which takes a second

    out = console.PROJECT / values["out"]
    table = tuned.write(tunings, out)
    terminal.clear()
    tuned.show(table)
    print(f"the report is {out / 'tuned.md'}")
    terminal.suggest("make ui")
    if tuner.unsent:
        raise tuner.unsent
    return 0


if __name__ == "__main__":
    console.run(main)
