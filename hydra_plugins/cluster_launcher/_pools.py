"""Pools of jobs by submitit: what a task function that trains in shares gets as its third argument.

A pool starts `work(file)` for files in jobs of their own, says which jobs are alive and what became of the others, and
cancels. Results do not pass through it: they are in files, whatever becomes of the job. So neither submitit's own polling
(which needs a working `sacct`, or waits for a cancelled job for ever) nor its pickled results are relied on.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from hydra.errors import HydraException
from omegaconf import OmegaConf

ARRAY = 1000
"""Jobs in one array: Slurm's own bound (MaxArraySize) is 1,001 unless a cluster says otherwise."""

ENDING_SECONDS = 40.0
"""What cancelled jobs have to be gone: Slurm's KillWait is 30 s unless a cluster says otherwise."""

ANSWER_SECONDS = 60

SIGNAL_SECONDS = 30
"""Before its time limit, at which a share on this machine is told to end."""

JOBS = "jobs"
"""The folder beside the files in which submitit keeps its own, and the logs."""


def make(kind: str, options: Mapping[str, Any]) -> Slurm | Local:
    """Raises HydraException where such jobs cannot be started here."""
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        raise HydraException(f"hydra/launcher=batched_{kind}: needs submitit; pip install '.[cluster]'") from None
    plain = {name: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for name, v in options.items()}
    return Slurm(plain) if kind == "slurm" else Local(plain)


class _Pool:
    kind = ""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.cpus: int = options["cpus_per_share"]
        self.gpus: int = options["gpus_per_share"]
        self.shares: int | None = options["shares"]
        self.runs_per_share: int = options["runs_per_share"]
        self.poll_seconds: float = options["poll_seconds"]
        self.at_once: int | None = None
        self._jobs: dict[str, Any] = {}

    def log(self, job: str) -> str:
        return str(self._jobs[job].paths.stdout) if job in self._jobs else ""

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        raise NotImplementedError

    def _wait_until_gone(self, jobs: Collection[str]) -> None:
        until = time.monotonic() + ENDING_SECONDS
        while self.alive(jobs) != set() and time.monotonic() < until:
            time.sleep(0.3)


class Slurm(_Pool):
    """Jobs of Slurm, as arrays; it queues them itself."""

    kind = "slurm"

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.scope = f"user {os.getuid()}"
        self._held: set[str] = set()
        if missing := [name for name in ("sbatch", "srun", "squeue", "scancel") if not shutil.which(name)]:
            raise HydraException(
                f"hydra/launcher=batched_slurm: no {', '.join(missing)} here; expected Slurm's commands on the PATH "
                "(hydra/launcher=batched_submitit_local does the same without a cluster)"
            )

    def start(self, work: Callable[[str], str], files: Sequence[Path]) -> list[str]:
        import submitit

        options = self.options
        folder = files[0].parent
        executor = submitit.AutoExecutor(folder / JOBS, cluster="slurm", slurm_max_num_timeout=0)
        # No other command's: by it the jobs of an sbatch that was cut short before it said their ids are found.
        name = f"gap-{folder.name}-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]}"
        asked = {one: options[one] for one in ("partition", "account", "qos", "constraint", "setup")}
        parameters = {
            "name": name,
            "timeout_min": options["timeout_min"],
            "cpus_per_task": self.cpus,
            "mem_gb": options["mem_gb"],
            "gpus_per_node": self.gpus or None,
            "stderr_to_stdout": True,
            "slurm_signal_delay_s": options["signal_seconds"],
            "slurm_array_parallelism": options["at_once"] or ARRAY,
            "slurm_additional_parameters": options["additional_parameters"],
            # Since Slurm 22.05 a step does not inherit how many cores its job has for each task.
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],
            **{f"slurm_{name}": value for name, value in asked.items()},
        }
        executor.update_parameters(**{name: value for name, value in parameters.items() if value is not None})
        started: list[Any] = []
        try:
            for first in range(0, len(files), ARRAY):
                started += executor.map_array(work, [str(file) for file in files[first : first + ARRAY]])
        except BaseException as error:
            _said("scancel", f"--name={name}")
            self.cancel([job.job_id for job in started])
            refused = submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError
            if not isinstance(error, refused):
                raise
            said = " ".join(str(error).split())
            raise HydraException(f"sbatch refused the shares: {said}") from error
        self._jobs |= {job.job_id: job for job in started}
        return [job.job_id for job in started]

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        """One squeue for all; it needs no accounting. Jobs that Slurm holds wait until someone releases them: that is said."""
        said = _said("squeue", "--me", "--noheader", "--array", "--format=%i %r")
        if said is None:
            return None
        queued = dict(line.partition(" ")[::2] for line in said.splitlines())
        held = [job for job in jobs if "held" in queued.get(job, "").lower() and job not in self._held]
        if held:
            self._held |= {*held}
            what = f"job {held[0]}" if len(held) == 1 else f"{len(held)} jobs ({held[0]} …)"
            print(f"Slurm holds {what}: {queued[held[0]]}; scontrol release {held[0]} lets it run", flush=True)
        return set(jobs) & {*queued}

    def fate(self, job: str) -> str:
        """As Slurm's controller remembers it for some minutes; then as its accounting does, where there is one."""
        words = dict(
            word.split("=", 1) for word in (_said("scontrol", "-o", "show", "job", job) or "").split() if "=" in word
        )
        if state := words.get("JobState"):
            told = [state, words.get("Reason", "None"), words.get("ExitCode", "0:0"), words.get("NodeList", "")]
        else:
            told = (
                (_said("sacct", "-nPX", "-o", "State,Reason,ExitCode,NodeList", "-j", job) or "").splitlines() or [""]
            )[0].split("|")
        if not told[0]:
            return ""
        state, reason, code, nodes = (*told, "", "", "")[:4]
        more = [
            reason if reason not in ("None", "") else "",
            f"exit {code}" if code not in ("0:0", "") else "",
            nodes and f"on {nodes}",
        ]
        return f"Slurm says {', '.join(word for word in (state, *more) if word)}"

    def cancel(self, jobs: Collection[str]) -> None:
        names = sorted(jobs)
        for first in range(0, len(names), ARRAY):
            _said("scancel", *names[first : first + ARRAY])
        if names:
            self._wait_until_gone(names)


def _said(*command: str) -> str | None:
    """What a command of Slurm's prints; None where it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Local(_Pool):
    """Processes on this machine, as many at a time as it has cores or cards for."""

    kind = "submitit_local"

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        room = _cards() // self.gpus if self.gpus else cores // self.cpus
        if self.gpus and not room:
            raise HydraException(
                f"hydra.launcher.gpus_per_share={self.gpus}: this machine shows {_cards()} cards; expected at most so many"
            )
        self.at_once = options["at_once"] or max(1, room)
        if self.gpus:  # a share without its cards would be lost
            self.at_once = min(self.at_once, room)
        self.scope = platform.node()
        self._cards: dict[str, list[int]] = {}

    def start(self, work: Callable[[str], str], files: Sequence[Path]) -> list[str]:
        import submitit

        jobs: list[str] = []
        try:
            for file in files:
                cards = self._free()
                executor = submitit.LocalExecutor(file.parent / JOBS, max_num_timeout=0)
                executor.update_parameters(
                    timeout_min=self.options["timeout_min"],
                    gpus_per_node=self.gpus,
                    visible_gpus=cards,
                    stderr_to_stdout=True,
                    signal_delay_s=SIGNAL_SECONDS,
                )
                job = executor.submit(work, str(file))
                self._jobs[job.job_id] = job
                self._cards[job.job_id] = cards
                jobs.append(job.job_id)
        except BaseException:
            self.cancel(jobs)
            raise
        return jobs

    def _free(self) -> list[int]:
        """Cards that no share has."""
        taken = {card for job, cards in self._cards.items() if self._runs(job) for card in cards}
        return [card for card in range(_cards()) if card not in taken][: self.gpus]

    def alive(self, jobs: Collection[str]) -> set[str]:
        return {job for job in jobs if self._runs(job)}

    def _runs(self, job: str) -> bool:
        if job in self._jobs:
            return not self._jobs[job].done()
        try:  # of an earlier command
            return "submitit.local._local" in psutil.Process(int(job)).cmdline()
        except (psutil.Error, ValueError):
            return False

    def fate(self, job: str) -> str:
        return ""

    def cancel(self, jobs: Collection[str]) -> None:
        for job in self.alive(jobs):
            with suppress(ProcessLookupError):
                os.kill(int(job), signal.SIGTERM)  # submitit's controller hands it on
        self._wait_until_gone(jobs)


def _cards() -> int:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([word for word in named.split(",") if word.strip() not in ("", "-1")])
    with suppress(OSError):
        return len(list(Path("/proc/driver/nvidia/gpus").iterdir()))
    return 0
