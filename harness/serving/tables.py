"""Predictions as text: rows for a terminal, CSV and JSON files."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence

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


def rows(found: Sequence[Prediction]) -> Iterable[str]:
    """Gives a line for each picture: file, then label and probability of each rank; a bad file has none of these."""
    texts = [[shown(one.name), *(part for label, score in one.ranked for part in (printable(label), f"{score:.4f}"))]
             for one in found]
    columns = max(map(len, texts), default=0)
    widths = [min(_WIDEST, max(cell_len(text[column]) for text in texts if column < len(text)))
              for column in range(columns)]
    for text in texts:
        padded = (part + " " * (width - cell_len(part)) for part, width in zip(text, widths, strict=False))
        yield "  ".join(padded).rstrip()


def as_csv(found: Iterable[Prediction], topk: int) -> str:
    """Writes `filename,label,prob`, or `filename,label_1,prob_1,...` of several ranks; `true_label` if any is known."""
    found = list(found)
    truths = any(one.truth is not None for one in found)
    ranks = [("label", "prob")] if topk == 1 else [(f"label_{rank}", f"prob_{rank}") for rank in range(1, topk + 1)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["filename", *(name for rank in ranks for name in rank), *["true_label"] * truths])
    for one in found:
        cells = [value for label, score in one.ranked for value in (label, f"{score:.6f}")]
        table.writerow([readable(one.name), *cells, *[""] * (2 * len(ranks) - len(cells)),
                        *[one.truth or ""] * truths])
    return text.getvalue()


def as_json(found: Iterable[Prediction]) -> str:
    """Writes a list of {"filename", "predictions": [{"label", "prob"}]}, with "true_label" and "error" where known."""
    return json.dumps([
        {"filename": readable(one.name), "predictions": [{"label": label, "prob": round(score, 6)}
                                                         for label, score in one.ranked]}
        | ({"true_label": one.truth} if one.truth is not None else {}) | ({"error": one.error} if one.error else {})
        for one in found], indent=1, ensure_ascii=False) + "\n"
