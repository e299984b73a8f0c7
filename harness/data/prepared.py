"""Reads data sets that TensorFlow Datasets has prepared: `<data_dir>/<name>/<version>/`, record files and their info.

Sets stored as `array_record` need no TensorFlow; others do, and so does preparing a new one.
"""

import importlib.util
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from harness.data import pictures
from harness.data.decoded import DataError, Decoded, changed

_CHUNK = 1000


def find(name: str, data_dir: Path) -> Path | None:
    """Returns the folder of the newest prepared version that can be read on this machine."""
    folders = [
        info.parent
        for info in (data_dir / name).glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name) and (_needs_no_tensorflow(info) or has_tensorflow())
    ]
    return max(folders, key=lambda folder: tuple(map(int, folder.name.split("."))), default=None)


def configs(name: str, data_dir: Path) -> list[str]:
    """Lists the names of prepared sets that differ from this one in having a configuration, as emnist/balanced."""
    found = {info.parent.parent.name for info in (data_dir / name).glob("*/*/dataset_info.json")}
    return [f"{name}/{config}" for config in sorted(found)]


def identity(folder: Path) -> list[tuple[str, int, int]]:
    """Lists the name of each file with what tells a changed one from the one before, wherever a copy of them lies."""
    listed = [(file.name, *changed(file)[:2]) for file in sorted(folder.iterdir())]
    # Such sets were once kept without it.
    return [*listed, ("with validation", 0, 0)] if any("-validation." in name for name, *_ in listed) else listed


def has_tensorflow() -> bool:
    """Says whether new sets can be prepared, and record formats other than `array_record` be read."""
    return importlib.util.find_spec("tensorflow") is not None


def is_known(name: str) -> bool:
    """Says whether TensorFlow Datasets has a set of this name (`name` or `name/config`)."""
    import tensorflow_datasets as tfds

    return name.split("/")[0] in tfds.list_builders(with_community_datasets=False)


def prepare(name: str, data_dir: Path) -> Path:
    """Downloads and prepares a set with TensorFlow, in the format that is read without it from then on.

    Returns:
      its folder; of a set with configurations that was named without one, that of the first.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare()
    except Exception as error:  # TFDS lets through whatever its many builders raise
        raise DataError(f"{name} could not be prepared in {data_dir}: {_one_line(error)}") from error
    return Path(builder.data_dir)


def decode(name: str, folder: Path) -> Decoded:
    """Decodes the train and test pictures of a prepared set, and those of validation if it has them, in stored order.

    Raises:
      DataError: if the set is damaged, lacks a train or test split, is not one of labelled uint8 pictures, or its
        pictures differ in size or cannot be shown with the channels announced.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        image_key, label_key = _keys(name, builder.info)
        if absent := {"train", "test"} - builder.info.splits.keys():
            raise DataError(
                f"{name}: the prepared set in {folder} has no {' and no '.join(sorted(absent))} split, "
                f"only {', '.join(builder.info.splits)}"
            )
        if empty := [split for split in ("train", "test", "validation")
                     if split in builder.info.splits and not builder.info.splits[split].num_examples]:
            raise DataError(f"{name}: the prepared set in {folder} has no example of {' and none of '.join(empty)}")
        train = _split(name, builder, "train", image_key, label_key)
        test = _split(name, builder, "test", image_key, label_key)
        validation: tuple[Any, Any] = (None, None)
        if "validation" in builder.info.splits:
            validation = _split(name, builder, "validation", image_key, label_key)
    except DataError:
        raise
    except Exception as error:  # array_record raises RuntimeError, Pillow OSError, TFDS many kinds
        raise DataError(
            f"{name}: the prepared set in {folder} cannot be read ({_one_line(error)}); prepare or copy it again"
        ) from error
    source = "prepared" if _needs_no_tensorflow(folder / "dataset_info.json") else "tensorflow"
    return Decoded(name, source, tuple(builder.info.features[label_key].names), *train, *test, *validation)


def _needs_no_tensorflow(dataset_info: Path) -> bool:
    try:
        return bool(json.loads(dataset_info.read_text()).get("fileFormat") == "array_record")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{dataset_info} cannot be read ({_one_line(error)}); prepare or copy the set again") from error


def _keys(name: str, info: Any) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    features = info.features
    keys = info.supervised_keys or ("image", "label")
    if not (
        len(keys) == 2
        and set(keys) <= features.keys()
        and isinstance(features[keys[0]], tfds.features.Image)
        and features[keys[0]].np_dtype == np.uint8
        and isinstance(features[keys[1]], tfds.features.ClassLabel)
    ):
        kinds = ", ".join(f"{key}: {_kind(feature)}" for key, feature in sorted(features.items()))
        raise DataError(f"{name} is not a set of 8-bit images with one class label each; its features are {kinds}")
    return keys


def _kind(feature: Any) -> str:
    kind = type(feature).__name__
    return f"{kind} of {np.dtype(feature.np_dtype).name}" if kind == "Image" else kind


def _split(name: str, builder: Any, split: str, image_key: str, label_key: str) -> tuple[np.ndarray, np.ndarray]:
    count = builder.info.splits[split].num_examples
    channels = builder.info.features[image_key].shape[-1] or 3
    labels = np.zeros(count, np.int32)
    images = np.zeros(0, np.uint8)
    read = 0
    examples = tqdm(_examples(builder, split, image_key), total=count, desc=f"decoding {name} {split}", mininterval=1)
    for read, example in enumerate(examples, start=1):
        image = pictures.read(io.BytesIO(example[image_key]), channels, name)
        if read == 1:
            images = np.zeros((count, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise DataError(
                f"{name}: images differ in size ({images.shape[1:]}, {image.shape}); all must have one size"
            )
        images[read - 1], labels[read - 1] = image, example[label_key]
    if read != count:
        raise DataError(f"{name}: {split} has {read} records but its info announces {count}; prepare or copy it again")
    return images, labels


def _examples(builder: Any, split: str, image_key: str) -> Iterator[dict[str, Any]]:
    import tensorflow_datasets as tfds

    # TFDS decodes with OpenCV where it is installed and with Pillow elsewhere, and the two differ on JPEG: pixels,
    # and with them the fingerprint, would depend on the machine. So the encoded bytes are taken and Pillow decodes.
    decoders = {image_key: tfds.decode.SkipDecoding()}
    if _needs_no_tensorflow(Path(builder.data_dir) / "dataset_info.json"):
        records = builder.as_data_source(split, decoders=decoders)
        for start in range(0, len(records), _CHUNK):
            yield from records.__getitems__(list(range(start, min(start + _CHUNK, len(records)))))
    else:
        yield from tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders, shuffle_files=False))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
