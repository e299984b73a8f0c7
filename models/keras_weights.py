"""Reads Keras Applications' HDF5 weight files for MobileNetV2 into the Flax network; every array must find its place.

`harness.data.weights` finds the file.
"""

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models import mobilenet_v2
from models.layers import BatchNorm
from models.mobilenet_v2 import WIDTHS, Backbone, MobileNetV2Config

# Keras's names of the arrays, where ours differ.
_NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "variance": "moving_variance"}
_LARGEST_BYTES = 2**28  # ten times the widest network's
_NAMED = 3  # arrays that an error names before it only counts

Arrays = dict[tuple[str, str], np.ndarray]


class WeightsError(Exception):
    """Says in one line what is wrong with a weight file and what to do; a command prints it and stops."""


@dataclasses.dataclass(frozen=True)
class WeightFacts:
    """What a record says about a weight file.

    Attributes:
      file: its name, without the folder.
      sha256: of the file, in hexadecimal.
      official: whether the file is proven to be what Keras Applications publishes.
      warnings: what a reader of the results must know, one line each.
    """

    file: str
    sha256: str
    official: bool
    warnings: tuple[str, ...]


def load(path: Path, config: MobileNetV2Config, published_md5: str | None = None) -> tuple[Backbone, WeightFacts]:
    """Builds the network that a config describes, with a file's weights.

    Layers are matched by name. A file none of whose blocks bear Keras's present names is matched by the order of its
    layers instead, as Keras itself does with every file: older releases used other names.

    Args:
      path: an HDF5 file as Keras Applications publishes them or as Keras 2's `save_weights` writes them.
      config: its width, top and classes must be those of the file.
      published_md5: what the official file's md5 is known to be; Keras itself lists no checksum of these files.

    Raises:
      WeightsError: if the file cannot be read or has another md5 than published, or if an array is missing, left over,
        of the wrong shape or not finite.
    """
    content = _bytes(path)
    if published_md5 and (md5 := hashlib.md5(content).hexdigest()) != published_md5:
        raise WeightsError(f"{path} is damaged: its md5 is {md5}, that of the published file {published_md5}; delete "
                           "it and fetch it again")
    found = _read(path, content)
    backbone = nnx.eval_shape(lambda: mobilenet_v2.build(config, nnx.Rngs(0)))
    slots = _slots(backbone)
    shapes = {key: slot.shape for key, slot in slots.items()}
    found = _by_order(found, shapes)
    _check(path, found, shapes, config)
    for key, slot in slots.items():
        slot.set_value(jnp.asarray(found[key], jnp.float32))
    return backbone, _facts(path, content, found, official=bool(published_md5))


def _facts(path: Path, content: bytes, found: Arrays, official: bool) -> WeightFacts:
    sha256 = hashlib.sha256(content).hexdigest()
    folded = all(np.all(values == 0) for (_, array), values in found.items() if array == "moving_mean")
    warnings = []
    if not official:
        warnings.append(f"weights {path.name} (sha256 {sha256[:16]}) are not proven to be the official file")
    if folded:
        warnings.append(f"weights {path.name} have batch norm folded into the convolutions: right for a frozen "
                        "backbone, but to train with batch statistics these must first be estimated")
    return WeightFacts(path.name, sha256, official, tuple(warnings))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"weight file {path} cannot be read ({error.strerror or error})") from error


def _read(path: Path, content: bytes) -> Arrays:
    """Reads every array of a file, in order, by layer and by the last part of its name."""
    if not content.startswith(b"\x89HDF\r\n\x1a\n"):
        raise WeightsError(f"{path} is not an HDF5 file (it begins {content[:8].hex() or 'with nothing'}): place one "
                           "of Keras Applications' MobileNetV2 .h5 files there")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" not in root.attrs:
                raise WeightsError(f"{path} is an HDF5 file without Keras's list of layers (layer_names): it is not in "
                                   "the layout of Keras Applications' weight files")
            arrays = {(layer, _array_name(name)): root[layer][name]
                      for layer in _names(root, "layer_names") for name in _names(root[layer], "weight_names")}
            _check_announced(path, arrays)
            return {key: array[()] for key, array in arrays.items()}
    except (OSError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}); it has {len(content)} bytes: is it complete? Delete it and "
                           "fetch it again") from error


def _check_announced(path: Path, arrays: Mapping[tuple[str, str], h5py.Dataset]) -> None:
    """Refuses what is no weights before any of it is read: a file may announce more than it holds."""
    for key, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise WeightsError(f"{path} holds {array.dtype} in place of numbers in {'/'.join(key)}: it has no weights")
    if (total := sum(array.nbytes for array in arrays.values())) > _LARGEST_BYTES:
        raise WeightsError(f"{path} announces {total / 2**30:,.1f} GiB of weights; MobileNetV2's are at most "
                           f"{_LARGEST_BYTES / 2**30:g} GiB")


def _names(group: h5py.Group, attribute: str) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[attribute]]


def _array_name(path: str) -> str:
    # Keras 2 calls the kernel of a depthwise convolution depthwise_kernel, and numbers its variables.
    return path.rsplit("/", 1)[-1].partition(":")[0].removeprefix("depthwise_")


def _slots(backbone: Backbone) -> dict[tuple[str, str], nnx.Variable]:
    """Lists the network's arrays under Keras's names."""
    slots = {}
    for name in backbone.names:
        layer = backbone.layers[name]
        ours = _NORM if isinstance(layer, BatchNorm) else {"kernel": "kernel", "bias": "bias"}
        for attribute, array in ours.items():
            if (slot := getattr(layer, attribute)) is not None:
                slots[name, array] = slot
    return slots


def _by_order(found: Arrays, shapes: Mapping[tuple[str, str], tuple[int, ...]]) -> Arrays:
    """Gives the layers of a file with other names ours, if there are as many."""
    theirs, ours = (list(dict.fromkeys(layer for layer, _ in keys)) for keys in (found, shapes))
    if len(theirs) != len(ours) or any(layer.startswith(("block_", "expanded_conv_")) for layer in theirs):
        return found
    renamed = dict(zip(theirs, ours, strict=True))
    return {(renamed[layer], array): values for (layer, array), values in found.items()}


def _check(path: Path, found: Arrays, shapes: Mapping[tuple[str, str], tuple[int, ...]], config: MobileNetV2Config
           ) -> None:
    problems = [f"{'/'.join(key)} is missing" for key in shapes if key not in found]
    problems += [f"{'/'.join(key)} is left over" for key in found if key not in shapes]
    wrong = [f"{'/'.join(key)} is {found[key].shape}, not {shape}" for key, shape in shapes.items()
             if key in found and found[key].shape != shape]
    problems = wrong + problems
    problems += [f"{'/'.join(key)} is not finite" for key in found if not np.isfinite(found[key]).all()]
    if problems:
        more = len(problems) - _NAMED
        raise WeightsError(f"{path} does not fit MobileNetV2 of width {config.width} {_with_top(config.top)}"
                           f"{_looks_like(found, config)}: {'; '.join(problems[:_NAMED])}"
                           f"{f'; and {more} more' if more > 0 else ''}")


def _with_top(top: bool) -> str:
    return "with top" if top else "without top"


def _looks_like(found: Arrays, config: MobileNetV2Config) -> str:
    """Says which network a file of the wrong one holds, as far as two of its arrays tell."""
    stem, last = (found.get((layer, "kernel")) for layer in ("block_16_expand", "Conv_1"))
    if stem is None or last is None or stem.ndim != 4 or last.ndim != 4:
        return ""
    top = ("predictions", "kernel") in found
    for width in WIDTHS:
        if (stem.shape[3], last.shape[3]) == (mobilenet_v2.blocks(width)[-1].expanded,
                                              mobilenet_v2.last_filters(width)):
            return f", it holds width {width} {_with_top(top)}" if (width, top) != (config.width, config.top) else ""
    return ""
