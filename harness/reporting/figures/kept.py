"""Pictures that are there already: drawn again only where what they show or what draws them has changed."""

import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from harness.records.folder import Folder
from harness.reporting.figures import fonts
from harness.reporting.figures.style import Picture

NAME = "pictures.json"
_FILES = ("plan.json", "runs/*/record.json", "runs/*/curve.csv", "runs/*/*.npz")
_ROOMS = ("records", "analysis", "reporting")
_DRAWING = ("matplotlib", "numpy", "pandas", "pillow", "scipy", "textalloc")


def inputs(folder: Folder) -> str:
    """Gives a digest of all that pictures depend on: what runs left behind, the code, the libraries and the fonts."""
    digest = hashlib.sha256()
    for name in _DRAWING:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    digest.update(repr(fonts.families()).encode())
    house = pathlib.Path(__file__).parents[2]
    sources = [path for room in _ROOMS for path in sorted((house / room).rglob("*.py"))]
    for root, paths in ((house, sources), (folder.path, [path for name in _FILES
                                                         for path in sorted(folder.path.glob(name))])):
        for path in paths:
            own = folder.digests.get(path) or _digest(path.read_bytes())
            digest.update(f"{path.relative_to(root)} {own}\n".encode())
    return digest.hexdigest()


def note(digest: str, files: Mapping[str, bytes]) -> bytes:
    """States what pictures were drawn from, and their own digests."""
    own = {name: _digest(content) for name, content in files.items() if content}
    return (json.dumps({"inputs": digest, "files": own}, indent=1) + "\n").encode()


def pictures(folder: Folder, digest: str, *, pdf: bool) -> dict[str, Picture]:
    """Reads the pictures that were drawn from the same and have not been touched since, by name.

    Args:
      folder: where they lie.
      digest: of what they are to be drawn from.
      pdf: whether those for print are read, too.
    """
    noted = _noted(folder.path / NAME)
    if noted.get("inputs") != digest or not isinstance(own := noted.get("files"), dict):
        return {}
    lying = {path.name: path.read_bytes() for kind in ("png", "pdf") for path in folder.path.glob(f"*.{kind}")}
    found = {name: content for name, content in lying.items() if own.get(name) == _digest(content)}
    return {pathlib.Path(name).stem: Picture(content, found.get(f"{pathlib.Path(name).stem}.pdf") if pdf else None)
            for name, content in found.items() if name.endswith(".png")}


def as_they_are(folder: Folder) -> dict[str, Picture]:
    """Reads the pictures that lie in a folder, whatever they were drawn from."""
    return {path.stem: Picture(path.read_bytes(), None) for path in sorted(folder.path.glob("*.png"))}


def _noted(path: pathlib.Path) -> dict[str, Any]:
    try:
        noted = json.loads(path.read_text())
    except (OSError, ValueError):  # as if there were none
        return {}
    return noted if isinstance(noted, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
