"""Files that are whole or absent: written to a temporary name and renamed, read with one line for what is wrong."""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.records.configs import as_json

REMEDY = "move the run's folder away to have it trained again"


class RecordError(Exception):
    """A record that cannot be read or may not be written; the message is one line."""


def write_atomic(path: pathlib.Path, content: bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def json_bytes(value: Any) -> bytes:
    """Writes JSON as all files here have it."""
    return (json.dumps(as_json(value), indent=1, allow_nan=False) + "\n").encode()


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads an npz file; raises what numpy does where it is missing or damaged."""
    # numpy leaves a file that it opened itself open if it is damaged.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def read_json(path: pathlib.Path, required: Iterable[str]) -> dict[str, Any]:
    """Reads an object that has the required names.

    Raises:
      RecordError: naming the file and what is wrong with it.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}; {REMEDY}") from None
    lacking = [name for name in required if not isinstance(value, dict) or name not in value]
    if lacking:
        raise RecordError(f"{path} lacks {', '.join(lacking)}; {REMEDY}")
    return value
