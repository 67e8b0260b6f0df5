"""A pool of Slurm jobs, an array of them for each sweep, submitted by submitit.

Results do not pass through submitit: they are in the run folders, whatever becomes of a job. Its polling, which needs `sacct`
and waits for ever for a cancelled job, is not used either: squeue says which jobs are alive, without any accounting.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError

ARRAY = 1000
"""Jobs in one array: Slurm's own bound (MaxArraySize) is 1,001 unless a cluster says otherwise."""

ENDING_SECONDS = 40.0
"""How long cancelled jobs have to end: Slurm's KillWait is 30 s unless a cluster says otherwise."""

ANSWER_SECONDS = 60

COMMANDS = ("sbatch", "srun", "squeue", "scancel")


class Slurm:
    """A pool (see `pipeline.sweep.pool.Pool`) whose options are those of `hydra/launcher=batched_slurm`."""

    kind = "slurm"
    at_once = None

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Raises UserError if Slurm's commands or submitit are missing."""
        try:
            import submitit  # noqa: F401
        except ModuleNotFoundError:
            raise UserError("hydra/launcher=batched_slurm: needs submitit; pip install '.[cluster]'") from None
        if missing := [name for name in COMMANDS if not shutil.which(name)]:
            raise UserError(
                f"hydra/launcher=batched_slurm: no {', '.join(missing)} here; expected Slurm's commands on the PATH "
                "(hydra/launcher=batched_submitit_local does the same without a cluster)"
            )
        self.options = options
        self.scope = f"user {os.getuid()}"
        self.cpus: int = options["cpus_per_share"]
        self.gpus: int = options["gpus_per_share"]
        self.shares: int | None = options["shares"]
        self.runs_per_share: int = options["runs_per_share"]
        self.poll_seconds: float = options["poll_seconds"]
        self._jobs: dict[str, Any] = {}
        self._held: set[str] = set()

    def start(self, work: Callable[[str], str], files: Sequence[Path]) -> list[str]:
        import submitit

        folder = files[0].parent
        # The name is this sweep's own: by it, jobs of an sbatch that was cut short before it printed their ids are found.
        name = f"gap-{folder.name}-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]}"
        executor = submitit.AutoExecutor(folder / "jobs", cluster="slurm", slurm_max_num_timeout=0)
        executor.update_parameters(**self._parameters(name))
        jobs: list[Any] = []
        try:
            for first in range(0, len(files), ARRAY):
                jobs += executor.map_array(work, [str(file) for file in files[first : first + ARRAY]])
        except BaseException as error:
            _output("scancel", f"--name={name}")
            self.cancel([job.job_id for job in jobs])
            refused = submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError
            if not isinstance(error, refused):
                raise
            raise UserError(f"sbatch refused the shares: {' '.join(str(error).split())}") from error
        self._jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def _parameters(self, name: str) -> dict[str, Any]:
        """The options under submitit's names; those that are not set are left to the cluster."""
        options = self.options
        parameters = {
            "name": name,
            "timeout_min": options["timeout_min"],
            "cpus_per_task": self.cpus,
            "mem_gb": options["mem_gb"],
            "gpus_per_node": self.gpus or None,
            "stderr_to_stdout": True,
            "slurm_partition": options["partition"],
            "slurm_account": options["account"],
            "slurm_qos": options["qos"],
            "slurm_constraint": options["constraint"],
            "slurm_setup": options["setup"],
            "slurm_signal_delay_s": options["signal_seconds"],
            "slurm_array_parallelism": options["at_once"] or ARRAY,
            "slurm_additional_parameters": options["additional_parameters"],
            # Since Slurm 22.05 a step does not inherit how many cores its job has for each task.
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        """One squeue for all. Prints a line about jobs that Slurm holds, since they wait until a person releases them."""
        output = _output("squeue", "--me", "--noheader", "--array", "--format=%i %r")
        if output is None:
            return None
        reasons = dict(line.partition(" ")[::2] for line in output.splitlines())
        held = [job for job in jobs if "held" in reasons.get(job, "").lower() and job not in self._held]
        if held:
            self._held |= {*held}
            what = f"job {held[0]}" if len(held) == 1 else f"{len(held)} jobs ({held[0]} …)"
            print(f"Slurm holds {what}: {reasons[held[0]]}; scontrol release {held[0]} lets it run", flush=True)
        return set(jobs) & {*reasons}

    def fate(self, job: str) -> str:
        """As Slurm's controller remembers it for some minutes."""
        shown = _output("scontrol", "-o", "show", "job", job) or ""
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        if "JobState" not in fields:
            return ""
        reason, code, nodes = (fields.get(name, "") for name in ("Reason", "ExitCode", "NodeList"))
        words = [
            fields["JobState"],
            reason if reason != "None" else "",
            f"exit {code}" if code not in ("0:0", "") else "",
            f"on {nodes}" if nodes else "",
        ]
        return f"Slurm says {', '.join(filter(None, words))}"

    def log(self, job: str) -> str:
        return str(self._jobs[job].paths.stdout) if job in self._jobs else ""

    def cancel(self, jobs: Collection[str]) -> None:
        names = sorted(jobs)
        for first in range(0, len(names), ARRAY):
            _output("scancel", *names[first : first + ARRAY])
        until = time.monotonic() + ENDING_SECONDS
        while names and self.alive(names) != set() and time.monotonic() < until:
            time.sleep(0.3)


def _output(*command: str) -> str | None:
    """What a command of Slurm prints; None if it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
