"""`make snapshot`: copy what the documentation quotes from reports/ to docs/results/, which git tracks.

Files whose command was not run here stay as they are. The tests then show outdated sentences of README.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import vl_convert

SNAPSHOT = Path("docs/results")
DATASET = "mnist"

COPIED = {
    "comparison.csv": "reports/comparison.csv",
    "contrasts.csv": "reports/contrasts.csv",
    "metrics.json": "reports/metrics.json",
    "report.html": "reports/index.html",
    "gap_by_training_loss.csv": "reports/gap_by_training_loss.csv",
    "gap_by_training_loss.png": "reports/figures/gap_by_training_loss.vl.json",
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
        if source.endswith(".vl.json") and Path(source).is_file():
            spec = json.loads(Path(source).read_text("utf-8"))
            (SNAPSHOT / name).write_bytes(vl_convert.vegalite_to_png(spec | {"background": "white"}, ppi=144))
        elif Path(source).is_file():
            shutil.copyfile(source, SNAPSHOT / name)
        else:
            print(f"{SNAPSHOT / name} stays as it is: {source} is not here")
    print(f"{SNAPSHOT} is what reports/ has; see git diff, then make test")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
