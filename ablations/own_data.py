"""Data of one's own as a setting: pictures in folders, and what any other object must be to stand for a data set.

Opens no file; `harness.data` does.
"""

import dataclasses
import os
from typing import Any, Protocol

from models.options import choice, is_plain, positive

FITS = ("crop", "pad", "stretch")


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """Describes pictures that lie in a folder for each class, or are listed in a `metadata.csv`, and their form.

    `dataset="folder:PATH"` is `ImageFolder(PATH)`.

    Attributes:
      path: of the folder; `~` is the user's home, and a relative path begins at the current directory.
      size: height and width that every picture is brought to.
      channels: 1 (grey) or 3 (RGB).
      fit: how another aspect ratio is met: "crop" keeps the largest middle part that has the right one, "pad" keeps all
        and adds black, "stretch" keeps all and distorts.
      class_names: classes in the order of their labels, where it is not the sorted one; others are left out.
    """

    path: str
    size: tuple[int, int] = (64, 64)
    channels: int = 3
    fit: str = "crop"
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path) if isinstance(self.path, os.PathLike) else self.path)
        if not isinstance(self.path, str) or not self.path:
            raise ValueError("path must name the folder of the pictures")
        if not isinstance(self.size, tuple) or len(self.size) != 2:
            raise ValueError(f"size must be height and width, such as (64, 64), not {self.size!r}")
        for side in self.size:
            positive("size", side)
        choice("channels", self.channels if type(self.channels) is int else repr(self.channels), (1, 3))
        choice("fit", self.fit, FITS)
        names = self.class_names
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError(f'class_names must be a tuple such as ("cat", "dog"), not {names!r}')
        if len(set(names)) != len(names) or len(names) == 1:
            raise ValueError(f"class_names must be at least two, each once, not {names!r}")


class Source(Protocol):
    """An object that stands for a data set: a frozen dataclass, whose fields are its configuration."""

    def load(self) -> Any:
        """Gives the examples as `harness.data.Splits`."""


def checked(dataset: Any) -> Any:
    """Gives what a run's `dataset` means.

    Args:
      dataset: a name, "npz:PATH", "folder:PATH", an `ImageFolder`, or an object as `Source` describes it.

    Raises:
      ValueError: if it is none of these.
    """
    if isinstance(dataset, str) and dataset:
        kind, colon, path = dataset.partition(":")
        if colon and kind in ("folder", "npz") and not path:
            raise ValueError(f"dataset={dataset!r} needs a path after the colon")
        return ImageFolder(path) if colon and kind == "folder" else dataset
    if isinstance(dataset, ImageFolder):
        return dataset
    if isinstance(dataset, str | type) or not callable(getattr(dataset, "load", None)):
        raise ValueError(f'dataset must be a name, "folder:PATH", "npz:PATH", an ImageFolder, or an object with a '
                         f"load() that gives harness.data.Splits; not {dataset!r}")
    if not getattr(getattr(dataset, "__dataclass_params__", None), "frozen", False):
        raise ValueError(f"{type(dataset).__name__}, which stands for a data set, must be a dataclass with the "
                         "decorator @dataclasses.dataclass(frozen=True): its fields are kept as its configuration")
    for field in dataclasses.fields(dataset):
        if not is_plain(value := getattr(dataset, field.name)):
            raise ValueError(f"{type(dataset).__name__}.{field.name} must be text, a finite number, True, False, None "
                             f"or a tuple of these, because records keep it; not {value!r:.80}")
    return dataset
