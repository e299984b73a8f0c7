"""Trains ablations and reports them: `harness.run`, `harness.report`. `harness.load` gives a trained network back."""

import importlib.machinery
import os
import pathlib
import sys
import types
import typing
from collections.abc import Sequence

if typing.TYPE_CHECKING:
    from harness.serving.network import Classifier

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


def load(run: str | os.PathLike[str], *, ablation: str = "", trust_code: bool = False) -> "Classifier":
    """Loads a trained network with its preprocessing: see `harness.serving.network.load`.

    `harness.load("my_results/quickstart/runs/RUN")("picture.png")` gives the probabilities of its `class_names`.
    """
    from harness.serving import network  # jax and Flax take seconds to import

    return network.load(run, ablation=ablation, trust_code=trust_code)
