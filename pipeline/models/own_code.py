"""Code of one's own, named in a configuration by its import path: networks, optimizers, losses, schedules, metrics."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError


def load(name: str, key: str) -> Any:
    """What the import path `name` (`my_networks.residual`) leads to. Raises UserError; `key` says which value named it.

    The checkout is where modules are looked for first.
    """
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] in sys.stdlib_module_names:
        # A record may come from elsewhere, and is trained again by what it names.
        raise UserError(f"{key}={name}: expected a module of your own, not one of Python's")
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise UserError(f"{key}={name}: {module} has no {attribute}") from None
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(f"{key}={name}: no module {error.name} in {PROJECT}, and none is installed") from None
        raise UserError(f"{key}={name}: {module} cannot be imported ({error})") from error
    except Exception as error:
        raise UserError(f"{key}={name}: {module} cannot be imported ({type(error).__name__}: {error})") from error


def file_of(name: str) -> tuple[Path, Path] | None:
    """The folder from which the module of the import path `name` is imported, and its file; None where there is none.

    Nothing is imported: that may take seconds, and start a backend.
    """
    place = Path(*name.split(".")[:-1])
    for root in (PROJECT, *map(Path, sys.path)):
        for file in (root / place.with_suffix(".py"), root / place / "__init__.py"):
            if file.is_file():
                return root, file
    return None
