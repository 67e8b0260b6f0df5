"""Which store: the project's own SQLite file, a server, or none; and what of its address may be shown."""

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
from pipeline.config import rules

SQLITE, SERVER, NONE = "sqlite", "server", "none"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
_SQLITE_PREFIX = re.compile(r"sqlite(?:\+\w+)?:///")


@dataclass(frozen=True)
class Address:
    kind: str
    uri: str = ""
    database: Path | None = None
    """The file, for SQLite."""
    artifacts: Path | None = None
    """Where new experiments keep files and models; None where the server decides."""
    lock: Path = Path()
    """Held while the store is made and while something is written: SQLite has no queue of its own."""

    @property
    def shown(self) -> str:
        return redact(self.uri)

    @property
    def name(self) -> str:
        """What a run folder calls this store: no secret, and the same when the checkout moves."""
        if self.database is None:
            return self.shown.rstrip("/")
        project = home().absolute()
        within = self.database.is_relative_to(project)
        return str(self.database.relative_to(project) if within else self.database)


def redact(uri: str) -> str:
    """`uri` without user, password and options: what may stand in a log."""
    return conceal(uri, uri)


def conceal(text: str, uri: str) -> str:
    """`text`, a library's message, without the secrets of `uri` in it."""
    parts = urlsplit(uri)
    options = [value for _, value in parse_qsl(parts.query)]
    for secret in (parts.netloc.rpartition("@")[0], parts.query, parts.password or "", *options):
        for form in {secret, unquote(secret)} - {""}:
            text = text.replace(form, "***")
    return text


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """The project whose store is meant: `dvc exp run --temp` and `--queue` run in a temporary clone, and DVC_ROOT
    names the repository that it was cloned from."""
    return Path(environment.get("DVC_ROOT") or PROJECT)


def configured() -> tuple[str, str | None]:
    """The kind of store and its address as `conf/` has them, for a command that composes no configuration."""
    from pipeline.config.compose import composed  # Hydra

    [settings] = composed([[]])
    return settings["tracking"]["kind"], settings["tracking"]["uri"]


def resolve(
    kind: str, uri: str | None, root: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Address:
    """The address that `tracking=<kind>` means here. Raises UserError where it means none."""
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
            raise UserError("tracking=server: no address; set tracking.uri=http://HOST:PORT or MLFLOW_TRACKING_URI")
        return _sqlite(base / DATABASE)
    source = "MLFLOW_TRACKING_URI" if inherited else "tracking.uri"
    if prefix := _SQLITE_PREFIX.match(named):
        # A relative path means what MLflow makes of it in the variable, and the project in the configuration.
        return _sqlite((Path.cwd() if inherited else base) / named[prefix.end() :])
    if urlsplit(named).scheme in ("http", "https"):
        return Address(SERVER, named, lock=base / f"{DATABASE}.lock")
    raise UserError(f"{source}={redact(named)}: expected sqlite:////absolute/path.db or http(s)://HOST:PORT")


def _sqlite(database: Path) -> Address:
    database = Path(os.path.abspath(database))
    # SQLAlchemy reads `?` as the start of options and unquotes `%41`, MLflow does neither: two places for one store.
    if bad := re.search(r"\?|%[0-9A-Fa-f]{2}", str(database)):
        raise UserError(f"{database}: MLflow cannot keep a store in a path with {bad[0]!r} in it; rename the folder")
    lock = database.with_name(f"{database.name}.lock")
    return Address(SQLITE, f"sqlite:///{database}", database, database.parent / ARTIFACTS, lock)


# --- passwords: in the environment, never in a word or a file that Hydra copies beside every run


def redact_credential(override: str) -> str:
    """The word without the password that a tracking address may hold, which goes where MLflow's own words look for it.

    Hydra writes every word beside every run, and a run's record and tags have the command in them.
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
