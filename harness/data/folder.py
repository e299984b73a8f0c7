"""Pictures in folders as a data set: which file is of which split and class, and their decoding in parallel."""

import concurrent.futures
import dataclasses
import difflib
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ablations.own_data import FITS, ImageFolder
from harness.data import layout, resize, splits, stratified
from harness.data.decoded import DataError, Decoded, changed
from harness.records.files import in_home

_NAMED = 10  # bad files that a message lists
_MOST_READERS = 16
_LEFT_OUT = "pictures that cannot be read, left out"


class Arranged(NamedTuple):
    """The files of a set, as they are decoded.

    Attributes:
      files: split -> files, those of train in an order by a constant.
      labels: split -> int32 [example].
      warnings: what a reader of the results must know of the folder as it is now.
      notes: what the one who launches should know.
    """

    name: str
    class_names: tuple[str, ...]
    files: dict[str, list[Path]]
    labels: dict[str, np.ndarray]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def readers() -> int:
    """Counts the threads that read pictures: no more than the cores that this process may use, and no more than 16.

    A thread holds a picture in full, and copies of it while it is turned upright and converted.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _MOST_READERS)


def rule(config: ImageFolder) -> resize.Rule:
    """Gives the rule by which the pictures of a folder are read."""
    return resize.Rule(config.size, config.channels, config.fit)


def arrange(config: ImageFolder) -> Arranged:
    """Lists the files of a set and sets a test split aside where it has none.

    Raises:
      DataError: if the folder is not there, or does not hold what a set needs.
    """
    root = in_home(config.path)
    name = f"folder:{layout.class_named(root.resolve().name)}"
    found = layout.read(root)
    class_names = _classes(config, name, root, found.classes)
    wanted = set(class_names)
    kept = [file for file in found.files if file.label in wanted]
    listed = {split or "train": [file for file in kept if file.split == split]
              for split in dict.fromkeys(file.split for file in kept)}
    for split in ("train", *found.splits):
        if split not in listed:
            raise DataError(f"{name}: {split} has no pictures in class folders; put them there"
                            + (f", or take {split}/ away" if split != "train" else ""))
    notes = [f"{f'{split}: ' if files[0].split else ''}Found {len(files):,} files belonging to {len(class_names)} "
             "classes." for split, files in listed.items()]
    if others := [label for label in found.classes if label not in wanted]:
        notes.append(f"Left out, as class_names says: {', '.join(others)}.")
    told = list(found.warnings)
    if "test" not in listed:
        everything = listed["train"]
        labels = _numbers(everything, class_names)
        test = splits.set_aside(name, labels)
        listed = {"train": [everything[i] for i in stratified.held_out(labels, test)],
                  "test": [everything[i] for i in test]} | {s: f for s, f in listed.items() if s != "train"}
        told.append(splits.told_set_aside(len(test)))
        notes.append(f"Using {len(listed['train']):,} files of train for training, {len(test):,} for testing.")
    listed["train"] = [listed["train"][i] for i in stratified.mixed(len(listed["train"]))]
    return Arranged(name, class_names, {split: [file.path for file in files] for split, files in listed.items()},
                    {split: _numbers(files, class_names) for split, files in listed.items()}, tuple(told),
                    (*notes, *found.notes))


def identity(config: ImageFolder, arranged: Arranged) -> list[object]:
    """Tells a changed set, or another form of it, from the one before: by file names, sizes and times of change."""
    files = [[split, str(path), int(label), *_changed(path)] for split, paths in arranged.files.items()
             for path, label in zip(paths, arranged.labels[split], strict=True)]
    root = str(in_home(config.path).resolve())
    return [root, dataclasses.asdict(rule(config)), arranged.class_names, files]


def suits(config: ImageFolder, decoded: Decoded, *, skip_unreadable: bool) -> bool:
    """Whether arrays that were kept are what decoding would give: what they lack is still to be left out.

    A file may be read again that has not changed: after a failure of the disk, or where it was not allowed.
    """
    if not any(line.startswith(f"{decoded.name}: {_LEFT_OUT}") for line in decoded.warnings):
        return True
    if not skip_unreadable or not decoded.left_out:  # which files they were was once not kept
        return False
    again = _read(decoded.name, {"again": list(map(Path, decoded.left_out))}, rule(config))
    return all(isinstance(one, DataError) for one in again["again"])


def decode(config: ImageFolder, arranged: Arranged, *, skip_unreadable: bool) -> Decoded:
    """Reads all pictures of a set.

    Args:
      skip_unreadable: leaves bad files out and counts them, instead of refusing the set.

    Raises:
      DataError: if files cannot be read, naming up to ten, or the pictures would not fit the memory.
    """
    name, total = arranged.name, sum(map(len, arranged.files.values()))
    shape = (*config.size, config.channels)
    splits.check_memory(f"{name}: {total:,} pictures of {' x '.join(map(str, shape))}", 2 * total * math.prod(shape),
                        "give a smaller size to ImageFolder")  # twice: they are gathered, then joined
    read = _read(name, arranged.files, rule(config))
    bad = sorted(str(one) for pictures in read.values() for one in pictures if isinstance(one, DataError))
    if bad and not skip_unreadable:
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise DataError(f"{len(bad)} of {total:,} pictures of {name} cannot be read: {'; '.join(bad[:_NAMED])}{more}. "
                        "Mend or remove them, or leave them out with --skip_unreadable")
    good = {split: [one for one in pictures if not isinstance(one, DataError)] for split, pictures in read.items()}
    arrays = {}
    for split, pictures in good.items():
        whole = np.array([not isinstance(one, DataError) for one in read[split]], bool)
        images = np.stack([one.pixels for one in pictures]) if pictures else np.zeros((0, *shape), np.uint8)
        arrays[split] = images, arranged.labels[split][whole]
    told = _told([one for pictures in good.values() for one in pictures])
    if bad:
        told.append(f"{_LEFT_OUT}: {len(bad)} of {total:,}")
    left_out = tuple(str(path) for split, paths in arranged.files.items()
                     for path, one in zip(paths, read[split], strict=True) if isinstance(one, DataError))
    return dataclasses.replace(splits.assembled(name, "folder", arranged.class_names, arrays, told), left_out=left_out)


def describe(config: ImageFolder) -> str:
    """Says what the pictures of a folder become."""
    height, width = config.size
    others = ", ".join(f'"{fit}"' for fit in FITS if fit != config.fit)
    return (f'Pictures become {height} x {width} x {config.channels} with fit="{config.fit}"; '
            f"ImageFolder's size=, channels= and fit= ({others}) say otherwise.")


def _classes(config: ImageFolder, name: str, root: Path, found: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(map(layout.class_named, config.class_names))
    for asked in names:
        if asked not in found:
            close = difflib.get_close_matches(asked, found, 1)
            raise DataError(f'{name}: class_names has "{asked}", and {root} has no such class'
                            + (f'; did you mean "{close[0]}"?' if close else f"; it has {', '.join(found[:50])}"))
    if len(found) == 1:
        raise DataError(f"{name}: {root} has one class, {found[0]}, which leaves nothing to tell apart"
                        + (f"; did you mean {root / found[0]}?" if (root / found[0]).is_dir() else ""))
    splits.check_classes(name, names or found)
    return names or found


def _numbers(files: Sequence[layout.Listed], class_names: tuple[str, ...]) -> np.ndarray:
    number = {label: index for index, label in enumerate(class_names)}
    return np.array([number[file.label] for file in files], np.int32)


def _changed(path: Path) -> tuple[int, ...]:
    """Gives what a file is known by; zeros where there is nothing to read, which decoding will say."""
    try:
        return changed(path)
    except OSError:
        return 0, 0, 0


def _read(name: str, files: Mapping[str, Sequence[Path]], form: resize.Rule
          ) -> dict[str, list[resize.Read | DataError]]:
    """Reads pictures in parallel; a file that cannot be read gives its error."""

    def one(path: Path) -> resize.Read | DataError:
        try:
            return resize.read(path, form)
        except DataError as error:
            return error

    pool = concurrent.futures.ThreadPoolExecutor(readers())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on odd EXIF data and large pictures: what matters is an error
        try:
            return {split: list(tqdm(pool.map(one, paths), total=len(paths), desc=f"decoding {name} {split}",
                                     mininterval=1, delay=1)) for split, paths in files.items()}
        finally:
            pool.shutdown(cancel_futures=True)


def _told(read: Sequence[resize.Read]) -> list[str]:
    return [f"{what}: {count} of {len(read):,}" for kind, what in (
        ("is_transparent", "pictures with transparent pixels, laid on white"),
        ("is_animated", "files of several frames or pages, of which the first is taken"),
        ("is_dark", "16-bit pictures that use less than a sixteenth of their range, whose high byte is taken all the "
                    "same: little is left of them, so store them as 8 bits"))
        if (count := sum(getattr(one, kind) for one in read))]
