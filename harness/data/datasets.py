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

from ablations import own_data
from harness.data import archives, cache, own, prepared, stratified
from harness.data.decoded import DataError, Decoded, cached
from harness.data.own import Origin
from harness.data.rows import Rows
from harness.data.stratified import stratified_sample
from harness.records.files import in_home

__all__ = ["NAMES", "DataError", "Dataset", "Split", "load"]

NAMES = ("mnist", "kmnist", "fashion_mnist", "cifar10", "cifar100", "digits")

# The sha256 over the arrays decoded from the official archives, so that a prepared copy is recognised. CIFAR-100 is not
# among them: its archive is recognised by its own sha256.
_OFFICIAL_PIXELS = {
    "mnist": "05002c5abcc0decf586a33195208236aaf3b741efb831d2b550f3e3b067f6143",
    "kmnist": "5152cd951c49278cf4e33d7770a8d1d57a248da3240f0aa438b99d64f6ff051d",
    "fashion_mnist": "a418e6256930abcea66c361029f07e8186a8c2ada5ae49b52161ec2d853c1e8f",
    "cifar10": "19b0e0cc19c038097769dbe6472792b8e03199783f9b0841c4783f248d71ce98",
    "digits": "b14f4bd90b95fda5018237969ff5119135bfe1dd769707341b63f88ecdb3392f",
}


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of one split.

    Attributes:
      images: uint8 (N, H, W, C), or float32 (N, F) where features stand in their place; may be a read-only memory map,
        or rows of one that are copied when they are asked for.
      labels: int32 (N,).
    """

    images: np.ndarray | Rows
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set ready to train on.

    Attributes:
      fingerprint: sha256 over the decoded arrays and the split; equal exactly if two runs saw the same examples.
      pixels: sha256 over the decoded arrays alone, before the validation split.
      official: whether these are proven to be the pixels of the official archives.
      warnings: what a reader of the results must know; kept in records and captions.
      source: "archives", "prepared", "tensorflow" or "bundled"; of data of one's own "folder", "npz" or "object".
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
    name: str | own_data.ImageFolder | own_data.Source,
    data_dir: str | None = None,
    *,
    validation_size: int = 5000,
    cache_dir: str | None = None,
    skip_unreadable: bool = False,
    tell: Callable[[str], None] = print,
) -> Dataset:
    """Loads a data set; the first time from its source, then from a cache of decoded arrays.

    A prepared TFDS set under `data_dir` comes first, then the official archives there, then their download.

    Args:
      name: one of `NAMES`, or an image classification set of TensorFlow Datasets; "folder:PATH", "npz:PATH", or an
        object as `ablations.own_data` describes it, whose `load()` is called anew each time.
      data_dir: by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      validation_size: examples taken from train, stratified by class and the same in every run; a set's own validation
        split is used instead.
      cache_dir: by default that of `harness.data.cache`.
      skip_unreadable: leaves out files of a folder that cannot be read, and counts them in the warnings.
      tell: is given lines for the one who launches: what was found in a folder, and that a cache was damaged.

    Raises:
      DataError: if the name is unknown, the data or the folder given are missing or damaged, or `validation_size` does
        not fit.
    """
    found = own.origin(asked := own_data.checked(name) if name else name, skip_unreadable=skip_unreadable)
    is_own = found is not None
    cache_path = in_home(cache_dir) if cache_dir else default_cache_dir()
    origin = found or _source(str(asked), _folder(data_dir), cache_path)
    for note in origin.notes:
        tell(note)
    decoded, pixels = _decoded(origin, cache_path / ("own" if is_own else origin.name), tell)
    official = origin.kind == "archives" or pixels == _OFFICIAL_PIXELS.get(origin.name)
    train, validation, chosen = _split_validation(decoded, validation_size, is_own=is_own)
    return Dataset(
        name=origin.name, train=train, validation=validation,
        test=Split(decoded.test_images, decoded.test_labels),
        class_names=decoded.class_names,
        fingerprint=hashlib.sha256(pixels.encode() + chosen).hexdigest(),
        pixels=pixels, official=official,
        warnings=origin.warnings + decoded.warnings + _warnings(origin.name, decoded, is_trusted=official or is_own),
        source=decoded.source,
    )


def _folder(data_dir: str | None) -> Path:
    folder = in_home(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if data_dir and not folder.is_dir():  # also where a cache would do: another folder was meant
        raise DataError(f"--data_dir={data_dir}: there is no such folder; make it or give another, or leave the flag "
                        "out to use $TFDS_DATA_DIR, else ~/tensorflow_datasets")
    return folder


def _warnings(name: str, decoded: Decoded, *, is_trusted: bool) -> tuple[str, ...]:
    own = () if decoded.validation_images is None else (
        f"{name}: its own validation split ({len(decoded.validation_images):,} examples) is used, and validation_size "
        "is not",)
    return own if is_trusted else (*own, _doubt(name))


def _decoded(origin: Origin, folder: Path, tell: Callable[[str], None]) -> tuple[Decoded, str]:
    """Gives a set's arrays and their sha256, from the cache where something tells that they are the same."""
    if origin.kind != "object":
        key = hashlib.sha256(json.dumps([origin.name, origin.kind, origin.identity]).encode()).hexdigest()[:16]
        return cached(folder / f"{origin.kind}-{key}", origin.decode, tell, origin.suits)
    decoded = origin.decode()
    return decoded, decoded.pixels()


def _split_validation(decoded: Decoded, size: int, *, is_own: bool) -> tuple[Split, Split, bytes]:
    """Takes the validation examples from train where a set has none of its own.

    Returns:
      Both splits, and the bytes by which this choice is told from another.
    """
    images, labels = decoded.train_images, decoded.train_labels
    if decoded.validation_images is not None and decoded.validation_labels is not None:
        return Split(images, labels), Split(decoded.validation_images, decoded.validation_labels), b""
    smallest, largest = 1 if is_own else len(decoded.class_names), stratified.spare(labels)
    if largest < smallest:
        raise DataError(f"{decoded.name}: {len(labels)} training examples of {len(np.unique(labels))} classes are too "
                        "few to take a validation set from; add examples, or a validation split")
    if not smallest <= size <= largest:
        per_class = "" if is_own else " (one per class)"
        fifth = max(smallest, min(largest, len(labels) // 5))
        raise DataError(
            f"validation_size={size} does not fit {decoded.name}: it must be from {smallest}{per_class} to {largest} "
            f"(train has {len(labels)} examples, and keeps one per class); validation_size={fifth} would do"
        )
    validation = stratified_sample(labels, size)
    train = stratified.held_out(labels, validation)
    chosen = train.tobytes() + validation.tobytes()
    return Split(Rows(images, train), labels[train]), Split(Rows(images, validation), labels[validation]), chosen


def _source(name: str, data_dir: Path, cache_dir: Path) -> Origin:
    """Chooses where `name` comes from."""
    if name == "digits":
        return Origin(name, "bundled", None, _decode_digits)
    if not re.fullmatch(r"[a-z]\w*(/[\w.-]+)?", name, re.ASCII):
        raise _unknown(name)
    if folder := prepared.find(name, data_dir):
        return Origin(name, "prepared", prepared.identity(folder), functools.partial(prepared.decode, name, folder))
    if name in archives.NAMES:
        # Looked for even when they are cached, so that a truncated file is never passed over in silence.
        archives.locate(name, data_dir, cache_dir)
        identity = [archive.sha256 for archive in archives.registry(name)]
        return Origin(name, "archives", identity, functools.partial(archives.decode, name, data_dir, cache_dir))
    if not prepared.is_known(name):
        raise _unknown(name)
    if prepared.has_tensorflow():
        folder = prepared.prepare(name, data_dir)
        return Origin(name, "prepared", prepared.identity(folder), functools.partial(prepared.decode, name, folder))
    configs = ", ".join(prepared.configs(name, data_dir))
    raise DataError(
        f"{name} is missing: no prepared set in {data_dir / name}/<version>/ that can be read without TensorFlow"
        f"{f', but {configs} there' if configs else ''}; "
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
    train = stratified.held_out(labels, test)
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
        f"{', '.join(NAMES)}; any other image classification set of TensorFlow Datasets with train and test splits, of "
        "8-bit pictures of one size, works by its name there, and data of one's own as folder:PATH or npz:PATH"
    )


def default_cache_dir() -> Path:
    """Names the folder of decoded data sets that is used unless another is given."""
    return cache.folder("datasets")
