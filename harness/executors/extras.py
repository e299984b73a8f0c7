"""Imports what comes with an extra of pyproject.toml when it is asked for, and says in one line where it is missing."""

import importlib
from typing import Any


class MissingExtraError(Exception):
    """A package that an extra would have installed; the message is one line."""


def needed(package: str, extra: str, by: str) -> Any:
    """Imports a package.

    Args:
      by: the flag that asks for it.

    Raises:
      MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(f"{by} needs {package}, which is not installed: pip install -c "
                                f"constraints.txt -e '.[{extra}]'") from None
