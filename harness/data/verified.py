"""Whether kept arrays are still what was kept: by a hash where their files are not the ones that were looked at last.

A file that has another size, time of change or inode than was noted is hashed again as a whole; if it is the same, the
new ones are noted.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import write_atomic


def sha256(array: np.ndarray) -> str:
    """Hashes an array's content, shape and dtype."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def facts(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """States what arrays in a folder are, for the JSON file beside them: "sha256" and "files"."""
    return {"sha256": {name: sha256(array) for name, array in arrays.items()}, "files": _files(folder, arrays)}


def sealed(about: Mapping[str, Any]) -> dict[str, Any]:
    """Adds a hash over what a JSON file states, but for the files' times, which may change."""
    return {**about, "seal": _seal(about)}


def are_intact(folder: Path, json_file: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays and what is stated of them are as they were kept.

    Args:
      json_file: what states it, brought up to date where files have been copied or touched.
      about: its content. One of an earlier version that has no hashes is believed, and gets them.
    """
    if about.get("seal", own := _seal(about)) != own:
        return False
    now = _files(folder, arrays)
    if about.get("files") == now:
        return True
    found = {name: sha256(array) for name, array in arrays.items()}
    if about.get("sha256", found) != found:
        return False
    with contextlib.suppress(OSError):  # a folder that may only be read is hashed each time
        write_json(json_file, sealed({**about, "sha256": found, "files": now}))
    return True


def write_json(path: Path, about: Mapping[str, Any]) -> None:
    """Writes what is stated of arrays."""
    write_atomic(path, (json.dumps(about, indent=1) + "\n").encode())


def _seal(about: Mapping[str, Any]) -> str:
    fixed = {name: value for name, value in about.items() if name not in ("files", "seal")}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def _files(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    found = {name: (folder / f"{name}.npy").stat() for name in arrays}
    return {name: [file.st_size, file.st_mtime_ns, file.st_ino] for name, file in found.items()}
