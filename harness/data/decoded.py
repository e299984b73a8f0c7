"""The decoded arrays of a data set: what every source hands over, how they are checked, and their cache on disk.

Each source builds a `Decoded`; `harness.data` keeps it with `cached`.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import filelock
import numpy as np

from harness.data import verified
from harness.records.files import opened_atomic

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_OWN_VALIDATION = ("validation_images", "validation_labels")  # of sets that have such a split
_MANIFEST = "manifest.json"
_FORMAT = 3  # raise it when decoding changes, so that no older cache is read


class DataError(Exception):
    """Says in one line what is wrong with a data set and what to do; the command line prints it and stops."""


@dataclasses.dataclass(frozen=True)
class Decoded:
    """The arrays of a data set, in stored order, before any validation split is taken from train.

    Attributes:
      train_images, test_images: uint8 (N, H, W, C).
      train_labels, test_labels: int32 (N,), each in [0, len(class_names)).
      validation_images, validation_labels: as these; None where the set has no such split of its own.
      source: "archives", "prepared", "tensorflow", "bundled", "folder", "npz" or "object".
      warnings: what a reader of the results must know.
      left_out: files that could not be read.

    Raises:
      DataError: if an array has another form, or images and labels do not belong together.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    validation_images: np.ndarray | None = None
    validation_labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for split in ("train", "test") if self.validation_images is None else ("train", "validation", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            if images.dtype != np.uint8 or images.ndim != 4:
                raise DataError(f"{self.name}: {split} images are {images.dtype} {images.shape}, not uint8 NHWC")
            if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
                raise DataError(f"{self.name}: {len(images)} {split} images but labels {labels.dtype} {labels.shape}")
            if not len(labels):
                raise DataError(f"{self.name}: {split} has no examples")
            if labels.min() < 0 or labels.max() >= len(self.class_names):
                raise DataError(
                    f"{self.name}: {split} labels span {labels.min()}..{labels.max()}, "
                    f"outside 0..{len(self.class_names) - 1}"
                )
            if self.train_images.shape[1:] != images.shape[1:]:
                raise DataError(
                    f"{self.name}: train images are {self.train_images.shape[1:]} but {split} images {images.shape[1:]}"
                )

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names the arrays that there are."""
        return ARRAYS if self.validation_images is None else ARRAYS + _OWN_VALIDATION

    def pixels(self) -> str:
        """Gives the sha256 over all arrays (contents, shapes and dtypes)."""
        return _combined([verified.sha256(getattr(self, array)) for array in self.arrays])


def changed(path: Path) -> tuple[int, int, int]:
    """Gives what tells a changed file from the one before: its size, when it changed, in ns, and its place on the disk.

    A copy may keep the former two, and two files that change names do.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def cached(folder: Path, decode: Callable[[], Decoded], tell: Callable[[str], None] = print,
           suits: Callable[[Decoded], bool] = lambda decoded: True) -> tuple[Decoded, str]:
    """Opens the arrays kept in `folder`; decodes and keeps them first if they are not there or not what was kept.

    Safe when several processes ask for the same folder at once: one decodes, the others wait for it.

    Args:
      tell: is given a line where what was kept has changed and is made anew.
      suits: whether arrays that were kept will do; others are made anew in their place.

    Returns:
      The arrays, memory-mapped read-only, and the sha256 over all of them (contents, shapes and dtypes).

    Raises:
      DataError: from `decode`, or if the folder cannot be written.
    """
    if (kept := _open(folder)) and suits(kept[0]):
        return kept
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(folder.name + ".lock")):
            if (kept := _open(folder)) and suits(kept[0]):
                return kept
            if folder.exists() and not kept:
                tell(f"warning: decoded arrays in {folder} are not what was kept there; they are decoded again")
            _keep(decode(), folder)
            kept = _open(folder)
    except OSError as error:
        raise DataError(
            f"cannot keep decoded arrays in {folder.parent} ({error.strerror or error}); "
            "set XDG_CACHE_HOME to a folder with room that can be written"
        ) from error
    if kept is None:
        raise DataError(f"decoded arrays written to {folder} cannot be read back; is the disk full or failing?")
    return kept


def _open(folder: Path) -> tuple[Decoded, str] | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["format"] != _FORMAT:
            return None
        arrays = {array: np.load(_file(folder, array), mmap_mode="r") for array in manifest["sha256"]}
        decoded = Decoded(manifest["name"], manifest["source"], tuple(manifest["class_names"]), **arrays,
                          warnings=tuple(manifest.get("warnings", ())), left_out=tuple(manifest.get("left_out", ())))
        if not verified.are_intact(folder, folder / _MANIFEST, manifest, arrays):
            return None
        return decoded, _combined([manifest["sha256"][array] for array in decoded.arrays])
    except Exception:  # damaged JSON or a damaged header, of which numpy raises many kinds: made anew
        return None


def _keep(decoded: Decoded, folder: Path) -> None:
    """Writes beside `folder` and renames at the end; the caller holds the lock, so nobody else is at the same part."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        for array in decoded.arrays:
            with opened_atomic(_file(part, array)) as file:
                np.save(file, getattr(decoded, array))
        arrays = {array: getattr(decoded, array) for array in decoded.arrays}
        verified.write_json(part / _MANIFEST, verified.sealed({
            "format": _FORMAT, "name": decoded.name, "source": decoded.source, "class_names": decoded.class_names,
            "warnings": decoded.warnings, "left_out": decoded.left_out, **verified.facts(part, arrays)}))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _file(folder: Path, array: str) -> Path:
    return folder / f"{array}.npy"


def _combined(sha256: Iterable[str]) -> str:
    return hashlib.sha256("".join(sha256).encode()).hexdigest()
