"""Pictures to be classified: which files are meant, of which class they are known to be, and what comes of each."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ablations import lookup
from harness.data import DataError, Split, layout
from harness.data.folder import readers
from harness.serving.network import BATCH, Classifier


@dataclasses.dataclass(frozen=True)
class Asked:
    """A picture to be classified, and its class where its folder tells."""

    file: Path
    truth: str | None = None


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What came of a picture.

    Attributes:
      name: its file, or its place in a data set.
      truth: its class, if that is known.
      ranked: labels and their probabilities, the likeliest first; empty if it could not be read.
      error: why it could not; else empty.
      pixels: what the network read, uint8 [height, width, channel]; None if it could not be read.
    """

    name: str
    truth: str | None
    ranked: tuple[tuple[str, float], ...]
    error: str = ""
    pixels: np.ndarray | None = None


@dataclasses.dataclass
class Tally:
    """Counts pictures.

    Attributes:
      total: all that were asked for.
      unreadable: those that could not be read.
      judged: the others whose class is known.
      right: those of them whose class is the likeliest.
    """

    total: int = 0
    unreadable: int = 0
    judged: int = 0
    right: int = 0

    def add(self, one: Prediction) -> None:
        """Counts one more."""
        self.total += 1
        self.unreadable += bool(one.error)
        if one.truth is not None and one.ranked:
            self.judged += 1
            self.right += one.truth == one.ranked[0][0]


def asked(names: Sequence[str], class_names: Sequence[str]) -> tuple[list[Asked], list[str]]:
    """Lists the pictures meant by files and folders; a folder is walked as data sets are.

    Args:
      class_names: of the network; a sub-folder of another name, or another label in a `metadata.csv`, tells no class.

    Returns:
      the pictures, and lines on what was left out.

    Raises:
      DataError: if a folder cannot be read, or has no picture.
    """
    listed, notes = list[Asked](), list[str]()
    for name in names:
        path, is_folder = lookup.located(name), False
        with contextlib.suppress(OSError):  # which is told where the picture is read
            is_folder = path.is_dir()
        if not is_folder:
            listed.append(Asked(path))
            continue
        files, others = layout.pictures(path)
        if not files:
            raise DataError(f"{name} has no pictures")
        if others:
            told = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(others.items()))
            notes.append(f"{name}: left out are files of other kinds: {told}")
        known = _classes(path, files)
        listed += [Asked(file, known[file] if known.get(file) in class_names else None) for file in files]
    return listed, notes


def _classes(folder: Path, files: Sequence[Path]) -> dict[Path, str]:
    """Tells the class of each picture where the folder is laid out as a data set."""
    try:
        return layout.labels(folder, files)
    except DataError:
        return {}


def predictions(classifier: Classifier, pictures: Iterable[Asked], topk: int) -> Iterator[Prediction]:
    """Classifies pictures, reading them in parallel; one that cannot be read gives its error."""
    def read(one: Asked) -> np.ndarray | DataError:
        try:
            return classifier.read(one.file)
        except DataError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(readers()) as pool:
        for some in _batched(pictures):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on odd EXIF data and large pictures
                images = list(pool.map(read, some))
            good = [image for image in images if isinstance(image, np.ndarray)]
            scored = iter(classifier.probabilities(good))
            for one, image in zip(some, images, strict=True):
                if isinstance(image, DataError):
                    yield Prediction(str(one.file), one.truth, (), str(image))
                else:
                    yield Prediction(str(one.file), one.truth, ranked(next(scored), classifier.class_names, topk),
                                     pixels=image)


def of_split(classifier: Classifier, name: str, split: Split, topk: int) -> Iterator[Prediction]:
    """Classifies the examples of a split of a data set."""
    for start in range(0, len(split.labels), BATCH):
        images = np.asarray(split.images[start:start + BATCH])
        for number, (image, scores) in enumerate(zip(images, classifier.probabilities(images), strict=True), start):
            truth = classifier.class_names[split.labels[number]]
            yield Prediction(f"{name}/{number}", truth, ranked(scores, classifier.class_names, topk), pixels=image)


def ranked(scores: np.ndarray, class_names: Sequence[str], topk: int) -> tuple[tuple[str, float], ...]:
    """Gives the likeliest labels with their probabilities; of equal ones the lower number first, as in training."""
    order = np.argsort(-scores, kind="stable")[:topk]
    return tuple((class_names[number], float(scores[number])) for number in order)


def _batched(pictures: Iterable[Asked]) -> Iterator[tuple[Asked, ...]]:
    rest = iter(pictures)
    while some := tuple(itertools.islice(rest, BATCH)):
        yield some
