"""Copies of the user's code beside the results, one folder for each state of it, so that every record finds its own."""

import hashlib
import json
import pathlib
from collections.abc import Mapping

from harness.records.files import write_atomic


def keep(folder: pathlib.Path, sources: Mapping[str, bytes]) -> None:
    """Keeps the files that an ablation is written in; copies of other states stay.

    Args:
      folder: of the ablation's results.
      sources: path -> content.
    """
    place = _place(folder, {name: hashlib.sha256(content).hexdigest() for name, content in sources.items()})
    for name, content in sources.items():
        write_atomic(place / name, content)


def kept(folder: pathlib.Path, sources: Mapping[str, str]) -> pathlib.Path:
    """Locates the copy of a record's code, whether or not there is one.

    Args:
      folder: of the ablation's results.
      sources: path -> sha256, as a record states them.
    """
    place = _place(folder, sources)
    return place if place.is_dir() else place.parent  # earlier launches kept one state, without a folder of its own


def _place(folder: pathlib.Path, sources: Mapping[str, str]) -> pathlib.Path:
    return folder / "sources" / hashlib.sha256(json.dumps(sorted(sources.items())).encode()).hexdigest()[:16]
