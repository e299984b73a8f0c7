"""Reads `.npz` files as Keras has them: x_train, y_train, x_test, y_test, and x_val, y_val if they are there.

The validation split may have any name that a folder's may; what other arrays there are is told and not used.

Nothing in a file is executed, and its headers are held against the memory that is free before anything is unpacked.
"""

import dataclasses
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from harness.data import splits
from harness.data.decoded import DataError, Decoded, changed
from harness.data.layout import SPLIT_WORDS
from harness.data.splits import Splits
from harness.records.files import refuse_pointer

_NEEDED = ("x_train", "y_train", "x_test", "y_test")
_VALIDATION = [word for word, split in SPLIT_WORDS.items() if split == "validation"]


def identity(path: Path) -> list[object]:
    """Tells a changed file from the one before.

    Raises:
      DataError: if it is not there.
    """
    if not path.is_file():
        where = "" if path.is_absolute() else f", looked for in {Path.cwd()}"
        raise DataError(f"the file {path} does not exist{where}")
    return [str(path.resolve()), *changed(path)]


def decode(name: str, path: Path) -> Decoded:
    """Reads a file.

    Raises:
      DataError: if it is damaged, does not fit the memory, or has not the arrays that it should have.
    """
    try:
        refuse_pointer(path)
        with zipfile.ZipFile(path) as archive:
            there = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if absent := [array for array in _NEEDED if array not in there]:
                raise DataError(f"{path} lacks {', '.join(absent)}; it has {', '.join(sorted(there)) or 'nothing'}")
            words = [word for word in _VALIDATION if {f"x_{word}", f"y_{word}"} & there.keys()]
            if len(words) > 1:
                raise DataError(f"{path} has {len(words)} validation splits, named {' and '.join(words)}; keep one")
            wanted = [*_NEEDED, *(f"{kind}_{word}" for word in words for kind in "xy")]
            if absent := [array for array in wanted if array not in there]:
                raise DataError(f"{path} has {wanted[wanted.index(absent[0]) ^ 1]} without {absent[0]}; store both, or "
                                "neither to have validation images taken from train")
            needed = sum(_announced(path, archive, there[array]) for array in wanted)
        # Twice: train is put into another order.
        splits.check_memory(str(path), 2 * needed, "store fewer or smaller images")
        with np.load(path, allow_pickle=False) as file:
            arrays = {array: file[array] for array in wanted}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as an .npz file ({' '.join(str(error).split())[:200]})") from error
    pairs = [(arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test", *words)]
    made = splits.decoded(name, "npz", Splits(*pairs))
    if unused := sorted(there.keys() - arrays.keys()):
        told = f"{name}: arrays that are not used: {', '.join(unused)}"
        return dataclasses.replace(made, warnings=(*made.warnings, told))
    return made


def _announced(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Reads how many bytes an array has by its header; it must be what the archive says."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise DataError(f"{path}: {Path(entry.filename).stem} holds Python objects, which are not read; store "
                            "an array of numbers")
        if file.tell() + size != entry.file_size:
            raise DataError(f"{path}: {Path(entry.filename).stem} announces {size:,} bytes but holds "
                            f"{entry.file_size - file.tell():,}; write the file again")
    return size
