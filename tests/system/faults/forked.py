"""python -m tests.system.faults.forked STAGE ROOT SEED ROUNDS: a stage, killed again and again at moments drawn at random.

The libraries are imported once; each round is a process of its own, forked, that gets a real SIGKILL. Prints a line per
round: the moment, and whether the stage was still at work. The folder ROOT holds what the stage reads and writes.
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from pipeline.cli import console


def main(stage: str, root: Path, seed: int, rounds: int) -> None:
    module = importlib.import_module(f"pipeline.{stage}")
    words = {
        "fetch": ["dataset=digits", f"raw={root}/raw"],
        "preprocess": ["dataset=digits", f"raw={root}/raw", *(f"{n}={root}/{n}" for n in OUTPUTS["preprocess"])],
        "compare": [f"{root}/results/sweep", f"out={root}/reports", f"data={root}/processed", "tracking=none"],
    }[stage]
    outputs = [root / name for name in OUTPUTS[stage]]
    run(module, words)  # calm: what is imported on the way is imported now
    started = time.perf_counter()
    remove(outputs)
    assert os.waitstatus_to_exitcode(os.waitpid(start(module, words), 0)[1]) == 0
    calm, expected = time.perf_counter() - started, content(outputs)
    moments = random.Random(seed)
    for number in range(rounds):
        if number % 2 == 0:
            remove(outputs)  # else it writes over what is there
        pid, after = start(module, words), moments.uniform(0, 1.1 * calm)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        found = {name: data for name, data in content(outputs).items() if not Path(name).name.startswith(".")}
        wrong = [name for name, data in found.items() if not is_whole(name, data, expected)]
        assert wrong == [], f"FAULT_SEED={seed}, round {number + 1}, after {after:.3f} s: half written: {wrong}"
        print(
            f"FAULT_SEED={seed}: round {number + 1} after {after:.3f} of {calm:.3f} s, {'killed' if killed else 'done'}"
        )
    assert os.waitstatus_to_exitcode(os.waitpid(start(module, words), 0)[1]) == 0
    assert content(outputs) == expected, "the same command again gives what an undisturbed one gives, and nothing else"


OUTPUTS = {"fetch": ["raw"], "preprocess": ["processed", "card", "samples"], "compare": ["reports"]}


def is_whole(name: str, data: bytes, expected: dict[str, bytes]) -> bool:
    """All content is the same from run to run; a killed process's own temporary folder has a name with a dot."""
    return any(part.startswith(".") for part in Path(name).parts[-3:]) or data == expected[name]


def run(module: object, words: list[str]) -> None:
    with suppress(SystemExit):
        console.run(module.main, words)  # type: ignore[attr-defined]


def start(module: object, words: list[str]) -> int:
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        console.run(module.main, words)  # type: ignore[attr-defined]
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    os._exit(70)


def remove(outputs: list[Path]) -> None:
    for path in outputs:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def content(outputs: list[Path]) -> dict[str, bytes]:
    files = [path for top in outputs for path in [top, *top.rglob("*")] if path.is_file()]
    return {str(path): path.read_bytes() for path in sorted(files)}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
