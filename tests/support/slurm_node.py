"""A one-node Slurm on loopback, from Debian's packages, without systemd. For the tests, and to try things out as root.

python tests/support/slurm_node.py start FOLDER
python tests/support/slurm_node.py stop FOLDER

FOLDER holds all its files: key, state, logs, configuration. `start` prints the line that sets SLURM_CONF in a shell.
Packages: slurm-wlm munge.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "squeue", "scancel")
DAEMONS = ("slurmd", "slurmctld", "munged")
"""In the order in which they are stopped. Each writes its process id to `run/NAME.pid`."""

PATIENCE_SECONDS = 30.0


def missing() -> str:
    """Return why Slurm cannot be started here; empty if it can."""
    if os.geteuid() != 0:
        return "only root starts Slurm's daemons"
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    return f"no {', '.join(absent)} (apt-get install slurm-wlm munge)" if absent else ""


def start(folder: Path) -> dict[str, str]:
    """Start Slurm in `folder` and return the variables that its commands need. Raises RuntimeError on failure."""
    folder = folder.absolute()
    for name in ("run", "log", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # munged refuses a socket in a folder that others cannot enter, and a key that others can read.
    for place in (folder, folder / "run"):
        place.chmod(0o755)
    key = folder / "munge.key"
    if not key.exists():
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    ports = _free_ports(2)
    configuration = folder / "slurm.conf"
    configuration.write_text(_configuration(folder, ports))
    found = {"SLURM_CONF": str(configuration)}
    with ExitStack() as failing:
        failing.callback(stop, folder)
        _run("munged", *_options(folder, "munged"), f"--key-file={key}", f"--seed-file={folder}/munge.seed")
        _run("slurmctld", "-f", str(configuration))
        _run("slurmd", "-f", str(configuration))
        _until(lambda: _says(found, "sinfo", "-h", "-o", "%T") == "idle", f"the node did not come up: see {folder}/log")
        failing.pop_all()
    return found


def stop(folder: Path) -> None:
    """Kill the jobs that still run, then stop the daemons."""
    folder = folder.absolute()
    found = {"SLURM_CONF": str(folder / "slurm.conf")}
    if (pid := _pid(folder, "slurmctld")) and not _gone(pid):
        jobs = _says(found, "squeue", "-h", "-o", "%A").split()
        _says(found, "scancel", "--signal=KILL", *jobs)
        _says(found, "scancel", *jobs)
    for name in DAEMONS:
        if not (pid := _pid(folder, name)):
            continue
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            with suppress(RuntimeError):
                _until(partial(_gone, pid), name, 10)
                break
        (folder / "run" / f"{name}.pid").unlink(missing_ok=True)


def _configuration(folder: Path, ports: Sequence[int]) -> str:
    host, cores = socket.gethostname().partition(".")[0], os.cpu_count() or 1
    memory = psutil.virtual_memory().total // 2**20 - 1024
    lines = {
        "ClusterName": "loopback",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmdPort": ports[1],
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        # A requeued job waits until its old credential expires: two minutes by default.
        "AuthInfo": f"socket={folder}/run/munged.socket,cred_expire=5",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "run/slurmctld.pid",
        "SlurmdPidFile": folder / "run/slurmd.pid",
        "SlurmctldLogFile": folder / "log/slurmctld.log",
        "SlurmdLogFile": folder / "log/slurmd.log",
        # Use neither cgroups nor a PAM session, which containers lack.
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": 1024,
        "MpiDefault": "none",
        "ReturnToService": 2,
        "MailProg": shutil.which("true"),
        "KillWait": 10,
        "SchedulerParameters": "sched_interval=2,bf_interval=2",
    }
    node = f"NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} SocketsPerBoard=1 CoresPerSocket={cores} ThreadsPerCore=1"
    partition = f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP"
    return "\n".join(
        [*(f"{name}={value}" for name, value in lines.items()), f"{node} RealMemory={memory}", partition, ""]
    )


def _options(folder: Path, name: str) -> list[str]:
    return [
        f"--socket={folder}/run/{name}.socket",
        f"--pid-file={folder}/run/{name}.pid",
        f"--log-file={folder}/log/{name}.log",
    ]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout.strip() or f'exit status {done.returncode}'}")


def _says(variables: dict[str, str], *command: str) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command, env=os.environ | variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        return done.stdout.strip()
    return ""


def _until(true: Callable[[], bool], otherwise: str, seconds: float = PATIENCE_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(otherwise)
        time.sleep(0.05)


def _pid(folder: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        return int((folder / "run" / f"{name}.pid").read_text())
    return 0


def _gone(pid: int) -> bool:
    """Return whether the process has ended. A zombie that nobody waits for counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def main(words: Sequence[str]) -> int:
    if len(words) != 2 or words[0] not in ("start", "stop"):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    folder = Path(words[1])
    if words[0] == "stop":
        stop(folder)
        return 0
    if why := missing():
        print(f"error: {why}", file=sys.stderr)
        return 2
    try:
        found = start(folder)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"export SLURM_CONF={found['SLURM_CONF']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
