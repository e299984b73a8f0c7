"""Small data sets in the official formats, for the tests of everything that loads data.

They cannot have the official sha256, so `register` replaces what the registry says.
"""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest
from PIL import Image

from harness import archives
from harness.data import DataError

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
TRAIN, TEST, SIZE = 60, 20, 10  # examples per split; 10 classes, so 10 is the smallest validation split


class LoadArguments(TypedDict):
    data_dir: str
    cache_dir: str
    validation_size: int


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "train_images": rng.integers(0, 256, (TRAIN, 28, 28), np.uint8),
        "train_labels": rng.permutation(np.arange(TRAIN, dtype=np.uint8) % 10),
        "test_images": rng.integers(0, 256, (TEST, 28, 28), np.uint8),
        "test_labels": np.arange(TEST, dtype=np.uint8) % 10,
    }


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx(folder: Path, content: dict[str, np.ndarray]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for key, filename in IDX_FILES.items():
        (folder / filename).write_bytes(gzip.compress(idx_bytes(content[key]), mtime=0))
    return {filename: folder / filename for filename in IDX_FILES.values()}


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def cifar_record(labels: tuple[int, ...], image: np.ndarray) -> bytes:
    return bytes(labels) + image.transpose(2, 0, 1).tobytes()


def registered(path: Path, url: str = "http://127.0.0.1:9/unreachable") -> archives.Archive:
    return archives.Archive(url, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


def register(monkeypatch: pytest.MonkeyPatch, name: str, paths: dict[str, Path]) -> None:
    """Makes the present bytes of these archives the registered ones of `name`."""
    listed, others = tuple(registered(path) for path in paths.values()), archives.registry
    monkeypatch.setattr(archives, "registry", lambda asked: listed if asked == name else others(asked))


def place_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadArguments:
    """Places a small MNIST; returns the arguments with which load finds it."""
    register(monkeypatch, "mnist", write_idx(tmp_path / "data/downloads/manual/mnist", arrays()))
    return {"data_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache"), "validation_size": SIZE}


def write_prepared(folder: Path, splits: dict[str, list[tuple[np.ndarray, int]]], **info: object) -> Path:
    """Prepares a set of three classes as TFDS lays it out, pictures stored as PNG."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder.mkdir(parents=True)
    image, label = tfds.features.Image(shape=(None, None, 1)), tfds.features.ClassLabel(names=["a", "b", "c"])
    tfds.features.FeaturesDict({"image": image, "label": label}).save_config(folder)
    listed = []
    for split, examples in splits.items():
        name = f"tiny-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(folder / name), "group_size:1")
        for pixels, number in examples:
            example = tf_example_pb2.Example()
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "PNG")
            example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
            example.features.feature["label"].int64_list.value.append(number)
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        listed.append({"name": split, "shardLengths": [str(len(examples))], "filepathTemplate": template})
    about = {"name": "tiny", "version": folder.name, "fileFormat": "array_record", "splits": listed}
    about["supervisedKeys"] = {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}}
    (folder / "dataset_info.json").write_text(json.dumps(about | info))
    return folder


def examples(count: int, seed: int, side: int = 8) -> list[tuple[np.ndarray, int]]:
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 256, (side, side), np.uint8), i % 3) for i in range(count)]


def no_decoding(*_: object) -> None:
    raise AssertionError("decoded again")


def message(error: pytest.ExceptionInfo[DataError]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text
