"""Trains ablations and reports them: `harness.run`, `harness.report`."""

import importlib.machinery
import pathlib
import sys
import types
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).resolve().parents[1]


class _Siblings:
    """Finds `models` and `ablations` beside this package, whatever has these names in the folder where one stands."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
                  ) -> importlib.machinery.ModuleSpec | None:
        if name not in ("ablations", "models"):
            return None
        return importlib.machinery.PathFinder.find_spec(name, [str(_ROOT)])


if _Siblings not in sys.meta_path:
    sys.meta_path.insert(0, _Siblings)
