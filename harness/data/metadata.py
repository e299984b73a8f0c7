"""Reads `metadata.csv`, which lists the pictures of a folder: file_name, label, and split if it likes."""

import csv
import os
from pathlib import Path
from typing import NamedTuple

from harness.data.decoded import DataError

NAME = "metadata.csv"
_NEEDED = ("file_name", "label")


class Row(NamedTuple):
    """A picture: its path from the table's folder, its class, and its split if the table has that column."""

    file_name: str
    label: str
    split: str | None


def read(path: Path) -> list[Row]:
    """Reads the rows of a table.

    Raises:
      DataError: if it cannot be read, lacks a column or a value, names no file, or lists a picture twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if absent := [column for column in _NEEDED if column not in (table.fieldnames or ())]:
                raise DataError(f"{path} has no column {' and no '.join(absent)}, only "
                                f"{', '.join(table.fieldnames or ()) or 'nothing'}; it needs file_name and label, and "
                                "may have split")
            if twice := [column for column in (*_NEEDED, "split") if (table.fieldnames or []).count(column) > 1]:
                raise DataError(f"{path} has the column {twice[0]} twice; keep one")
            rows = [_row(path, table.line_num, values) for values in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8 ({error})") from error
    named: set[str] = set()
    for row in rows:
        if (listed := os.path.normpath(row.file_name)) in named:
            raise DataError(f"{path} lists {listed} twice; a picture has one class and one split")
        named.add(listed)
    return rows


def _row(path: Path, line: int, values: dict[str, str | None]) -> Row:
    columns = [column for column in (*_NEEDED, "split") if column in values]
    if empty := [column for column in columns if not (values[column] or "").strip()]:
        raise DataError(f"{path}, line {line}: {empty[0]} is empty")
    file_name, label, *split = ((values[column] or "").strip() for column in columns)
    if Path(file_name).name in ("", "..") or "\0" in file_name:
        raise DataError(f"{path}, line {line}: file_name {file_name!r} names no file")
    return Row(file_name, label, split[0] if split else None)
