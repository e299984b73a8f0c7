"""Some rows of an array that is not copied: a copy of most of a memory map would take as much of the host's memory."""

from typing import Any

import numpy as np


class Rows:
    """Stands for `array[chosen]`, and copies the rows that are asked for when they are.

    Attributes:
      shape, dtype, nbytes: of what it stands for.
    """

    def __init__(self, array: np.ndarray, chosen: np.ndarray):
        """Chooses rows by their numbers."""
        self._array, self._chosen = array, chosen
        self.shape, self.dtype = (len(chosen), *array.shape[1:]), array.dtype
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, which: Any) -> Any:
        """Gives some in a row as they are, uncopied, and one or those of an array of numbers as an array."""
        if isinstance(which, slice):
            return Rows(self._array, self._chosen[which])
        return self._array[self._chosen[which]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._array[self._chosen], dtype)
