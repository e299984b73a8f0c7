"""Data sets by name: uint8 arrays, a fixed validation split, and a fingerprint of exactly which pixels these are.

`harness.run` calls `load`. Pictures are decoded once into a cache outside the repository and
memory-mapped from then on.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.data import archives, cache, prepared
from harness.data.decoded import DataError, Decoded, cached
from harness.records.files import in_home

__all__ = ["NAMES", "DataError", "Dataset", "Split", "load"]

NAMES = ("mnist", "kmnist", "fashion_mnist", "cifar10", "cifar100", "digits")

# The sha256 over the arrays decoded from the official archives. CIFAR is not among them: its archives are recognised
# by their own sha256, a prepared copy cannot be.
_OFFICIAL_PIXELS = {
    "mnist": "05002c5abcc0decf586a33195208236aaf3b741efb831d2b550f3e3b067f6143",
    "kmnist": "5152cd951c49278cf4e33d7770a8d1d57a248da3240f0aa438b99d64f6ff051d",
    "fashion_mnist": "a418e6256930abcea66c361029f07e8186a8c2ada5ae49b52161ec2d853c1e8f",
    "digits": "b14f4bd90b95fda5018237969ff5119135bfe1dd769707341b63f88ecdb3392f",
}
_SPLIT_SEED = 0  # never a run's seed: every run of every ablation validates on the same examples


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of one split.

    Attributes:
      images: uint8 (N, H, W, C), or float32 (N, F) where features stand in their place; may be a read-only memory map.
      labels: int32 (N,).
    """

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set ready to train on.

    Attributes:
      fingerprint: sha256 over the decoded arrays and the split; equal exactly if two runs saw the same examples.
      pixels: sha256 over the decoded official arrays alone, before the validation split.
      official: whether these are proven to be the pixels of the official archives.
      warnings: what a reader of the results must know; kept in records and captions.
      source: "archives", "prepared", "tensorflow" or "bundled".
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    pixels: str
    official: bool
    warnings: tuple[str, ...]
    source: str

    @property
    def num_classes(self) -> int:
        """Counts the named classes, with or without examples."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width, channels; or the number of features."""
        return self.test.images.shape[1:]


def load(
    name: str, data_dir: str | None = None, *, validation_size: int = 5000, cache_dir: str | None = None
) -> Dataset:
    """Loads a data set; the first time from its source, then from a cache of decoded arrays.

    A prepared TFDS set under `data_dir` comes first, then the official archives under `data_dir`, then their download.

    Args:
      name: one of `NAMES`, or any image classification set of TensorFlow Datasets.
      data_dir: by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      validation_size: examples taken from train, stratified by class and the same in every run.
      cache_dir: by default that of `harness.data.cache`.

    Raises:
      DataError: if the name is unknown, the data or the folder given are missing or damaged, or `validation_size` does
        not fit.
    """
    data_path = in_home(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if data_dir and not data_path.is_dir():  # also where a cache would do: another folder was meant
        raise DataError(f"--data_dir={data_dir}: there is no such folder; make it or give another, or leave the flag "
                        "out to use $TFDS_DATA_DIR, else ~/tensorflow_datasets")
    cache_path = in_home(cache_dir) if cache_dir else default_cache_dir()
    source, identity, decode = _source(name, data_path, cache_path)
    key = hashlib.sha256(json.dumps([name, source, identity]).encode()).hexdigest()[:16]
    decoded, pixels = cached(cache_path / name / f"{source}-{key}", decode)

    official = source == "archives" or pixels == _OFFICIAL_PIXELS.get(name)
    train_index, validation_index = _split_validation(decoded, validation_size)
    fingerprint = hashlib.sha256(pixels.encode() + train_index.tobytes() + validation_index.tobytes()).hexdigest()
    return Dataset(
        name=name,
        train=Split(decoded.train_images[train_index], decoded.train_labels[train_index]),
        validation=Split(decoded.train_images[validation_index], decoded.train_labels[validation_index]),
        test=Split(decoded.test_images, decoded.test_labels),
        class_names=decoded.class_names,
        fingerprint=fingerprint,
        pixels=pixels,
        official=official,
        warnings=() if official else (_doubt(name),),
        source=decoded.source,
    )


def stratified_sample(labels: np.ndarray, size: int) -> np.ndarray:
    """Picks `size` positions, as near to the class proportions as whole numbers allow.

    The choice depends on the labels and the size only. Classes get the floor of their share, and the examples left
    over go to the largest remainders.

    Returns:
      int64 (size,), increasing.
    """
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(size * counts, len(labels))
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    # RandomState is frozen for good; the streams of default_rng may change between NumPy versions.
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(members[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    return np.sort(np.concatenate([by_class[s : s + quota] for s, quota in zip(starts, quotas, strict=True)]))


def _split_validation(decoded: Decoded, validation_size: int) -> tuple[np.ndarray, np.ndarray]:
    count, smallest = len(decoded.train_labels), len(decoded.class_names)
    if not smallest <= validation_size < count:
        raise DataError(
            f"validation_size={validation_size} does not fit {decoded.name}: it must be from {smallest} "
            f"(one per class) to {count - 1} (train has {count} examples)"
        )
    validation = stratified_sample(decoded.train_labels, validation_size)
    return np.setdiff1d(np.arange(count), validation, assume_unique=True), validation


def _source(name: str, data_dir: Path, cache_dir: Path) -> tuple[str, object, Callable[[], Decoded]]:
    """Chooses where `name` comes from: the kind of source, what identifies its content, and how to decode it."""
    if name == "digits":
        return "bundled", None, _decode_digits
    if not re.fullmatch(r"[a-z]\w*(/[\w.-]+)?", name, re.ASCII):
        raise _unknown(name)
    if folder := prepared.find(name, data_dir):
        return "prepared", prepared.identity(folder), functools.partial(prepared.decode, name, folder)
    if name in archives.NAMES:
        # Looked for even when they are cached, so that a truncated file is never passed over in silence.
        archives.locate(name, data_dir, cache_dir)
        identity = [archive.sha256 for archive in archives.registry(name)]
        return "archives", identity, functools.partial(archives.decode, name, data_dir, cache_dir)
    if not prepared.is_known(name):
        raise _unknown(name)
    if prepared.has_tensorflow():
        prepared.prepare(name, data_dir)
        if folder := prepared.find(name, data_dir):
            return "prepared", prepared.identity(folder), functools.partial(prepared.decode, name, folder)
    raise DataError(
        f"{name} is missing: no prepared set in {data_dir / name}/<version>/ that can be read without TensorFlow; "
        "prepare it elsewhere with file_format='array_record' and copy it there, give another folder with "
        "--data_dir, or install tensorflow to have it prepared here; `make demo` needs no data"
    )


def _decode_digits() -> Decoded:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 0..16 to 0..255, rounded to the nearest.
    images = ((bunch.images.astype(np.int32) * 255 + 8) // 16).astype(np.uint8)[..., np.newaxis]
    labels = bunch.target.astype(np.int32)
    test = stratified_sample(labels, len(labels) // 5)
    train = np.setdiff1d(np.arange(len(labels)), test, assume_unique=True)
    names = tuple(str(name) for name in bunch.target_names)
    return Decoded("digits", "bundled", names, images[train], labels[train], images[test], labels[test])


def _doubt(name: str) -> str:
    if name in _OFFICIAL_PIXELS:
        return f"{name}: pixels differ from those of the official archives, in content or in order"
    return f"{name}: pixels could not be verified against the official archives"


def _unknown(name: str) -> DataError:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), NAMES, n=1)
    return DataError(
        f"unknown data set {name!r}{f' (did you mean {close[0]}?)' if close else ''}: the named sets are "
        f"{', '.join(NAMES)}; any other image classification set of TensorFlow Datasets works by its name there"
    )


def default_cache_dir() -> Path:
    """Names the folder of decoded data sets that is used unless another is given."""
    return cache.folder("datasets")
