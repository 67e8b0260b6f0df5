"""`make snapshot`: what the documentation quotes, copied from reports/ to docs/results/, which git holds.

Files whose command was not run here stay as they are. Afterwards the tests say which sentences of README.md are out of date.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

SNAPSHOT = Path("docs/results")
DATASET = "mnist"

COPIED = {
    "comparison.csv": "reports/comparison.csv",
    "contrasts.csv": "reports/contrasts.csv",
    "metrics.json": "reports/metrics.json",
    "report.html": "reports/index.html",
    "gap_by_training_loss.csv": "reports/gap_by_training_loss.csv",
    "gap_by_training_loss.png": "reports/figures/gap_by_training_loss_mnist_overfitting.png",
    "published.csv": "reports/published.csv",
    "published.md": "reports/published.md",
    "tuned.csv": "reports/tuned.csv",
    "tuned.png": "reports/tuned.png",
}


def main() -> int:
    for path in filter(Path.is_file, (Path("reports/comparison.csv"), Path("reports/tuned.csv"))):
        found = sorted(set(pd.read_csv(path)["dataset"]))
        if found != [DATASET]:
            print(
                f"error: {path} is on {', '.join(found)}; expected {DATASET}, which README.md is about", file=sys.stderr
            )
            return 2
    for name, source in COPIED.items():
        if Path(source).is_file():
            shutil.copyfile(source, SNAPSHOT / name)
        else:
            print(f"{SNAPSHOT / name} stays as it is: {source} is not here")
    print(f"{SNAPSHOT} is what reports/ has; see git diff, then make test")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
