"""Search for the best values of a configuration on the validation split, with Optuna.

python -m pipeline.search
python -m pipeline.search dataset=digits n_trials=30 training.epochs=20 optimizer=adam
python -m pipeline.search 'model.width=tag(log,interval(16,1024))' 'model.depth=range(1,4)' \\
    'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))' optimizer=adam,rmsprop training.batch_size=32,64,128,256
python -m pipeline.search objectives=val/accuracy,overfitting_gap/accuracy
python -m pipeline.search training.epochs=20 pruner=median

Ranges use Hydra's syntax for sweeps: interval(LOW,HIGH), tag(log,interval(LOW,HIGH)), range(FIRST,END), and choices with
commas. Keys that take whole numbers get whole numbers. Without a range, those of conf/search.yaml are searched. All other
overrides are those of `python -m pipeline.train` and hold for every trial.

n_trials is the total: after a stop or a kill the same command continues. A stored run is not trained again, and a diverged
run counts as accuracy 0. The same seed and batch size give the same trials (with pruner=hyperband, batch=1).
Writes trials.csv next to the study, in results/. plan=true shows what would be trained, and for how long.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli import console, terminal
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import commandline, rules

DECIDED = ("sweep", "force", "hydra")
"""Overrides of `pipeline.train` that this command sets itself."""


def main(argv: Sequence[str]) -> int:
    terminal.show("loading libraries")
    from pipeline.sweep import search_settings

    defaults, ranges = search_settings.declared()
    own, shared = commandline.own_and_shared(argv, defaults, DECIDED, __doc__ or "")
    settings = search_settings.SearchSettings.of(own)
    for key in (override.partition("=")[0] for override in shared):
        if rules.rule_for(key) is None and key not in rules.GROUPS and (near := nearest(key, defaults)):
            raise UserError(f"{key}: no such key{near}")

    from pipeline.sweep import search, search_space, search_study  # imports Optuna, which takes a second

    found = search.Search(settings, search_space.space_of(shared, ranges))
    if found.runs.values["plan"]:
        print("\n".join(found.preview()))
        return 0
    study = found.run()
    for line in search_study.lines(study):
        terminal.say(line)
    print(f"all trials are in {console.in_checkout(found.folder / search_study.TABLE)}")
    if found.unsent:
        raise found.unsent
    if study.best:
        terminal.suggest(found.with_other_seeds(study))
    return 0


if __name__ == "__main__":
    console.run(main)
