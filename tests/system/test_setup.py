"""The lock files, `make setup`, `make run` without MNIST, and `make snapshot`.

A stub replaces uv and logs its arguments: a real environment takes minutes and needs a network.
"""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import environment, snapshot

CHECKOUT = Path(__file__).resolve().parent.parent.parent
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
LOCKS = [f"requirements{extra}.lock" for extra in ("", "-gpu", "-s3", "-dashboard", "-site")]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def entries(lock: str) -> list[str]:
    return environment.packages((CHECKOUT / lock).read_text())


# --- the lock files


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_a_version_and_a_hash(lock: str) -> None:
    pinned = r"[\w.-]+==\S+( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert [entry for entry in entries(lock) if not re.fullmatch(pinned, entry)] == []


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_the_lock_satisfies_pyproject(extra: str) -> None:
    locks = [lock for lock in LOCKS if lock in ("requirements.lock", f"requirements-{extra}.lock")]
    pinned = [re.match(r"([\w.-]+)==(\S+)", entry) for lock in locks for entry in entries(lock)]
    versions = [(canonicalize_name(match[1]), match[2]) for match in pinned if match]
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert any(n == name and requirement.specifier.contains(v, prereleases=True) for n, v in versions), requirement


def test_what_cites_the_project_has_its_version_and_licence() -> None:
    cited = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text("utf-8"))
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_site_has_every_page_in_its_menu() -> None:
    menu = re.findall(r'= "(\S+)\.md"', (CHECKOUT / "zensical.toml").read_text("utf-8"))
    patterns = ("*.md", "docs/*.md", "docs/*.ipynb", "docs/results/*.md")
    pages = [path for pattern in patterns for path in CHECKOUT.glob(pattern)]
    assert sorted(menu) == sorted(path.relative_to(CHECKOUT).with_suffix("").as_posix() for path in pages)


# --- the set-up


@dataclass
class Checkout:
    """A checkout in a path with a space and an accent; `bin` is the only folder on its PATH."""

    path: Path
    bin: Path

    def make(self, *words: str, status: int = 0) -> list[str]:
        """Run make; return the lines of stdout and stderr without make's own `***` error line."""
        own = {"PATH": str(self.bin), "HOME": str(self.bin), "LANG": "C.UTF-8"}
        done = subprocess.run(["make", *words], cwd=self.path, env=own, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return [line for line in (done.stdout + done.stderr).splitlines() if "***" not in line]

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def append(self, name: str, text: str) -> None:
        """Append to a file and date the stamp an hour back: file systems have coarse timestamps."""
        os.utime(self.stamp, (an_hour_ago := time.time() - 3600, an_hour_ago))
        with (self.path / name).open("a") as file:
            file.write(text)

    def asked(self) -> list[str]:
        """Return the uv commands logged since the last call."""
        log = self.bin / "asked"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if line != "--version"]

    @property
    def stamp(self) -> Path:
        return self.path / ".venv" / ".setup"


UV = """
echo "$*" >> "$HOME/asked"
case "$1-$2" in
    venv-*) mkdir -p .venv/bin && ln -sf {python} .venv/bin/python ;;
    pip-sync) if [ -e "$HOME/failure" ]; then cat "$HOME/failure" >&2; exit 1; fi ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "a b é" / "clone", tmp_path / "bin")
    shutil.copytree(CHECKOUT / "scripts", made.path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["Makefile", "pyproject.toml", *LOCKS]:
        shutil.copy(CHECKOUT / name, made.path / name)
        os.utime(made.path / name, (0, 0))
    (made.path / ".git").mkdir()
    made.bin.mkdir()
    for tool in ["sh", "make", "awk", "cat", "echo", "grep", "mkdir", "ln"]:
        (made.bin / tool).symlink_to(shutil.which(tool) or pytest.skip(f"no {tool} here"))
    made.program("python3", f'exec "{BASE_PYTHON}" "$@"')
    made.program("uv", UV.format(python=BASE_PYTHON))
    return made


def test_a_setup_installs_by_hash_and_the_next_ones_do_what_changed(checkout: Checkout) -> None:
    checkout.make("setup")
    venv, sync, project = checkout.asked()
    assert venv.startswith("venv ")
    assert sync == "pip sync --quiet --python .venv/bin/python --compile-bytecode --require-hashes requirements.lock"
    assert "--no-index" in project
    assert project.endswith("--editable .")
    assert checkout.make("setup") == ["make: Nothing to be done for 'setup'."]
    assert checkout.asked() == []
    checkout.append(LOCKS[0], "extra==1.0\n")
    checkout.make("setup")
    assert [line.split()[:2] for line in checkout.asked()] == [["pip", "sync"], ["pip", "install"]]


def test_the_lock_is_one_that_nfs_grants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS grants an exclusive lock only on a file that is open for writing."""

    def flock_of_nfs(file: IO[bytes], _: int) -> None:
        if not file.writable():
            raise OSError(errno.EBADF, "Bad file descriptor")

    for name in (environment.LOCK, "pyproject.toml"):
        (tmp_path / name).write_text("as before")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXTRAS", raising=False)
    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    monkeypatch.setattr(environment, "install", lambda *_: None)
    environment.setup()
    assert (tmp_path / environment.LOCK).read_text() == "as before"


def test_the_environment_of_another_checkout_is_not_replaced(checkout: Checkout) -> None:
    (other := checkout.path.parent / "other").mkdir()
    (checkout.path / ".venv").symlink_to(other)
    [line] = checkout.make("setup", status=2)
    assert line == f"error: .venv is a link to {other}, the environment of another checkout: remove the link"
    assert checkout.asked() == []


def test_an_extra_is_installed_and_remembered(checkout: Checkout) -> None:
    [line] = checkout.make("setup", "EXTRAS=gup", status=2)
    assert line == "error: EXTRAS=gup: expected gpu, s3, dashboard, jax, cluster or server"
    checkout.make("setup", "EXTRAS=gpu")
    assert checkout.asked()[1].endswith(" requirements-gpu.lock requirements.lock")
    checkout.append("pyproject.toml", "\n")
    checkout.make("setup")
    assert b"gpu" in checkout.stamp.read_bytes()


def test_an_interrupted_setup_is_started_afresh(checkout: Checkout) -> None:
    checkout.make("setup")
    checkout.append(LOCKS[0], "extra==1.0\n")
    (checkout.bin / "failure").write_text("error: No space left on device\n")
    said = checkout.make("setup", status=2)
    assert said[-2:] == ["error: No space left on device", "error: uv pip ended with status 1; it says why above"]
    assert not checkout.stamp.exists()
    (checkout.bin / "failure").unlink()
    checkout.asked()
    checkout.make("setup")
    assert checkout.asked()[0].startswith("venv ")
    assert checkout.stamp.exists()


def test_without_uv_the_setup_installs_it_in_a_folder_of_its_own(checkout: Checkout) -> None:
    """Stubs replace the pip in that folder and the uv that it installs."""
    uv = (checkout.bin / "uv").read_text()
    checkout.program("uv", "exit 127")  # a pyenv shim whose Python has no uv
    pip = f"""mkdir -p .uv/bin && cat > .uv/bin/uv <<'END'\n{uv}END\nchmod +x .uv/bin/uv"""
    python = f"""case "$*" in *venv*) mkdir -p .uv/bin && ln -s "$0" .uv/bin/python ;; *pip*) {pip}\n;; esac"""
    checkout.program("stand-in", python)
    (checkout.bin / "chmod").symlink_to(shutil.which("chmod") or "")
    script = checkout.path / "scripts" / "environment.py"
    text = script.read_text()
    script.write_text(text.replace('getattr(sys, "_base_executable", sys.executable)', f'"{checkout.bin}/stand-in"'))
    said = checkout.make("setup")
    assert said[0] == "installing uv into .uv"
    assert [line.split()[0] for line in checkout.asked()] == ["venv", "pip", "pip"]
    assert checkout.make("setup") == ["make: Nothing to be done for 'setup'."]


def test_a_python_that_will_not_do_is_refused_in_one_line_and_a_later_one_found(checkout: Checkout) -> None:
    checkout.program("python3", 'case "$2" in *print*) echo 3.9.18 ;; *) exit 1 ;; esac')
    [line] = checkout.make("setup", status=2)
    assert line.startswith("error: Python 3.11, 3.12 or 3.13 is needed (python3 is 3.9.18)")
    [line] = checkout.make("setup", "PYTHON=python9", status=2)
    assert "(no python9 here)" in line
    checkout.program("python3.12", f'exec "{BASE_PYTHON}" "$@"')
    checkout.program("python3", "exit 127")  # a pyenv shim whose version is not installed
    checkout.make("setup")
    assert checkout.stamp.exists()


# --- without git


DVC = """#!/bin/sh
echo "$*" >> "$HOME/told"
printf '[core]\\nno_scm = true\\n' >> .dvc/config.local
"""


@pytest.mark.fault("no git repository")
def test_dvc_is_told_once_where_git_is_missing(checkout: Checkout) -> None:
    """In a git repository nothing is printed or written."""
    local = checkout.path / ".dvc" / "config.local"
    local.parent.mkdir()
    checkout.make("setup")
    assert not local.exists()
    (checkout.path / ".git").rmdir()
    (checkout.path / ".venv" / "bin" / "dvc").write_text(DVC)
    (checkout.path / ".venv" / "bin" / "dvc").chmod(0o755)
    said = [checkout.make("setup"), checkout.make("setup", "EXTRAS=s3")]
    assert "no git repository here" in said[0][-1]
    assert (checkout.bin / "told").read_text() == "config --quiet --local core.no_scm true\n"


# --- make run

FETCH = """
import pathlib, sys
if sys.argv[1] == "mnist" and not pathlib.Path("mirror").exists():
    sys.exit(print("error: what to do, at length\\nsecond line", file=sys.stderr) or 4)
pathlib.Path("data").mkdir(exist_ok=True)
pathlib.Path("data/raw").write_text(sys.argv[1])
"""
COMPARE = """
import pathlib
pathlib.Path("reports").mkdir(exist_ok=True)
pathlib.Path("reports/index.html").write_text(pathlib.Path("data/raw").read_text())
"""
DVC_YAML = """
stages:
  fetch:
    cmd: python fetch.py ${dataset}
    deps: [fetch.py]
    outs: [data/raw]
  compare:
    cmd: python compare.py
    deps: [data/raw, compare.py]
    outs: [reports/index.html]
"""
PARAMS = "dataset: mnist  # which one\nother: 1\n"


@pytest.mark.fault("git status after a run")
def test_run_without_mnist_says_so_in_one_line_and_goes_on_with_digits(tmp_path: Path) -> None:
    clone = tmp_path / "a b é" / "clone"
    shutil.copytree(CHECKOUT / "scripts", clone / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / ".dvc").mkdir()
    for name in [".dvc/config", ".dvc/.gitignore", ".dvcignore"]:
        shutil.copy(CHECKOUT / name, clone / name)
    made = {"fetch.py": FETCH, "compare.py": COMPARE, "dvc.yaml": DVC_YAML, "params.yaml": PARAMS}
    for name, text in {**made, ".gitignore": "/data\n/mirror\n"}.items():
        (clone / name).write_text(text)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}  # no git identity
        return subprocess.run(command, cwd=clone, env={**os.environ, **home}, capture_output=True, text=True)

    run("git", "init", "--quiet")
    assert run("git", "add", "--all").returncode == 0
    reports = clone / "reports"
    (reports / "figures").mkdir(parents=True)
    for name in ("tuned.csv", "figures/old.png"):
        (reports / name).write_text("made before")
    done = run(sys.executable, "scripts/run.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if "cannot be downloaded" in line] == [
        "note: mnist cannot be downloaded (nothing here, no mirror answers); going on with dataset=digits"
    ]
    assert (reports / "index.html").read_text() == "digits"
    assert (clone / "params.yaml").read_text() == PARAMS
    assert run("git", "diff").stdout == ""
    assert not (clone / "dvc.lock").exists()
    left = sorted(path.name for path in reports.iterdir())
    assert left == ["index.html", "tuned.csv"], "a table of another command stays, figures of an earlier report do not"

    (clone / "mirror").touch()
    assert run(sys.executable, "scripts/run.py").returncode == 0
    assert (reports / "index.html").read_text() == "mnist", "with a network the next run goes back to MNIST by itself"


# --- make snapshot


def test_a_snapshot_is_of_mnist_and_takes_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table, kept = Path("reports/tuned.csv"), Path("docs/results/tuned.csv")
    table.parent.mkdir()
    kept.parent.mkdir(parents=True)
    table.write_text("dataset\ndigits\n")
    assert (snapshot.main(), kept.exists()) == (2, False)
    told = "error: reports/tuned.csv is on digits; expected mnist, which README.md is about\n"
    assert capsys.readouterr().err == told
    table.write_text("dataset\nmnist\n")
    assert (snapshot.main(), kept.read_text()) == (0, table.read_text())
    assert "docs/results/comparison.csv stays as it is: reports/comparison.csv is not here" in capsys.readouterr().out
