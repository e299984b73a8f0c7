"""The official archives of five data sets: where they are, whether they are the right bytes, what is in them.

Decodes with numpy alone (no TensorFlow, no pickle); the addresses, sizes and sha256 are those that TensorFlow
Datasets has registered.
"""

import base64
import contextlib
import dataclasses
import gzip
import importlib.util
import math
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import requests

from harness.data import download
from harness.data.decoded import DataError, Decoded
from harness.records.files import PointerError, refuse_pointer

_DIGITS = tuple("0123456789")
# Source: tensorflow_datasets/image_classification/mnist.py, features of KMNIST and FashionMNIST.
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_IDX_CLASSES = {"mnist": _DIGITS, "kmnist": _KANA, "fashion_mnist": _CLOTHES}


@dataclasses.dataclass(frozen=True)
class _CifarLayout:
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    class_names_file: str
    labels_per_record: int  # the last one is the class


# Source: tensorflow_datasets/image_classification/cifar.py, _cifar_info.
_CIFAR_LAYOUTS = {
    "cifar10": _CifarLayout(
        tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
        ("cifar-10-batches-bin/test_batch.bin",),
        "cifar-10-batches-bin/batches.meta.txt",
        labels_per_record=1,
    ),
    "cifar100": _CifarLayout(
        ("cifar-100-binary/train.bin",),
        ("cifar-100-binary/test.bin",),
        "cifar-100-binary/fine_label_names.txt",
        labels_per_record=2,
    ),
}
NAMES = (*_IDX_CLASSES, *_CIFAR_LAYOUTS)


@dataclasses.dataclass(frozen=True)
class Archive:
    """An official file: where it is published, and what its bytes must be."""

    url: str
    size: int
    sha256: str
    filename: str


def registry(name: str) -> tuple[Archive, ...]:
    """Reads the archives that TensorFlow Datasets has registered for `name`.

    Raises:
      DataError: if tensorflow-datasets is not installed, or no longer lists them.
    """
    # Importing the package takes half a second, which a run whose data are cached need not pay.
    package = importlib.util.find_spec("tensorflow_datasets")
    if package is None or package.origin is None:
        raise DataError(f"{name}: the Python package tensorflow-datasets, which lists the archives, is not installed")
    listing = Path(package.origin).parent / "url_checksums" / f"{name}.txt"
    try:
        rows = [line.split("\t") for line in listing.read_text().splitlines() if line]
        return tuple(Archive(url, int(size), sha256, filename) for url, size, sha256, filename in rows)
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: tensorflow-datasets does not list its archives in {listing} ({error})") from error


def locate(name: str, data_dir: Path, cache_dir: Path) -> dict[str, Path]:
    """Finds which archives of `name` are at hand, by file name.

    Raises:
      DataError: if one of them has the wrong size.
    """
    found = {}
    for archive in registry(name):
        # TFDS's own download manager writes this part of the sha256 into its file names.
        mark = base64.urlsafe_b64encode(bytes.fromhex(archive.sha256)).decode().rstrip("=")
        candidates = [
            *(folder / archive.filename for folder in _folders(name, data_dir, cache_dir)),
            *(data_dir / "downloads" / name).glob(f"*{mark}*gz"),
            *(data_dir / "downloads").glob(f"*{mark}*gz"),
        ]
        if path := next((path for path in candidates if path.is_file()), None):
            if path.stat().st_size != archive.size:
                raise _damaged(archive, path)
            found[archive.filename] = path
    return found


def decode(name: str, data_dir: Path, cache_dir: Path) -> Decoded:
    """Downloads the archives of `name` that are missing, verifies all of them and decodes them.

    Raises:
      DataError: if an archive cannot be had, or its sha256 is not the registered one.
    """
    paths = locate(name, data_dir, cache_dir)
    missing = [archive for archive in registry(name) if archive.filename not in paths]
    for archive in missing:
        paths[archive.filename] = _download(name, archive, missing, _folders(name, data_dir, cache_dir))
    for archive in registry(name):
        path = paths[archive.filename]
        with _readable(path):
            intact = download.file_digest(path) == archive.sha256
        if not intact:
            raise _damaged(archive, path)
    if name in _IDX_CLASSES:
        return decode_idx(name, paths)
    (path,) = paths.values()
    return decode_cifar(name, path)


def decode_idx(name: str, paths: dict[str, Path]) -> Decoded:
    """Decodes the four gzipped idx files of an MNIST-like set, given by their official names."""
    images = {split: _read_idx(paths[f"{split}-images-idx3-ubyte.gz"], dimensions=3) for split in ("train", "t10k")}
    labels = {split: _read_idx(paths[f"{split}-labels-idx1-ubyte.gz"], dimensions=1) for split in ("train", "t10k")}
    return Decoded(
        name,
        "archives",
        _IDX_CLASSES[name],
        images["train"][..., np.newaxis],
        labels["train"].astype(np.int32),
        images["t10k"][..., np.newaxis],
        labels["t10k"].astype(np.int32),
    )


def decode_cifar(name: str, path: Path) -> Decoded:
    """Decodes the binary version of CIFAR-10, or of CIFAR-100 (its 100 fine labels)."""
    layout = _CIFAR_LAYOUTS[name]
    wanted = {*layout.train_files, *layout.test_files, layout.class_names_file}
    members = {}
    with _readable(path), tarfile.open(path, "r:gz") as tar:
        for member in tar:
            if member.name in wanted and (file := tar.extractfile(member)):
                members[member.name] = file.read()
    if absent := sorted(wanted - members.keys()):
        raise DataError(f"{path} lacks {', '.join(absent)}")
    train_images, train_labels = _cifar_records(path, layout, b"".join(members[file] for file in layout.train_files))
    test_images, test_labels = _cifar_records(path, layout, b"".join(members[file] for file in layout.test_files))
    class_names = tuple(members[layout.class_names_file].decode().split())
    return Decoded(name, "archives", class_names, train_images, train_labels, test_images, test_labels)


def _cifar_records(path: Path, layout: _CifarLayout, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    # Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version": labels, then red, green and blue planes.
    record = layout.labels_per_record + 3 * 32 * 32
    if len(content) % record:
        raise DataError(f"{path} holds {len(content)} bytes of examples, not a multiple of {record}")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    planes = records[:, layout.labels_per_record :].reshape(-1, 3, 32, 32)
    labels = records[:, layout.labels_per_record - 1].astype(np.int32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    # Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format": 0x08 is unsigned byte, then the rank.
    with _readable(path), gzip.open(path) as file:
        content = file.read()
    header_bytes = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < header_bytes:
        raise DataError(f"{path} is not an idx file of {dimensions}-dimensional bytes: it begins {content[:4].hex()}")
    shape = tuple(np.frombuffer(content[4:header_bytes], ">u4").tolist())
    if len(content) - header_bytes != math.prod(shape):
        raise DataError(f"{path} announces {shape} bytes but holds {len(content) - header_bytes}")
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as an archive ({error}); delete it and fetch it again") from error


def _folders(name: str, data_dir: Path, cache_dir: Path) -> tuple[Path, Path, Path]:
    """Where archives are looked for; the last two are where they are downloaded to."""
    # One folder per data set: mnist, kmnist and fashion_mnist share their file names.
    return (
        data_dir / "downloads" / "manual" / name,
        data_dir / "downloads" / name,
        cache_dir / "downloads" / name,
    )


def _download(name: str, archive: Archive, missing: list[Archive], folders: tuple[Path, Path, Path]) -> Path:
    manual, *writable = folders
    target = next((folder for folder in writable if _can_be_made(folder)), writable[-1]) / archive.filename
    try:
        download.fetch(archive.url, archive.size, archive.sha256, target)
    except requests.RequestException as error:
        reason = getattr(error.response, "status_code", None) or type(error).__name__
        raise DataError(
            f"{name} is missing: no prepared set in {manual.parents[2] / name}, "
            f"{', '.join(one.filename for one in missing)} not in {manual} or {writable[0]}, "
            f"and {archive.url} could not be downloaded ({reason}); place the files in {manual}, "
            f"or give --data_dir=DIR with DIR/downloads/manual/{name}; `make demo` needs no data"
        ) from error
    except OSError as error:
        raise DataError(f"{name}: {archive.filename} could not be written to {target.parent} ({error})") from error
    return target


def _can_be_made(folder: Path) -> bool:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return os.access(existing, os.W_OK)


def _damaged(archive: Archive, path: Path) -> DataError:
    try:
        refuse_pointer(path)
    except PointerError as error:
        return DataError(f"{path} {error}")
    return DataError(
        f"{path} is damaged: expected sha256 {archive.sha256} ({archive.size} bytes), found "
        f"{download.file_digest(path)} ({path.stat().st_size} bytes); delete it and fetch it again from {archive.url}"
    )
