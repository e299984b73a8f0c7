"""Examples that a user's own object or file gives, brought to the arrays that every source hands over."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from harness.data import memory, stratified
from harness.data.decoded import DataError, Decoded

_PIXELS = "their pixels as one array [example, height, width, channel], all of one size"
TEST_SHARE = 5  # one in so many is tested on where a set has no test split


@dataclasses.dataclass(frozen=True)
class Splits:
    """What the `load()` of an object gives that stands for a data set.

    A split is a pair: images, uint8 [example, height, width, channel] or [example, height, width]; and labels, whole
    numbers [example] or [example, 1].

    Attributes:
      train: what is trained on, and validated on where there is no validation split.
      test: what is reported; None sets a fifth of train aside, stratified and the same in every run.
      validation: None takes as many as a run's `validation_size` says from train.
      class_names: of label 0, 1, ...; () takes the numbers themselves.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None = None
    validation: tuple[np.ndarray, np.ndarray] | None = None
    class_names: tuple[str, ...] = ()


def decoded(name: str, source: str, splits: Splits) -> Decoded:
    """Checks a user's splits and brings them to the form of every data set; train is put into an order by a constant.

    Raises:
      DataError: if an array is not what it should be; the message says how to mend it.
    """
    arrays = {split: _pair(f"{name}: {split}", pair) for split in ("train", "validation", "test")
              if (pair := getattr(splits, split)) is not None or split == "train"}
    # Neither a set nor a dict has an order that means the labels.
    if not isinstance(splits.class_names, Iterable) or isinstance(splits.class_names, str | bytes | Mapping | Set):
        raise DataError(f'{name}: class_names must be a tuple such as ("cat", "dog"), of label 0, 1, ..., or () for '
                        f"the numbers; not {splits.class_names!r:.100}")
    names = tuple(map(str, splits.class_names)) or tuple(
        map(str, range(1 + max(int(labels.max(initial=-1)) for _, labels in arrays.values()))))
    check_classes(name, names)
    warnings = []
    if "test" not in arrays:
        images, labels = arrays["train"]
        test = set_aside(name, labels)
        train = stratified.held_out(labels, test)
        arrays |= {"train": (images[train], labels[train]), "test": (images[test], labels[test])}
        warnings.append(told_set_aside(len(test)))
    order = stratified.mixed(len(arrays["train"][1]))
    arrays["train"] = arrays["train"][0][order], arrays["train"][1][order]
    return assembled(name, source, names, arrays, warnings)


def assembled(name: str, source: str, class_names: tuple[str, ...], arrays: dict[str, tuple[np.ndarray, np.ndarray]],
              warnings: list[str]) -> Decoded:
    """Puts splits together and adds what a reader must know of them to the warnings.

    Args:
      arrays: split -> images, uint8 [example, height, width, channel], and labels, int32 [example].
    """
    warnings = [*warnings, *_absent(class_names, arrays), *_repeated(arrays)]
    images, labels = arrays.get("validation", (None, None))
    return Decoded(name, source, class_names, *arrays["train"], *arrays["test"], images, labels,
                   tuple(f"{name}: {warning}" for warning in warnings))


def set_aside(name: str, labels: np.ndarray) -> np.ndarray:
    """Chooses what is tested on where a set has no test split.

    Returns:
      Positions, int64 [test example], increasing.

    Raises:
      DataError: if there are too few examples.
    """
    size = min(len(labels) // TEST_SHARE, stratified.spare(labels))
    if not size:
        raise DataError(f"{name}: {len(labels)} examples of {len(np.unique(labels))} classes are too few to set some "
                        "aside for testing; add examples, or a test split")
    return stratified.stratified_sample(labels, size)


def told_set_aside(count: int) -> str:
    """Says that a test split was made."""
    return f"has no test split; {count} examples of train, stratified and the same in every run, were set aside as one"


def check_classes(name: str, class_names: tuple[str, ...]) -> None:
    """Checks that there are classes to tell apart.

    Raises:
      DataError: if there are not, or a name stands twice.
    """
    if len(class_names) < 2:
        raise DataError(f"{name}: {len(class_names)} class ({', '.join(class_names)}) leaves nothing to tell apart")
    if len(set(class_names)) < len(class_names):
        twice = next(one for one in class_names if class_names.count(one) > 1)
        raise DataError(f'{name}: the class name "{twice}" stands for two classes')


def check_memory(what: str, needed: int, mend: str) -> None:
    """Refuses what would not fit the memory that is free.

    Raises:
      DataError: if it would not.
    """
    if needed > (free := memory.available_bytes()):
        raise DataError(f"{what} needs {needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free; "
                        f"{mend}")


def _pair(where: str, pair: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(f"{where} must be a pair of images and labels, not {type(pair).__name__}")
    images = _images(where, pair[0])
    labels = _labels(where, _array(f"{where} labels", pair[1], "an array with a whole number for each example"))
    if len(images) != len(labels):
        raise DataError(f"{where} has {len(images)} images but {len(labels)} labels")
    if not len(images):
        raise DataError(f"{where} has no examples")
    return images, labels


def _array(what: str, given: Any, form: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except Exception as error:  # of lists of unlike arrays, and whatever another library's arrays raise
        raise DataError(f"{what} do not fit together ({' '.join(str(error).split())[:200]}); give {form}") from error


def _images(where: str, given: Any) -> np.ndarray:
    images = _array(f"{where} images", given, _PIXELS)
    if images.dtype.kind not in "biuf":  # of files or of objects, which hold no pixels
        one = given[0] if isinstance(given, list | tuple) and given else given
        of = getattr(one, "dtype", type(one).__name__)
        raise DataError(f"{where} images are of {of}, not uint8 from 0 to 255; give {_PIXELS}")
    if images.dtype != np.uint8:
        raise DataError(f"{where} images are {images.dtype}, not uint8 from 0 to 255; {_mended(images)}")
    if images.ndim not in (3, 4):
        raise DataError(f"{where} images have the shape {images.shape}, not [example, height, width, channel]")
    if 0 in images.shape[1:]:
        raise DataError(f"{where} images have the shape {images.shape}: no pixels")
    _, first, second, last = images.shape if images.ndim == 4 else (0, 0, 0, 1)
    if last > 4 and (first in (1, 3) or (first == 4 and second == last)):
        raise DataError(f"{where} images have the shape {images.shape}, with channels first; store "
                        "images.transpose(0, 2, 3, 1)")
    return images[..., np.newaxis] if images.ndim == 3 else images


def _mended(images: np.ndarray) -> str:
    """Says how images of another type become uint8, as far as their range tells."""
    if not images.size:
        return "store images.astype(np.uint8)"
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        return "some of their values are infinite or no numbers: mend these first"
    if low >= 0 and high <= 255:
        return f"store np.round(images{' * 255' if high <= 1 else ''}).astype(np.uint8)"
    return (f"they are from {low:g} to {high:g}: bring all splits to 0..255 by one rule, such as np.round((images - "
            "LOW) * (255 / (HIGH - LOW))) with the ends of the range that they may have, then store .astype(np.uint8)")


def _labels(where: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        mend = "; store labels.argmax(1)" if labels.ndim == 2 else ""
        raise DataError(f"{where} labels have the shape {labels.shape}, not one number for each example{mend}")
    if labels.dtype.kind not in "iu":
        mend = "; store labels.astype(np.int64)" if labels.dtype.kind in "fb" else (
            "; store np.searchsorted(np.unique(y_train), labels), which numbers the classes from 0 alike in all splits"
            if labels.dtype.kind in "US" else "")
        raise DataError(f"{where} labels are {labels.dtype}, not whole numbers{mend}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < 2**16:
        raise DataError(f"{where} labels span {labels.min()}..{labels.max()}; they must count classes from 0")
    return labels.astype(np.int32)


def _absent(class_names: tuple[str, ...], arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Says which classes a split has no example of; they keep their numbers."""
    told = []
    for split, (_, labels) in arrays.items():
        present = set(labels.tolist())
        if absent := [name for number, name in enumerate(class_names) if number not in present]:
            names = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
            told.append(f"{split} has no example of {names}")
    return told


def _repeated(arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Counts examples that stand in two splits, or twice in one that another is taken from, all pixels equal."""
    seen = {split: [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]
            for split, (images, _) in arrays.items()}
    told = []
    if "validation" not in arrays and (copies := len(seen["train"]) - len(set(seen["train"]))):
        classes = collections.defaultdict(set)
        for digest, label in zip(seen["train"], arrays["train"][1].tolist(), strict=True):
            classes[digest].add(label)
        unlike = sum(len(labels) > 1 for labels in classes.values())
        told.append(f"{copies} of {len(seen['train'])} train images are copies of others there, all pixels equal"
                    + (f" (pictures that stand under several classes: {unlike})" if unlike else "")
                    + "; where validation images are taken from train, some may be among both")
    for one, other in (("train", "test"), ("validation", "test"), ("validation", "train")):
        known = set(seen.get(one, ()))
        if count := sum(digest in known for digest in seen.get(other, ())):
            told.append(f"{count} of {len(seen[other])} {other} images stand in {one} too, all pixels equal")
    return told
