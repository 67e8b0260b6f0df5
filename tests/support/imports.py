"""The project's imports, read with grimp. Imports inside functions count; those only for type checking do not."""

from functools import cache
from pathlib import Path

import grimp

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("pipeline", "hydra_plugins")


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


@cache
def modules() -> dict[str, Path]:
    """Map each of the project's modules to its file."""
    files = [path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]
    names = [path.relative_to(CHECKOUT).with_suffix("").as_posix().replace("/", ".") for path in files]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, files, strict=True)}


def path_of(module: str) -> str:
    return modules()[module].relative_to(CHECKOUT).as_posix()


def closure(module: str) -> set[str]:
    """Return the project's modules that run when `module` is imported: itself, its imports, and their packages."""
    found = {module, *(name for name in graph().find_upstream_modules(module) if name in modules())}
    above = {".".join(name.split(".")[:depth]) for name in found for depth in range(1, name.count(".") + 1)}
    return found | (above & modules().keys())


COMMANDS = sorted(
    name
    for name, path in modules().items()
    if name.startswith("pipeline.") and 'if __name__ == "__main__"' in path.read_text("utf-8")
)
