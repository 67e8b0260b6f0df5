"""python -m tests.system.faults.forked STAGE ROOT: kill a stage just before it changes a file or folder in ROOT.

Libraries are imported once. For each kill, a forked process runs the stage and gets a real SIGKILL before one step.
"""

import importlib
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.cli import console

OUTPUTS = {"fetch": ["raw"], "preprocess": ["processed", "card", "samples"], "compare": ["reports"]}
TIMES = {"fetch": 100, "preprocess": 100, "compare": 2}
"""The most kills per stage; few for `compare`, which takes seconds each time."""

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def main(stage: str, root: Path) -> None:
    words = {
        "fetch": ["dataset=digits", f"raw={root}/raw"],
        "preprocess": ["dataset=digits", f"raw={root}/raw", *(f"{n}={root}/{n}" for n in OUTPUTS["preprocess"])],
        "compare": [f"{root}/results/sweep", f"out={root}/reports", f"data={root}/processed", "tracking=none"],
    }[stage]
    module = importlib.import_module(f"pipeline.{stage}")
    outputs = [root / name for name in OUTPUTS[stage]]
    if stage == "compare":  # drawing starts threads, which a fork does not inherit
        assert in_a_fork(module, words, root, kill_at=0) == 0
    else:
        with suppress(SystemExit):
            console.run(module.main, words)  # undisturbed, so that lazy imports happen before the forks
    expected = content(outputs)
    shutil.rmtree(outputs[0])
    assert in_a_fork(module, words, root, kill_at=0) == 0
    steps = int((root / "steps").read_text())
    times = min(steps, TIMES[stage])
    assert times > 1
    for number in range(times):
        step = (number + 1) * steps // times
        if number % 2 or stage == "fetch":
            # Otherwise the stage overwrites its output; `fetch` would skip whole files.
            shutil.rmtree(outputs[0], ignore_errors=True)
        assert in_a_fork(module, words, root, kill_at=step) == -signal.SIGKILL
        found = {path: data for path, data in content(outputs).items() if not hidden(path)}
        wrong = [path for path, data in found.items() if data != expected[path]]
        assert wrong == [], f"half written before step {step} of {steps}: {wrong}"
    assert in_a_fork(module, words, root, kill_at=0) == 0
    assert content(outputs) == expected, "the same command again gives what an undisturbed one gives, and nothing else"


def in_a_fork(module: Any, words: list[str], root: Path, kill_at: int) -> int:
    """Run the command in a fork; return its exit status, or minus the number of the signal that killed it."""
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    seen, own = 0, os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        changes = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if changes and str(arguments[0]).startswith(str(root)) and os.getpid() == own:
            seen += 1
            if seen == kill_at:
                os.kill(own, signal.SIGKILL)

    status = 70
    sys.addaudithook(hook)
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        console.run(module.main, words)
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        (root / "steps").write_text(str(seen))
        sys.stderr.flush()
        os._exit(status)


def hidden(path: Path) -> bool:
    """Whether the path is in a temporary folder of a killed process: its name starts with a dot."""
    return any(part.startswith(".") for part in path.parts[-3:])


def content(outputs: list[Path]) -> dict[Path, bytes]:
    files = [path for top in outputs for path in [top, *top.rglob("*")] if path.is_file()]
    return {path: path.read_bytes() for path in files}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
