"""What the project's source says that it imports, read from its text: lazy imports count, those for type checkers not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "hydra_plugins")


@dataclass(frozen=True)
class Import:
    """`by` says in line `line` that it needs `name`, a module where that is known, else what stands there."""

    by: str
    name: str
    line: int

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        return f"{path_of(self.by)}:{self.line} imports {self.name}"


@cache
def modules() -> dict[str, Path]:
    """Path by dotted name of every module of the project; a package stands for its __init__.py."""
    return {_name(path): path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))}


def _name(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(module: str) -> str:
    """As dvc.yaml writes it."""
    return modules()[module].relative_to(CHECKOUT).as_posix()


def room_of(module: str) -> str:
    """`pipeline.report.page` -> `report`; a module that lies in pipeline/ itself is its own name."""
    return module.split(".")[1]


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for module, path in modules().items() for found in read(module, path.read_text("utf-8")))


def read(module: str, text: str) -> list[Import]:
    """The imports in `text`, the source of `module`."""
    return [
        Import(module, name, node.lineno)
        for node in _statements(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _names(module, node)
    ]


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _statements(child)


def _names(module: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    source = node.module or ""
    if node.level:
        package = module.split(".") if modules()[module].name == "__init__.py" else module.split(".")[:-1]
        source = ".".join([*package[: len(package) - node.level + 1], *filter(None, [source])])
    names = [f"{source}.{alias.name}" for alias in node.names]
    # `from pipeline import console` names a module, `from pipeline.errors import UserError` something in one.
    return [name if name in modules() else source for name in names]


@cache
def needs(module: str) -> frozenset[str]:
    """The project's modules that importing and using `module` may load at once: those it names, and their packages."""
    own = _packages(module)
    named = {found.name for found in imports() if found.by == module and found.name in modules()}
    packages = {package for name in named for package in _packages(name)} - own
    return frozenset((named | packages) - {module})


def _packages(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))} & set(modules())


def closure(module: str) -> set[str]:
    """`module` and all of the project's modules that it needs, however indirectly; packages included."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting |= (needs(one) | _packages(one)) - found
    return found


def cycles() -> list[list[str]]:
    """Modules that need each other: each as the way round, shortest first."""
    return sorted((way for module in modules() if (way := _way_back(module)) and min(way) == module), key=len)


def _way_back(start: str) -> list[str]:
    ways = {start: [start]}
    waiting = [start]
    for one in waiting:
        for other in sorted(needs(one)):
            if other == start:
                return ways[one]
            if other not in ways:
                ways[other] = [*ways[one], other]
                waiting.append(other)
    return []
