"""`make run`: run the whole DVC pipeline, on `dataset=digits` if MNIST cannot be downloaded.

`dvc repro` itself never changes the data set. If its fetch stage ends with status 4 (no files here, no mirror answers),
the pipeline runs in a copy of the checkout whose params.yaml says `dataset: digits`, and its reports are copied back.
params.yaml and dvc.lock stay as they are, so the next `make run` with a network makes the MNIST reports. `dvc exp run
--temp -S dataset=digits` would do the same, but needs a git identity and, with DVC 3.67, a path without accents.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

DATA_UNAVAILABLE = 4
"""Exit status of `python -m pipeline.fetch` for pipeline.cli.errors.DataUnavailable."""

SUBSTITUTE = "digits"
CHANGED = {"dataset": SUBSTITUTE, "train_sizes": "[300, 1000]"}
"""Lines of params.yaml that change for the substitute, which has fewer samples."""
COPY = Path(".dvc/tmp") / SUBSTITUTE
REPORT = Path("reports/index.html")

MADE = {"data", "reports", "results", "runs"}
"""Folders that the pipeline makes. Git does not track them."""


def main() -> int:
    if trouble := trouble_of_lock():
        print(f"error: {trouble}", file=sys.stderr)
        return 2
    # The stages call `python`, and DVC runs them in the user's shell, whatever that is.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.environ["SHELL"] = "/bin/sh"
    # Its stderr is shown when it has ended, or not at all if the substitute is used.
    fetched = subprocess.run(["dvc", "repro", "fetch"], stderr=subprocess.PIPE, text=True, errors="replace")
    status, complaint = fetched.returncode, fetched.stderr
    if status == 0:
        print(complaint, end="", file=sys.stderr, flush=True)
        status = subprocess.run(["dvc", "repro"]).returncode
        where = "" if status else f"the report is {REPORT}, the runs are in `make ui`"
    elif f"exited with {DATA_UNAVAILABLE}" in complaint and wanted_dataset() != SUBSTITUTE:
        print(
            f"note: {wanted_dataset()} cannot be downloaded (nothing here, no mirror answers); going on with dataset={SUBSTITUTE}",
            flush=True,
        )
        status = run_on_substitute()
        where = "" if status else f"the report is {REPORT}, the runs are in `make ui`; all on dataset={SUBSTITUTE}"
    else:
        where = complaint.rstrip()
    print(where, file=sys.stderr if status else sys.stdout)
    return status


def trouble_of_lock() -> str | None:
    """Return what is wrong with dvc.lock and the command that repairs it; DVC itself names no command."""
    lock = Path("dvc.lock")
    if not lock.exists():
        return None
    try:
        record = yaml.safe_load(lock.read_bytes())
        wrong = "" if isinstance(record, dict) and {"schema", "stages"} <= set(record) else "no record of any stage"
        wrong = wrong if lock.stat().st_size else "0 bytes"
    except (yaml.YAMLError, UnicodeDecodeError):
        wrong = "conflict markers of a merge in it" if b"\n=======\n" in lock.read_bytes() else "cut off or overwritten"
    if not wrong:
        return None
    in_git = ["git", "cat-file", "-e", f"HEAD:./{lock}"]
    committed = shutil.which("git") and subprocess.run(in_git, capture_output=True).returncode == 0
    repair = f"git checkout HEAD -- {lock}" if committed else f"rm {lock}"
    return f"{lock}: {wrong}; repair it with: {repair} (runs that are finished are not trained again), then make run"


def wanted_dataset() -> str:
    return str(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["dataset"])


def run_on_substitute() -> int:
    copy_checkout()
    text = Path("params.yaml").read_text(encoding="utf-8")
    for name, value in CHANGED.items():
        text, changed = re.subn(rf"(?m)^( *{name}:).*$", rf"\1 {value}", text)
        if changed != 1 and name == "dataset":
            print("error: params.yaml: expected one line `dataset:`", file=sys.stderr)
            return 2
    (COPY / "params.yaml").write_text(text, encoding="utf-8")
    # The copy has no git, and it shares DVC's cache with the checkout.
    (COPY / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n[cache]\n    dir = ../../../cache\n")
    # As in a queued experiment, the runs go to the MLflow store of the checkout that DVC_ROOT names.
    environment = {**os.environ, "DVC_ROOT": os.getcwd()}
    # This variable names mirrors of the data set that is unavailable.
    environment.pop("OVERFITTING_GAP_MIRRORS", None)
    status = subprocess.run(["dvc", "repro"], cwd=COPY, env=environment).returncode
    if status == 0:
        bring_back()
    return status


def copy_checkout() -> None:
    """Update COPY with all files here that the stages read, edited or not. What the pipeline made in COPY stays."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    tops = {Path(dep).parts[0] for stage in stages for dep in stage["deps"]} - MADE
    for name in sorted({*tops, "dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config"}):
        there = COPY / name
        if Path(name).is_dir():
            shutil.rmtree(there, ignore_errors=True)  # else a module deleted here could still be imported there
            shutil.copytree(name, there, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, there)


def bring_back() -> None:
    """Replace the report here by that of COPY, and copy results and data sets that are missing here; runs are here
    already (DVC_ROOT).

    Files of other commands in reports/ stay.
    """
    shutil.rmtree("reports/figures", ignore_errors=True)
    shutil.copytree(COPY / "reports", "reports", dirs_exist_ok=True)
    for made in [*COPY.glob("results/*"), *COPY.glob("data/*/*")]:
        here = made.relative_to(COPY)
        if not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made, here) if made.is_dir() else shutil.copy2(made, here)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
