"""Predictions as text, one after another: rows for a terminal, CSV and JSON files."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Protocol

from rich.cells import cell_len

from harness.records.text import printable
from harness.serving.pictures import Prediction

_WIDEST = 48  # longer names go on and push their row's columns along


def shown(name: str) -> str:
    """Writes a file's name so that any terminal and any UTF-8 file can hold it, in one line."""
    return printable(readable(name))


def readable(name: str) -> str:
    """Writes a file's name in Unicode, with escapes for what is none."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Rows:
    """Gives a line for each picture: file, then label and probability of each rank; a bad file has none of these."""

    def __init__(self, names: Iterable[str], class_names: Sequence[str]):
        """Makes the columns as wide as the names of all files and classes need."""
        self._file = _widest(map(shown, names))
        self._label = _widest(map(printable, class_names))

    def row(self, one: Prediction) -> str:
        """Writes the line of a picture."""
        ranks = "  ".join(f"{_padded(printable(label), self._label)}  {score:.4f}" for label, score in one.ranked)
        return f"{_padded(shown(one.name), self._file)}  {ranks}".rstrip()


class Output(Protocol):
    """A file that pictures are written into as they come."""

    def add(self, one: Prediction) -> None:
        """Takes the next picture."""

    def end(self) -> None:
        """Takes note that there are no more."""


class Csv:
    """Writes `filename,label,prob`, or `filename,label_1,prob_1,...` of several ranks."""

    def __init__(self, file: BinaryIO, topk: int, *, with_truth: bool):
        """Writes the heading.

        Args:
          with_truth: whether there is a column `true_label`.
        """
        self._file, self._cells, self._with_truth = file, 2 * topk, with_truth
        ranks = [""] if topk == 1 else [f"_{rank}" for rank in range(1, topk + 1)]
        self._write(["filename", *(f"{name}{rank}" for rank in ranks for name in ("label", "prob")),
                     *["true_label"] * with_truth])

    def add(self, one: Prediction) -> None:
        """Writes the row of a picture; a bad file has no labels."""
        cells = [value for label, score in one.ranked for value in (label, f"{score:.6f}")]
        self._write([readable(one.name), *cells, *[""] * (self._cells - len(cells)),
                     *[one.truth or ""] * self._with_truth])

    def end(self) -> None:
        """Needs nothing more."""

    def _write(self, cells: Sequence[str]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._file.write(text.getvalue().encode())


class Json:
    """Writes a list of {"filename", "predictions": [{"label", "prob"}]}, with "true_label" and "error" where known."""

    def __init__(self, file: BinaryIO):
        self._file, self._is_empty = file, True
        file.write(b"[")

    def add(self, one: Prediction) -> None:
        """Writes the object of a picture."""
        told = {"filename": readable(one.name),
                "predictions": [{"label": label, "prob": round(score, 6)} for label, score in one.ranked],
                **({"true_label": one.truth} if one.truth is not None else {}),
                **({"error": readable(one.error)} if one.error else {})}
        text = json.dumps(told, indent=1, ensure_ascii=False).replace("\n", "\n ")
        self._file.write(f"{'' if self._is_empty else ','}\n {text}".encode())
        self._is_empty = False

    def end(self) -> None:
        """Ends the list."""
        self._file.write(b"]\n" if self._is_empty else b"\n]\n")


def _widest(texts: Iterable[str]) -> int:
    return min(_WIDEST, max(map(cell_len, texts), default=0))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
