"""The address of the MLflow store (the project's SQLite file, a server, or none), and the passwords in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError, redact_credentials
from pipeline.cli.formatting import nearest
from pipeline.config import machine, rules

SQLITE, SERVER, NONE = "sqlite", "server", "none"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
_SQLITE_PREFIX = re.compile(r"sqlite(?:\+\w+)?:///")


@dataclass(frozen=True)
class Address:
    kind: str
    uri: str = ""
    database: Path | None = None
    """The SQLite file."""
    artifacts: Path | None = None
    """Artifact folder of new experiments; None if the server decides."""
    lock: Path = Path()
    """Lock file for creating the store and writing to it: SQLite does not queue writers."""

    @property
    def shown(self) -> str:
        return redact(self.uri)

    @property
    def name(self) -> str:
        """The store's name in run folders: without secrets, and unchanged when the checkout moves."""
        if self.database is None:
            return self.shown.rstrip("/")
        project = home().absolute()
        within = self.database.is_relative_to(project)
        return str(self.database.relative_to(project) if within else self.database)


def redact(uri: str) -> str:
    """Return `uri` without user, password and options, safe to log."""
    return conceal(uri, uri)


def conceal(text: str, uri: str) -> str:
    """Return `text`, such as a library's message, without the secrets of `uri`."""
    parts = urlsplit(uri)
    options = [value for _, value in parse_qsl(parts.query)]
    for secret in (parts.netloc.rpartition("@")[0], parts.query, parts.password or "", *options):
        for form in {secret, unquote(secret)} - {""}:
            text = text.replace(form, "***")
    return text


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the project that holds the store: `dvc exp run --temp` and `--queue` run in a temporary clone, and DVC_ROOT
    names the original repository."""
    return Path(environment.get("DVC_ROOT") or PROJECT)


def runs_folder(named: str) -> Path:
    """Return the store of runs: the folder `named`, or `paths.runs` of `conf/` if that is empty."""
    return home() / (named or machine.runs())


def resolve(
    kind: str, uri: str | None, root: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Address:
    """Return the address for `tracking=<kind>`. Raises UserError if it is invalid."""
    if kind not in (SQLITE, SERVER, NONE):
        near = nearest(kind, (SQLITE, SERVER, NONE))
        raise UserError(f"tracking={kind}: expected {SQLITE}, {SERVER} or {NONE}{near}")
    if kind == NONE:
        return Address(NONE)
    base = (root or home(environment)).absolute()
    inherited = environment.get("MLFLOW_TRACKING_URI", "").strip()
    named = inherited or (uri or "").strip()
    if not named:
        if kind == SERVER:
            raise UserError(
                "tracking=server: no address; set MLFLOW_TRACKING_URI=http://HOST:PORT"
                " (pipeline.train also takes tracking.uri=http://HOST:PORT)"
            )
        return _sqlite(base / DATABASE)
    if prefix := _SQLITE_PREFIX.match(named):
        # Relative to the working directory in the variable, as in MLflow, and to the project in `tracking.uri`.
        return _sqlite((Path.cwd() if inherited else base) / named[prefix.end() :])
    if urlsplit(named).scheme in ("http", "https"):
        return Address(SERVER, named, lock=base / f"{DATABASE}.lock")
    variable = "MLFLOW_TRACKING_URI=" if inherited else ""
    raise UserError(f"{variable}{redact(named)}: expected sqlite:////absolute/path.db or http(s)://HOST:PORT")


def _sqlite(database: Path) -> Address:
    database = Path(os.path.abspath(database))
    # SQLAlchemy reads `?` as the start of options and unquotes `%41`; MLflow does neither and would use another path.
    if bad := re.search(r"\?|%[0-9A-Fa-f]{2}", str(database)):
        raise UserError(f"{database}: MLflow cannot keep a store in a path with {bad[0]!r} in it; rename the folder")
    lock = database.with_name(f"{database.name}.lock")
    return Address(SQLITE, f"sqlite:///{database}", database, database.parent / ARTIFACTS, lock)


# --- passwords: only in the environment, since Hydra copies overrides and configuration files to every run


def redact_credential(override: str) -> str:
    """Return the override without the password of a tracking address, and move that address to MLFLOW_TRACKING_URI.

    Hydra saves the overrides with every run, and a run's record and tags contain the command.
    """
    key, _, value = override.partition("=")
    if key.lstrip("+") != "tracking.uri":
        return override
    uri = value.strip("'\"")
    shown = redact(uri)
    if shown == uri or "${" in uri:
        return override
    if not os.environ.get("MLFLOW_TRACKING_URI", "").strip():
        os.environ["MLFLOW_TRACKING_URI"] = uri
    return f"{key}='{shown}'"


def refuse_written_logins() -> None:
    """Raise UserError if a file of conf/tracking/ or conf/local/ holds a password."""
    for path in [path for group in ("tracking", "local") for path in sorted((rules.CONF / group).glob("*.yaml"))]:
        text = path.read_text(encoding="utf-8")
        if redact_credentials(text) != text:
            raise UserError(
                f"conf/{path.parent.name}/{path.name}: holds a password, which Hydra would copy beside every run; "
                "set MLFLOW_TRACKING_URI to that address instead"
            )
