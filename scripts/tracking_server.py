"""MLflow's tracking server on PostgreSQL, on this machine alone: for a group that shares results, and for the tests.

    python scripts/tracking_server.py start FOLDER [port=5000] [workers=2]
    python scripts/tracking_server.py status FOLDER
    python scripts/tracking_server.py stop FOLDER

FOLDER keeps all of it: the database (postgres/), the files of runs (artifacts/), logs, and the database's password
(password, mode 0600), which stands in no command. PostgreSQL's programs come from the system (Debian: apt-get install
postgresql); root hands them to the user postgres, since they refuse root. Both servers listen on 127.0.0.1 only: MLflow
has no login. For other machines put a web server with one in front, or a tunnel (ssh -L 5000:127.0.0.1:5000 HOST).
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.data.files import whole
from pipeline.tracking import server

DEFAULTS = {"port": "5000", "workers": "2"}
NAME = "mlflow"
"""Of the database and of its user."""
INSTALLED = Path("/usr/lib/postgresql")
STOP_SECONDS = 20

POOL, OVERFLOW = 20, 20
"""Connections that a worker of MLflow's keeps, and makes at need. It nests up to four for one call, and above the five that
it keeps by default makes and ends one each time, at 10 ms."""


def main(argv: Sequence[str]) -> int:
    words, named = console.positional(argv)
    values = console.words(named, DEFAULTS, __doc__ or "")
    commands = {"start": start, "stop": stop, "status": status}
    if len(words) != 2 or words[0] not in commands:
        raise UserError("expected start FOLDER, stop FOLDER or status FOLDER; --help says what they do")
    return commands[words[0]](Path(words[1]).absolute(), values)


def start(folder: Path, values: dict[str, str]) -> int:
    if mlflow_process(folder):
        raise UserError(f"{folder}: runs already, at {address(folder)}; stop it first")
    port = server.free_port(values["port"], f"python scripts/tracking_server.py start {folder}")
    if not values["workers"].isdecimal() or not 1 <= int(values["workers"]) <= 64:
        raise UserError(f"workers={values['workers']}: expected a number from 1 to 64")
    folder.mkdir(parents=True, exist_ok=True)
    workers = int(values["workers"])
    database = start_database(folder, port, workers)
    try:
        start_mlflow(folder, database, port, workers)
    except BaseException:
        stop(folder, values)
        raise
    print(f"MLflow is at {address(folder)}, on PostgreSQL in {folder}; let commands use it with:")
    print(f"  export MLFLOW_TRACKING_URI={address(folder)}")
    return 0


def start_database(folder: Path, beside: int, workers: int) -> str:
    """Start PostgreSQL, made where there is none yet; the database's address, with the password."""
    data, log = folder / "postgres", folder / "postgres.log"
    secret = folder / "password"
    if not secret.exists():
        with whole(secret) as temporary:
            temporary.touch(0o600)
            temporary.write_text(secrets.token_urlsafe(24))
    password = secret.read_text()
    port = next(port for port in range(beside + 1, 65536) if server.is_free(port))
    if not data.exists():
        data.mkdir(mode=0o700)
        owned(data)
        # In a file that this user's server can read, for as long as it takes: a word would stand in the list of processes.
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(password)
            file.flush()
            if who := account():
                os.chown(file.name, *who)
            words = ["-D", str(data), "-U", NAME, "-A", "scram-sha-256", f"--pwfile={file.name}", "-E", "UTF8"]
            made = postgres("initdb", *words)
        if made.returncode:
            shutil.rmtree(data)
            raise UserError(f"{data}: the database cannot be made ({last_line(made.stderr)})")
    log.touch(0o600)
    owned(log)
    settings = {
        "port": port,
        "listen_addresses": server.HOST,
        "unix_socket_directories": "''",
        "max_connections": 20 + workers * (POOL + OVERFLOW),
        # A power cut may take the last half second: the runs are on disk, and publishing sends them again.
        "synchronous_commit": "off",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    killed, deadline = (data / "postmaster.pid").exists(), time.monotonic() + server.START_SECONDS
    start: list[str | Path] = ["-D", data, "-l", log, "-w", "-t", str(server.START_SECONDS), "-o", options, "start"]
    while (begun := postgres("pg_ctl", *start)).returncode and killed and time.monotonic() < deadline:
        # The processes that a killed server leaves behind end within seconds, and hold its memory until then.
        time.sleep(0.5)
    if begun.returncode:
        raise UserError(f"PostgreSQL did not start; its messages are in {log}")
    keep(folder, {"database": port})
    login = {"PGPASSWORD": password, "PGHOST": server.HOST, "PGPORT": str(port), "PGUSER": NAME}
    made = postgres("createdb", NAME, environment=login)
    if made.returncode and "already exists" not in made.stderr:
        raise UserError(f"PostgreSQL on port {port}: no database can be made ({last_line(made.stderr)})")
    return f"postgresql+psycopg2://{NAME}:{password}@{server.HOST}:{port}/{NAME}"


def start_mlflow(folder: Path, database: str, port: int, workers: int) -> None:
    artifacts, log = folder / "artifacts", folder / "mlflow.log"
    artifacts.mkdir(exist_ok=True)
    options = ["--workers", str(workers), "--serve-artifacts", "--artifacts-destination", artifacts.as_uri()]
    pool = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(POOL), "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(OVERFLOW)}
    with open(log, "ab") as file:
        streams = {"cwd": folder, "stdout": file, "stderr": file, "start_new_session": True}
        process = server.start(port, database, options, server.settings() | pool, **streams)
    keep(folder, {"port": port, "pid": process.pid, "started": psutil.Process(process.pid).create_time()})
    server.wait_until_it_answers(process, port, f"in {log}")


def stop(folder: Path, values: dict[str, str]) -> int:
    if process := mlflow_process(folder):
        family = [process, *process.children(recursive=True)]  # its workers
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for member in family:
                with suppress(psutil.Error):
                    end(member)
            _, family = psutil.wait_procs(family, STOP_SECONDS)
    data = folder / "postgres"
    if (data / "postmaster.pid").exists():
        ended = postgres("pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
        if ended.returncode and "PID file" not in ended.stderr:
            raise UserError(f"PostgreSQL in {folder} does not stop ({last_line(ended.stderr)})")
    (folder / "server.json").unlink(missing_ok=True)
    print(f"{folder}: stopped; what it keeps is there for the next start")
    return 0


def status(folder: Path, values: dict[str, str]) -> int:
    """Exit status 0 where it answers, 3 where it does not."""
    if not mlflow_process(folder):
        print(f"{folder}: does not run")
        return 3
    well = server.answers(kept(folder)["port"])
    print(f"{folder}: {'runs at' if well else 'does not answer at'} {address(folder)}")
    return 0 if well else 3


def mlflow_process(folder: Path) -> psutil.Process | None:
    """MLflow's server, if it lives: another process may have its number after a restart."""
    known = kept(folder)
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["started"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    return None


def address(folder: Path) -> str:
    return f"http://{server.HOST}:{kept(folder)['port']}"


def kept(folder: Path) -> dict[str, Any]:
    try:
        known = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def keep(folder: Path, more: dict[str, Any]) -> None:
    with whole(folder / "server.json") as temporary:
        temporary.write_text(json.dumps(kept(folder) | more) + "\n")


def postgres(
    program: str, *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One of PostgreSQL's programs, as the user postgres where this one is root."""
    found = shutil.which(program) or next((str(path) for path in newest(program)), None)
    if found is None:
        raise UserError(f"{program}: not here; install PostgreSQL (Debian: apt-get install postgresql)")
    who = account()
    return subprocess.run(
        [found, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Started, it leaves a server behind that keeps the stream open: a pipe would never end.
        stderr=subprocess.DEVNULL if "start" in arguments else subprocess.PIPE,
        text=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"} | (environment or {}),
        cwd="/",
        user=who and who[0],
        group=who and who[1],
        extra_groups=[] if who else None,
    )


def newest(program: str) -> list[Path]:
    found = [path for path in INSTALLED.glob(f"*/bin/{program}") if path.parts[-3].isdecimal()]
    return sorted(found, key=lambda path: -int(path.parts[-3]))


def account() -> tuple[int, int] | None:
    """User and group that PostgreSQL runs as, where that is not this user. Raises UserError where there is none."""
    if os.geteuid():
        return None
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise UserError(
            "PostgreSQL refuses to run as root, and there is no user postgres; start it as another"
        ) from None
    return entry.pw_uid, entry.pw_gid


def owned(path: Path) -> None:
    if (who := account()) is None:
        return
    os.chown(path, *who)
    closed = [up for up in path.parents if not up.stat().st_mode & 0o001]
    if closed:
        raise UserError(f"{closed[-1]}: the user postgres may not enter it; name a folder elsewhere, or chmod o+x it")


def last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    console.run(main)
