"""Where a run came from, and whether its data and code are those that are here: python -m pipeline.lineage RUN

RUN is a key (or its first letters), the id of an MLflow run, a run's name or its folder.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.storage import lineage
from pipeline.storage.find import find_run
from pipeline.storage.store import RunStore
from pipeline.tracking.address import home

DEFAULTS = {"data": "data/processed", "runs": "runs"}


def main(argv: Sequence[str]) -> int:
    words, named = console.positional(argv)
    options = console.words(named, DEFAULTS, __doc__ or "")
    if len(words) != 1:
        raise UserError("expected one RUN; --help says what it is")
    store, data = RunStore(home() / options["runs"]), console.PROJECT / options["data"]
    print("\n".join(lineage.of_run(find_run(words[0], store), store, data)))
    return 0


if __name__ == "__main__":
    console.run(main)
