"""Custom networks, optimizers, losses, schedules and metrics, which a configuration names by import path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError


def load(name: str, key: str) -> Any:
    """Return the object at the import path `name`, such as `my_networks.residual`; the checkout is searched first.

    Raises UserError, which names the configuration key `key`.
    """
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] in sys.stdlib_module_names:
        # A record from someone else must not call the standard library when it is trained again.
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
    """Return the folder from which the module of the import path `name` is imported, and its file; None if there is none.

    Nothing is imported, since that may take seconds and start a backend.
    """
    module = Path(*name.split(".")[:-1])
    for root in (PROJECT, *map(Path, sys.path)):
        for file in (root / module.with_suffix(".py"), root / module / "__init__.py"):
            if file.is_file():
                return root, file
    return None
