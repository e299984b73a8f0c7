"""What lies where in a folder of pictures: splits, classes, files; in sub-folders or listed by a `metadata.csv`.

Split folders have the words of Hugging Face's imagefolder and of timm; `eval` means test to the one and validation to
the other, and is refused.
"""

import collections
import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.data import metadata
from harness.data.decoded import DataError

# Source: datasets/data_files.py of Hugging Face and timm/data/dataset_factory.py.
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_TWO_MEANINGS = ("eval", "evaluation")
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_OF_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "recycler",
               "system volume information", "@eadir", "#recycle")
_LAYOUTS = "a folder for each class, such as cat/1.jpg, below train/ and test/ if there are splits, or a metadata.csv"


class Listed(NamedTuple):
    """A picture file, its class and its split; no split where the folder has none."""

    path: Path
    label: str
    split: str | None


class Layout(NamedTuple):
    """What a folder holds.

    Attributes:
      files: in the order of their paths.
      classes: sorted over all splits, also those without a picture.
      splits: that there are folders for, with or without pictures.
      warnings: what a reader of the results must know.
      notes: what the one who launches should know.
    """

    files: list[Listed]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def read(root: Path) -> Layout:
    """Lists the pictures of a folder.

    Raises:
      DataError: if it is not there, cannot be read, or is not laid out as a set of pictures.
    """
    if not root.is_dir():
        where = "" if root.is_absolute() else f", looked for in {Path.cwd()}"
        raise DataError(f"the folder of pictures {root} {'is no folder' if root.exists() else 'does not exist'}{where}")
    try:
        found = _listed(root)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read ({error.strerror or error})") from error
    if not found.files:
        raise DataError(f"{root} has no pictures where they are looked for ({', '.join(SUFFIXES)} in {_LAYOUTS})"
                        + "".join(f"; {warning}" for warning in found.warnings))
    return found


def pictures(root: Path) -> tuple[list[Path], dict[str, int]]:
    """Lists every picture below a folder once, in whatever folders, and how many files of other suffixes there are.

    Raises:
      DataError: if a folder cannot be read.
    """
    walk = _Walk([root])
    try:
        return list(walk.pictures(root)), dict(walk.others)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read ({error.strerror or error})") from error


def labels(root: Path, files: Iterable[Path]) -> dict[Path, str]:
    """Tells the classes of pictures found below a folder as `read` does, without looking at the folder again.

    Args:
      files: as `pictures` lists them.

    Raises:
      DataError: if a `metadata.csv` cannot be read.
    """
    below = {file: file.relative_to(root).parts for file in files}
    folders = dict.fromkeys(root / parts[0] for parts in below.values() if len(parts) > 1)
    found: dict[Path, str] = {}
    # Which split is which, and whether there are enough of them, matters to nobody here.
    for level in folders if _are_splits(folders) and not (root / metadata.NAME).is_file() else [root]:
        depth = len(level.relative_to(root).parts)
        if (level / metadata.NAME).is_file():
            found |= {level / row.file_name: class_named(row.label) for row in metadata.read(level / metadata.NAME)}
        else:
            found |= {file: class_named(parts[depth]) for file, parts in below.items()
                      if len(parts) > depth + 1 and file.is_relative_to(level)}
    return found


def splits_of(folders: Collection[Path], root: Path) -> dict[str, Path]:
    """Reads sub-folders as splits if all of them have the names of splits: split -> folder.

    Raises:
      DataError: if a name has two meanings, two names mean the same, or there is no split to train on.
    """
    if not _are_splits(folders):
        return {}
    found: dict[str, Path] = {}
    for folder in folders:
        split = split_named(folder.name, f"{root}")
        if split in found:
            raise DataError(f"{root}: {found[split].name}/ and {folder.name}/ both mean {split}; keep one of them")
        found[split] = folder
    if "train" not in found:
        raise DataError(f"{root} has {', '.join(f'{folder.name}/' for folder in folders)} but no train/")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _are_splits(folders: Collection[Path]) -> bool:
    return bool(folders) and all(folder.name.casefold() in (*SPLIT_WORDS, *_TWO_MEANINGS) for folder in folders)


def split_named(word: str, where: str) -> str:
    """Gives the split that a word names.

    Raises:
      DataError: if it names none, or one of two.
    """
    if word.casefold() in _TWO_MEANINGS:
        raise DataError(f'{where}: "{word}" means test to some and validation to others; name it test or validation')
    if word.casefold() not in SPLIT_WORDS:
        raise DataError(f'{where}: "{word}" is no split; there are train, validation and test')
    return SPLIT_WORDS[word.casefold()]


def class_named(name: str) -> str:
    """Gives a class's name as it is kept: composed Unicode, as not every system stores it, and never undecodable."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _listed(root: Path) -> Layout:
    folders = _folders(root)
    table = root / metadata.NAME
    listed = metadata.read(table) if table.is_file() else None
    if listed is not None:  # what else lies there, as the pictures' sources, is no split and makes no class
        folders = list(dict.fromkeys(root / parts[0] for row in listed
                                     if len(parts := Path(os.path.normpath(row.file_name)).parts) > 1))
    rows_tell = listed is not None and any(row.split for row in listed)
    splits = {} if rows_tell else splits_of(folders, root)
    levels: dict[str | None, Path] = {None: root}
    if splits:
        levels = dict(splits.items())
    walk = _Walk([root, *levels.values(), *(one for level in levels.values() for one in _folders(level))])
    files: list[Listed] = []
    classes: set[str] = set()
    loose: list[str] = []
    for split, level in levels.items() if listed is None else {None: root}.items():
        if listed is not None or (level / metadata.NAME).is_file():
            rows = metadata.read(level / metadata.NAME) if listed is None else listed
            named = [Listed(level / row.file_name, class_named(row.label), _split_of(row, split, level, splits))
                     for row in rows]
            given = {os.path.realpath(one.path) for one in named}
            loose += [path.name for path in _Walk([level]).pictures(level) if os.path.realpath(path) not in given]
            files += sorted(named, key=lambda one: one.path.parts)
            classes |= {one.label for one in named}
            continue
        loose += [entry.name for entry in _entries(level) if _is_picture(entry) and not _is_folder(entry)]
        for folder in _folders(level):
            classes.add(label := class_named(folder.name))
            files += [Listed(path, label, split) for path in walk.pictures(folder)]
    taken_for = "classes" if listed is None else "no splits"
    warnings = [] if splits or rows_tell else _mixed_levels(folders, root, taken_for)
    if listed is not None:
        warnings += _passed_over(root, folders)
    if loose:
        warnings.append(f"pictures of no class, left out: {len(loose)}, the first is {class_named(loose[0])}")
    if walk.repeated:
        warnings.append(f"links to pictures that are listed already, left out: {walk.repeated}")
    others = ", ".join(f"{count} {class_named(suffix) or 'without suffix'}"
                       for suffix, count in sorted(walk.others.items()))
    notes = [f"Left out are files of other kinds: {others}."] if others else []
    return Layout(files, tuple(sorted(classes)), tuple(splits), tuple(warnings), tuple(notes))


def _split_of(row: metadata.Row, split: str | None, level: Path, splits: dict[str, Path]) -> str | None:
    """Takes a listed picture's split from its row, else from the folder that it lies in."""
    if row.split is not None:
        return split_named(row.split, f"{level / metadata.NAME}, {row.file_name}")
    return split or (split_named(Path(row.file_name).parts[0], str(level / metadata.NAME)) if splits else None)


def _passed_over(root: Path, listed: list[Path]) -> list[str]:
    """Warns of folders with the name of a split and with pictures, which the table does not list."""
    return [f"{folder.name}/ has the name of a split and {metadata.NAME} lists nothing in it: its pictures are left out"
            for folder in _folders(root) if folder not in listed
            and folder.name.casefold() in (*SPLIT_WORDS, *_TWO_MEANINGS) and any(_Walk([folder]).pictures(folder))]


def _mixed_levels(folders: list[Path], root: Path, taken_for: str) -> list[str]:
    """Warns where some folders have the names of splits but others beside them have none.

    One alone may be a class, as of vehicles; but that has pictures and no folders of them.
    """
    words = [folder for folder in folders if folder.name.casefold() in SPLIT_WORDS]
    others = [folder.name for folder in folders if folder not in words]
    several = len({SPLIT_WORDS[folder.name.casefold()] for folder in words}) > 1
    if not several and not any(any(_Walk([one]).pictures(one)) for folder in words for one in _folders(folder)):
        return []
    return [f"taken for {taken_for}: {', '.join(folder.name for folder in words)} in {root}, because {others[0]}/ "
            "beside is no split; where splits are meant, name it as one or move it elsewhere"]


class _Walk:
    """Walks folders and takes every picture once, however many links lead to it.

    Attributes:
      others: suffix -> how many files are no pictures by their name.
      repeated: how many pictures were met again.
    """

    def __init__(self, folders: Iterable[Path]):
        # A link to one of these is not followed, so that no class takes in its neighbours and no loop goes on.
        self._seen = {os.path.realpath(folder) for folder in folders}
        self.others: collections.Counter[str] = collections.Counter()
        self.repeated = 0

    def pictures(self, folder: Path) -> Iterator[Path]:
        within = os.path.realpath(folder)
        for entry in _entries(folder):
            real = os.path.realpath(entry.path) if entry.is_symlink() else f"{within}{os.sep}{entry.name}"
            if not _is_folder(entry) and not _is_picture(entry):
                self.others[Path(entry.name).suffix.lower()] += 1
            elif real in self._seen:
                self.repeated += not _is_folder(entry)
            else:
                self._seen.add(real)
                if _is_folder(entry):
                    yield from self.pictures(Path(entry.path))
                else:
                    yield Path(entry.path)


def _folders(folder: Path) -> list[Path]:
    """Lists folders by name, without links to others of them: each class stands once, by its own name."""
    found = [entry for entry in _entries(folder) if _is_folder(entry)]
    real = {os.path.realpath(entry.path) for entry in found if not entry.is_symlink()}
    return [Path(entry.path) for entry in found if not entry.is_symlink() or os.path.realpath(entry.path) not in real]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Lists what is in a folder by name, without what is hidden or an operating system's own."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if entry.name[0] != "." and entry.name.casefold() not in _OF_SYSTEMS]
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Asked of a link that leads to itself, the entry would raise.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return entry.name.casefold().endswith(SUFFIXES)
