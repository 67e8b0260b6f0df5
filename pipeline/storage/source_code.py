"""Digests of the source code that decides the numbers of a run: the modules that its trainer imports.

A module's digest covers its syntax tree without docstrings. Comments and layout do not change it, and Python 3.11, 3.12 and 3.13
give the same digest.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.models import custom_code

DECIDING = ("data", "models", "training")
"""Rooms whose source decides the numbers of a run."""
IGNORED = ("ctx", "kind", "type_comment")
"""Fields of syntax nodes that follow from other fields, or from how a string is written."""


@dataclass(frozen=True)
class Module:
    """A source file that has been parsed."""

    digest: str
    """sha256 (hex) of the syntax tree."""
    imports: frozenset[str]
    """Full names of its imports, inside functions too, except those under `if TYPE_CHECKING`."""
    names: frozenset[str]
    """All names that it defines, assigns or imports, at any level; `*` for `import *`."""


@cache
def reached(entry: str, package: Path) -> dict[str, str]:
    """Return the digests of `entry` and of all modules that it imports, directly or not, within the rooms DECIDING.

    `entry` and the keys are paths in `package`, such as "training/engine.py". The `__init__.py` of a room counts, since
    importing a module runs it. Only import statements are followed, not `importlib`. Raises FileNotFoundError, SyntaxError.
    """
    name = package.name
    found = _follow(f"{name}/{entry}", package.parent, lambda parts: parts[0] == name and parts[1] in DECIDING)
    return {path.removeprefix(f"{name}/"): digest for path, digest in found.items()}


@cache
def of_custom_code(name: str, checkout: Path) -> dict[str, str]:
    """Return the digests of the module of an import path such as `my_networks.residual`, and of the modules it imports.

    Imports of a module in the checkout are followed within the checkout, except to rooms that decide no numbers; the keys are
    paths from `pipeline/`, such as "../my_networks.py". Imports of an installed module are followed within its package. Raises
    FileNotFoundError for a missing module, UserError if a module of the checkout lacks the attribute, SyntaxError.
    """
    found_at = custom_code.file_of(name)
    if found_at is None:
        raise FileNotFoundError(f"{name}: no module {name.rpartition('.')[0]} in {checkout}, and none is installed")
    root, file = found_at
    entry, own = file.relative_to(root).as_posix(), name.split(".")[0]
    if root != checkout:
        return {
            f"installed:{path}": digest for path, digest in _follow(entry, root, lambda parts: parts[0] == own).items()
        }
    attribute, bound = name.rpartition(".")[2], read(file).names
    if not bound & {attribute, "*", "__getattr__"}:
        raise UserError(f"{name}: {entry} has no {attribute}{nearest(attribute, bound)}")
    found = _follow(entry, root, lambda parts: parts[0] != "pipeline" or parts[1] in DECIDING)
    return {
        path.removeprefix("pipeline/") if path.startswith("pipeline/") else f"../{path}": digest
        for path, digest in found.items()
    }


def _follow(entry: str, root: Path, follows: Callable[[Sequence[str]], bool]) -> dict[str, str]:
    """Return the digests of `entry` and its imports; `follows` gets the parts of a path below `root`, and returns if it counts."""
    found: dict[str, str] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name not in found:
            module = read(root / name)
            found[name] = module.digest
            waiting += [path for path in _files(name, module, root) if follows([*Path(path).parts, ""])]
    return dict(sorted(found.items()))


@cache
def read(path: Path) -> Module:
    """Parse a file once per process: it may change between the making of a key and the run's record."""
    return parse(path.read_bytes(), path.name)


def parse(text: bytes | str, name: str = "<module>") -> Module:
    """Return the module of a source text. Raises SyntaxError, or ValueError for null bytes."""
    tree = ast.parse(text, name)
    parts: list[str] = []
    _write(tree, parts)
    return Module(
        hashlib.sha256("".join(parts).encode()).hexdigest(), frozenset(_imports(tree)), frozenset(_names(tree))
    )


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]


def _write(value: object, parts: list[str]) -> None:
    """Append a text that is equal for two syntax trees only if they mean the same.

    It omits None and empty lists, since newer releases of Python add fields that are mostly empty.
    """
    if isinstance(value, ast.AST):
        parts.append(type(value).__name__ + "(")
        for field in value._fields:
            content = getattr(value, field, None)
            if isinstance(value, ast.JoinedStr):
                content = _joined(value.values)
            if content is not None and content != [] and field not in IGNORED:
                parts.append(field + "=")
                _write(content, parts)
        parts.append(")")
    elif isinstance(value, list):
        parts.append("[")
        for item in value:
            if not _is_bare_string(item):
                _write(item, parts)
                parts.append(",")
        parts.append("]")
    else:
        parts.append(ascii(value))


def _is_bare_string(node: object) -> bool:
    """Return whether a statement is only a string: the docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string with adjacent literals joined: releases of Python split them differently."""
    joined: list[ast.expr] = []
    for part in parts:
        if isinstance(part, ast.Constant) and joined and isinstance(joined[-1], ast.Constant):
            joined[-1] = ast.Constant(joined[-1].value + part.value)  # type: ignore[operator]
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            joined.append(part)
    return joined


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the names of imported modules, also `package.name` of `from package import name`. Relative ones keep their dots."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        yield base
        yield from (f"{base}{'.' if node.module else ''}{alias.name}" for alias in node.names)
    else:
        children = node.orelse if _is_for_types(node) else ast.iter_child_nodes(node)  # type: ignore[attr-defined]
        for child in children:
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                yield from _imports(child)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def _files(importer: str, module: Module, root: Path) -> Iterator[str]:
    """Yield the paths below `root` of what `importer` imports, with the `__init__.py` of each package."""
    here = ".".join(Path(importer).parts[:-1])
    for name in module.imports:
        parts = (resolve_name(name, here) if name.startswith(".") else name).split(".")
        packages = [Path(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)]
        for path in (Path(*parts).with_suffix(".py"), *packages):
            if (root / path).is_file():
                yield path.as_posix()
