"""A run's learning curve: how it is read, and what of it must fit the run's record."""

import csv
import io
import itertools
import math
import pathlib

import numpy as np
import pandas as pd

from harness.records.files import Digests, content
from harness.records.reading import FormError
from harness.records.record import RunRecord

CURVE_COLUMNS = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
REMEDY = "the run counts without its curve; put a copy in its place, or move the run's folder away to train it again"
# What a curve's text may lose of a number.
_ROUNDING = 1e-6


def read(path: pathlib.Path, digests: Digests | None = None) -> pd.DataFrame:
    """Reads a curve, with `CURVE_COLUMNS`; every number as it was written.

    Args:
      digests: see `files.content`.

    Raises:
      OSError, ValueError, OverflowError, csv.Error: if that cannot be.
    """
    text = content(path, digests).decode("utf-8-sig")
    header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    if lacking := set(CURVE_COLUMNS) - set(header):
        raise ValueError(f"it has no column {', '.join(sorted(lacking))}")
    if ragged := [row for row in rows if len(row) != len(header)]:
        raise ValueError(f"it has a row of {len(ragged[0])} values below {len(header)} columns")
    columns = dict(zip(header, zip(*rows, strict=True) if rows else itertools.repeat(()), strict=False))
    return pd.DataFrame({name: np.array([float(value or "nan") for value in columns[name]] if name != "epoch"
                                        else list(map(int, columns[name])), np.int64 if name == "epoch" else float)
                         for name in CURVE_COLUMNS})


def check(record: RunRecord, curve: pd.DataFrame) -> None:
    """Checks a curve by itself and against the number of epochs.

    Raises:
      FormError: if the curve cannot be that of the run.
    """
    if len(curve) != record.epochs_trained:
        raise FormError(f"has {len(curve)} epochs, and the run has trained {record.epochs_trained}")
    epochs, *values = curve.to_numpy(dtype=float).T
    if not np.array_equal(epochs, np.arange(1, len(curve) + 1)):
        raise FormError("does not have each epoch once, in order")
    if record.status == "done":  # a run that diverged ends in what is no number
        for name, of_name in zip(CURVE_COLUMNS[1:], values, strict=True):
            highest = 1.0 if name.endswith("accuracy") else math.inf
            if not (of_name.min() >= 0 and of_name.max() <= highest and of_name.max() < math.inf):  # no nan is
                raise FormError(f"has a {name.replace('_', ' ')} that is none")


def contradiction(record: RunRecord, curve: pd.DataFrame) -> str | None:
    """Says where a curve that passes `check` and the record's scores tell of different runs."""
    values = curve.to_numpy(dtype=float)
    for scores in filter(None, (record.best, record.last)):
        for name, here in zip(CURVE_COLUMNS[1:], values[scores.epoch - 1, 1:].tolist(), strict=True):
            there = getattr(scores, name)
            if not math.isclose(here, there, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
                return (f"has {name} = {there} of epoch {scores.epoch}, and its curve.csv {here}: one of the two was "
                        "changed")
    return None
