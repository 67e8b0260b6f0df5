"""A pool of Slurm jobs, one array of them for each sweep, submitted by submitit.

Results do not pass through submitit: they are in the run folders, whatever becomes of a job. Its polling, which needs `sacct`
and waits for ever for a cancelled job, is not used either: squeue says which jobs are alive, without any accounting.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.sweep.executors.worker import work

ENDING_SECONDS = 40.0
"""Seconds that cancelled jobs get to end: Slurm's KillWait is 30 s by default."""

ANSWER_SECONDS = 60

NOTHING = ("", "None", "exit ", "exit 0:0", "on ", "on (null)")
"""Texts that Slurm prints for empty values."""

ALL = 1000
"""Default number of shares at a time; Slurm's own limit for an array (MaxArraySize) allows no more."""

OF_SLURM = ("partition", "account", "qos", "constraint", "setup", "additional_parameters")
"""Options that are passed to submitit."""

COMMANDS = ("sbatch", "srun", "squeue", "scancel")


class Slurm:
    """A pool (see `pipeline.sweep.pool.Pool`) with the options of `hydra/launcher=batched_slurm`."""

    kind = "slurm"
    workers: int | None = None

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Raises UserError if Slurm's commands or submitit are missing."""
        if not importlib.util.find_spec("submitit"):
            raise UserError("hydra/launcher=batched_slurm: needs submitit; pip install '.[cluster]'")
        if missing := [name for name in COMMANDS if not shutil.which(name)]:
            raise UserError(
                f"hydra/launcher=batched_slurm: no {', '.join(missing)} here; expected Slurm's commands on the PATH"
            )
        self.options = options
        self.cpus: int = options["cpus_per_share"]
        self.gpus: int = options["gpus_per_share"]
        self.poll_seconds: float = max(options["poll_seconds"], 0.1)
        self._jobs: dict[str, Any] = {}
        self._held: set[str] = set()

    def shards(self, runs: int) -> int:
        return min(runs, self.options["shares"] or math.ceil(runs / max(self.options["runs_per_share"], 1)))

    def start(self, sweep: str, files: Sequence[Path]) -> list[str]:
        import submitit

        executor = submitit.AutoExecutor(files[0].parent / "jobs", cluster="slurm", slurm_max_num_timeout=0)
        executor.update_parameters(**self._parameters(sweep))
        try:
            jobs = executor.map_array(work, [str(file) for file in files])
        except BaseException as error:
            # By name: an sbatch that was cut short has not printed the ids of its jobs.
            self.cancel(sweep)
            refused = submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError
            if not isinstance(error, refused):
                raise
            raise UserError(f"sbatch refused the shares: {' '.join(str(error).split())}") from error
        self._jobs = {job.job_id: job for job in jobs}
        return list(self._jobs)

    def _parameters(self, name: str) -> dict[str, Any]:
        """Return the options under submitit's names; those that are not set are left to the cluster."""
        options = self.options
        parameters = {
            "name": name,
            "timeout_min": options["timeout_min"],
            "cpus_per_task": self.cpus,
            "mem_gb": options["mem_gb"],
            "gpus_per_node": self.gpus or None,
            "stderr_to_stdout": True,
            "slurm_signal_delay_s": options["signal_seconds"],
            "slurm_array_parallelism": options["at_once"] or ALL,
            # Since Slurm 22.05 a step does not inherit how many cores its job has for each task.
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],
        }
        as_they_are = {f"slurm_{name}": options[name] for name in OF_SLURM}
        return {name: value for name, value in (parameters | as_they_are).items() if value is not None}

    def alive(self, sweep: str) -> set[str] | None:
        """Ask squeue once for all jobs. Print a line about held jobs, since they wait until a person releases them."""
        output = _output("squeue", "--me", "--noheader", "--array", f"--name={sweep}", "--format=%i %r")
        if output is None:
            return None
        reasons = dict(line.partition(" ")[::2] for line in output.splitlines())
        held = [job for job, reason in reasons.items() if "held" in reason.lower() and job not in self._held]
        if held:
            self._held |= {*held}
            what = f"job {held[0]}" if len(held) == 1 else f"{len(held)} jobs ({held[0]} …)"
            print(f"Slurm holds {what}: {reasons[held[0]]}; scontrol release {held[0]} lets it run", flush=True)
        return {*reasons}

    def end_of(self, job: str) -> str:
        """Return the end of a job, which Slurm's controller remembers for some minutes."""
        shown = _output("scontrol", "-o", "show", "job", job) or ""
        fields = dict(pair.split("=", 1) for pair in shown.split() if "=" in pair)
        if "JobState" not in fields:
            return ""
        reason, code, node = (fields.get(name, "") for name in ("Reason", "ExitCode", "NodeList"))
        parts = [fields["JobState"], *(each for each in (reason, f"exit {code}", f"on {node}") if each not in NOTHING)]
        return f"Slurm says {', '.join(parts)}"

    def log(self, job: str) -> str:
        return str(self._jobs[job].paths.stdout)

    def cancel(self, sweep: str) -> None:
        _output("scancel", f"--name={sweep}")
        until = time.monotonic() + ENDING_SECONDS
        while self.alive(sweep) != set() and time.monotonic() < until:
            time.sleep(0.3)


def _output(*command: str) -> str | None:
    """Return the output of a Slurm command; None if it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
