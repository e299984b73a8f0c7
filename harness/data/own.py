"""Data of one's own by what an ablation says of it: folders, `.npz` files, objects with a `load()`."""

import functools
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from ablations.own_data import ImageFolder, Source
from harness.data import folder, layout, npz, splits
from harness.data.decoded import DataError, Decoded
from harness.records.files import in_home


class Origin(NamedTuple):
    """Where a data set comes from.

    Attributes:
      kind: "folder", "npz" or "object"; for named sets see `harness.data.Dataset`.
      identity: what its content is told by, so that decoded arrays need not be made again; None where nothing tells.
      decode: makes its arrays.
      suits: whether arrays that were kept are what `decode` would make; else it says why there are none.
      notes: what the one who launches should know.
      warnings: what a reader of the results must know beside what decoding tells.
    """

    name: str
    kind: str
    identity: Any
    decode: Callable[[], Decoded]
    notes: tuple[str, ...] = ()
    suits: Callable[[Decoded], bool] = lambda decoded: True
    warnings: tuple[str, ...] = ()


def origin(dataset: str | ImageFolder | Source, *, skip_unreadable: bool) -> Origin | None:
    """Finds where data of one's own come from; None for a named set.

    Args:
      dataset: as `ablations.own_data.checked` gives it.
      skip_unreadable: see `folder.decode`.

    Raises:
      DataError: if there is nothing where they should be.
    """
    if isinstance(dataset, ImageFolder):
        arranged = folder.arrange(dataset)
        identity = folder.identity(dataset, arranged)
        decode = functools.partial(folder.decode, dataset, arranged, skip_unreadable=skip_unreadable)
        return Origin(arranged.name, "folder", identity, decode, (*arranged.notes, folder.describe(dataset)),
                      functools.partial(folder.suits, dataset, skip_unreadable=skip_unreadable),
                      tuple(f"{arranged.name}: {warning}" for warning in arranged.warnings))
    if not isinstance(dataset, str):
        name = type(dataset).__name__
        return Origin(name, "object", None, functools.partial(_decode_object, name, dataset))
    if not dataset.startswith("npz:"):
        return None
    path = in_home(dataset.removeprefix("npz:"))
    name = f"npz:{layout.class_named(path.name)}"
    return Origin(name, "npz", npz.identity(path), functools.partial(npz.decode, name, path))


def _decode_object(name: str, dataset: Source) -> Decoded:
    try:
        loaded = dataset.load()
    except DataError:
        raise
    except Exception as error:  # the user's own code: where it failed is all that helps
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(f"{name}.load() failed in {where.filename}, line {where.lineno}: "
                        f"{type(error).__name__}: {error}") from error
    if not isinstance(loaded, splits.Splits):
        raise DataError(f"{name}.load() must give harness.data.Splits(train=(images, labels), test=(images, labels), "
                        f"class_names=(...)), not {type(loaded).__name__}")
    return splits.decoded(name, "object", loaded)
