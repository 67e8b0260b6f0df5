"""The source code in a run's key: the modules that its trainer imports, as syntax trees."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.models import custom_code
from pipeline.storage import identity, source_code
from pipeline.storage.identity import source_digest, sources

ENGINE = {"trainer": "engine", "backend": "tensorflow"}
STACKED = {"trainer": "engine", "backend": "jax"}
REFERENCE = {"trainer": "reference", "backend": "jax"}

FILES = {
    "data/arrays.py": "SIZE = 8\n",
    "data/sources.py": "DATASETS = ['mnist']\n",
    "models/dense.py": "from . import initial\n\ndef units():\n    return 512\n",
    "models/initial.py": "LIMIT = 0.05\n",
    "models/types.py": "Shape = tuple\n",
    "training/engine.py": (
        "from typing import TYPE_CHECKING\n"
        "from pipeline.config import rules\n"
        "if TYPE_CHECKING:\n    from pipeline.models import types\n"
        "def train():\n    from pipeline.models import dense\n    return dense.units()\n"
    ),
    "training/reference.py": "import pipeline.data.arrays\n",
    "config/rules.py": "from pipeline.data import sources\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "pipeline"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def digest_of(package: Path, numerics: dict[str, str] = ENGINE) -> str:
    source_code.reached.cache_clear()
    source_code.read.cache_clear()
    return source_digest(numerics, package)


# --- which modules


def test_a_trainer_reaches_what_it_imports_inside_functions_too(package: Path) -> None:
    assert list(sources(ENGINE, package)) == ["models/dense.py", "models/initial.py", "training/engine.py"]
    assert list(sources(REFERENCE, package)) == ["data/arrays.py", "training/reference.py"]


@pytest.mark.parametrize("name", ["data/sources.py", "models/types.py", "models/new.py", "training/reference.py"])
def test_a_module_that_nobody_reaches_changes_no_key(package: Path, name: str) -> None:
    before = digest_of(package)
    (package / name).write_text("CHANGED = True\n")
    assert digest_of(package) == before


def test_a_file_edited_meanwhile_changes_neither_the_digest_nor_the_list(package: Path) -> None:
    """A run's key is made before it trains, its record afterwards."""
    before = source_digest(ENGINE, package)
    (package / "training/engine.py").write_text("EDITED = 'while a run trains'\n")
    assert source_digest(ENGINE, package) == identity.digest(sources(ENGINE, package)) == before


@pytest.mark.parametrize(
    ("numerics", "without"),
    [(ENGINE, {"reference", "stacked"}), (STACKED, {"engine", "reference"}), (REFERENCE, {"engine", "stacked"})],
)
def test_the_modules_of_this_project(numerics: dict[str, str], without: set[str]) -> None:
    found = sources(numerics)
    named = {"training/splits.py", "training/outcome.py", "models/dense.py", "models/optimizers.py"}
    assert named <= found.keys()
    assert not {*(f"training/{name}.py" for name in without), "data/arrays.py", "data/sources.py"} & found.keys()


# --- the digest of a module

PLAIN = """
from dataclasses import dataclass

@dataclass
class Layer:
    units: int = 512
    def size(self, by=1, *, more=None, **rest):
        if self.units > 1 and more:
            return [x ** -2 for x in range(by)], f"{self.units:>{by}} and {more!r}", {**rest, "a": b"b"}
        return 1e-7
"""


def say(text: str) -> str:
    return source_code.parse(text).digest


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "# a comment\n" + text.replace("512", "512  # units"),
        lambda text: '"""A module."""\n' + text.replace("512\n", '512\n    """Units of a layer."""\n'),
        lambda text: text.replace("more=None, **rest):", 'more=None, **rest):\n        """A size."""'),
        lambda text: text.replace("    ", "  ").replace(", ", ",\t").replace("\n\n", "\n\n\n"),
        lambda text: text.replace('"a"', "u'a'").replace("1e-7", "0.0000001").replace("> 1", "> 0x1"),
        lambda text: text.replace("self.units > 1 and more", "((self.units > 1) and (more))"),
        lambda text: text.replace('f"{self.units:>{by}} and {more!r}"', 'f"{self.units:>{by}}" " and " f"{more!r}"'),
    ],
    ids=["comments", "docstrings", "docstring of a function", "layout", "spelling", "parentheses", "pieces of strings"],
)
def test_what_says_the_same_has_the_same_digest(edit: Callable[[str], str]) -> None:
    assert edit(PLAIN) != PLAIN
    assert say(edit(PLAIN)) == say(PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("512", "513"),
        ("1e-7", "1e-8"),
        ("> 1", "> 1.0"),
        ("> 1", ">= 1"),
        ("{**rest", "{'': rest"),
        ("!r", "!s"),
        ("@dataclass\n", ""),
        ("return 1e-7", "1e-7"),
    ],
)
def test_what_says_something_else_has_another_digest(old: str, new: str) -> None:
    assert PLAIN.count(old) >= 1
    assert say(PLAIN.replace(old, new)) != say(PLAIN)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_python_gives_the_same_digests(version: str, tmp_path: Path) -> None:
    """Compares every module here, and syntax that releases are known to parse differently."""
    found = _python(version)
    if found is None:
        pytest.skip(f"no Python {version} here")
    odd = tmp_path / "odd.py"
    odd.write_text(
        "x = f'{{{a}}}' f'' 'b' f'{c:}{d=}{e:{f}{f}g}' f'{h!r:>{i}}'\n"
        "def generic(a, /, *b): return lambda: (yield)\n"
        "with (open(a) as b, c): del b[1:, ...]\n"
        "match a:\n    case {'b': None, **c} | [1, *_]: pass\n"
    )
    files = [*(path for room in source_code.DECIDING for path in (PROJECT / "pipeline" / room).glob("*.py")), odd]
    script = (
        "import sys; from pathlib import Path; from pipeline.storage.source_code import parse\n"
        "for name in sys.argv[1:]: print(parse(Path(name).read_bytes()).digest)"
    )
    command = [found, "-c", script, *map(str, files)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [source_code.parse(path.read_bytes()).digest for path in files]


def _python(version: str) -> str | None:
    """Return an interpreter of that version, from the PATH or pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))):
        with_version = f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
        try:
            if subprocess.run([candidate, "-c", with_version], capture_output=True, timeout=60).returncode == 0:
                return candidate
        except OSError:
            continue
    return None


# --- the sources in a record


def test_a_record_is_compared_with_the_files_that_are_here() -> None:
    now = sources(ENGINE)
    assert identity.changed_sources(now, ENGINE) == []
    changed = {**now, "models/dense.py": "0" * 64, "models/gone.py": "1" * 64}
    del changed["models/initial.py"]
    expected = ["models/dense.py", "models/gone.py", "models/initial.py"]
    assert identity.changed_sources(changed, ENGINE) == expected


def test_code_of_one_s_own_that_its_module_lacks_is_refused_before_anything_trains(tmp_path: Path) -> None:
    (tmp_path / "my_networks.py").write_text("from pipeline.models import dense\n\ndef build():\n    return dense\n")
    with pytest.raises(UserError, match=r"my_networks\.py has no bulid \(did you mean 'build'\?\)"):
        sources_of("my_networks.bulid", tmp_path)
    assert list(sources_of("my_networks.build", tmp_path)) == ["../my_networks.py"]


def sources_of(name: str, checkout: Path) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(custom_code, "PROJECT", checkout)
        return source_code.of_custom_code(name, checkout)
