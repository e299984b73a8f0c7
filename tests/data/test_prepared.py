"""Prepared sets, written by the tests in the layout of TensorFlow Datasets: read in order, refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from tiny_sets import LoadArguments, examples, message, no_decoding, place_mnist, write_prepared

from harness import data
from harness.data import DataError, load, prepared


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadArguments:
    return place_mnist(tmp_path, monkeypatch)


def load_tiny(tmp_path: Path) -> data.Dataset:
    return load("tiny", str(tmp_path), validation_size=3, cache_dir=str(tmp_path / "cache"))


def test_a_prepared_set_keeps_its_order_and_is_not_called_official(tmp_path: Path, monkeypatch) -> None:
    train, test = examples(2001, seed=0), examples(4, seed=1)  # more than one chunk
    write_prepared(tmp_path / "tiny/1.9.0", {"train": test, "test": test})
    write_prepared(tmp_path / "tiny/1.10.0", {"train": train, "test": test})
    loaded = load_tiny(tmp_path)
    np.testing.assert_array_equal(loaded.test.images[..., 0], [pixels for pixels, _ in test])
    np.testing.assert_array_equal(loaded.test.labels, [label for _, label in test])
    position = {pixels.tobytes(): i for i, (pixels, _) in enumerate(train)}
    order = [position[image.tobytes()] for image in loaded.train.images]
    assert order == sorted(order)
    assert len(order) == 1998
    assert (loaded.class_names, loaded.source, loaded.official) == (("a", "b", "c"), "prepared", False)
    assert loaded.warnings == ("tiny: pixels could not be verified against the official archives",)
    monkeypatch.setattr(prepared, "decode", no_decoding)
    assert load_tiny(tmp_path).fingerprint == loaded.fingerprint


def test_a_prepared_set_that_was_replaced_is_decoded_again(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path / "tiny/1.0.0", {"train": examples(9, 0), "test": examples(3, 1)})
    before = load_tiny(tmp_path)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    write_prepared(folder, {"train": examples(9, 2), "test": examples(3, 1)})
    assert load_tiny(tmp_path).pixels != before.pixels


def test_a_prepared_set_wins_over_archives_and_its_pixels_are_compared_with_the_pinned(tmp_path: Path, mnist) -> None:
    write_prepared(tmp_path / "data/mnist/3.0.1", {"train": examples(9, 0), "test": examples(3, 1)})
    loaded = load("mnist", **mnist | {"validation_size": 3})
    assert (loaded.source, loaded.official) == ("prepared", False)
    assert "differ from those of the official archives" in loaded.warnings[0]


def test_a_set_prepared_for_tensorflow_is_passed_over_where_there_is_none(tmp_path: Path, mnist, monkeypatch) -> None:
    folder = write_prepared(tmp_path / "data/mnist/3.0.1", {"train": [], "test": []}, fileFormat="tfrecord")
    monkeypatch.setattr(prepared, "has_tensorflow", lambda: False)
    assert load("mnist", **mnist).source == "archives"
    monkeypatch.setattr(prepared, "has_tensorflow", lambda: True)
    assert prepared.find("mnist", tmp_path / "data") == folder


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": examples(9, 0)}, "has no test split, only train"),
        ({"validation": examples(9, 0)}, "has no test and no train split, only validation"),
        ({"train": examples(9, 0) + examples(1, 1, side=9), "test": examples(3, 1)}, "images differ in size"),
        ({"train": examples(9, 0), "test": examples(3, 1, side=9)}, "test images (9, 9, 1)"),
        ({"train": examples(9, 0), "test": [(np.zeros((8, 8), np.uint8), -1)]}, "test labels span -1..-1"),
        ({"train": examples(9, 0), "test": []}, "has no example of test"),
    ],
)
def test_a_prepared_set_of_another_form_is_one_clear_line(tmp_path: Path, splits: dict, words: str) -> None:
    write_prepared(tmp_path / "tiny/1.0.0", splits)
    with pytest.raises(DataError) as error:
        load_tiny(tmp_path)
    assert words in message(error)
    assert "tiny" in message(error)


def test_a_validation_split_of_its_own_is_used_and_told(tmp_path: Path) -> None:
    splits = {"train": examples(9, 0), "validation": examples(5, 2), "test": examples(3, 1)}
    write_prepared(tmp_path / "tiny/1.0.0", splits)
    loaded = load_tiny(tmp_path)
    np.testing.assert_array_equal(loaded.validation.images[..., 0], [pixels for pixels, _ in splits["validation"]])
    assert len(loaded.train.labels) == 9
    assert loaded.warnings == (
        "tiny: its own validation split (5 examples) is used, and validation_size is not",
        "tiny: pixels could not be verified against the official archives")


def test_pictures_of_sixteen_bits_keep_their_high_byte(tmp_path: Path) -> None:
    deep = [(np.random.default_rng(i).integers(0, 2**16, (8, 8), np.uint16), i % 3) for i in range(12)]
    write_prepared(tmp_path / "tiny/1.0.0", {"train": deep[:9], "test": deep[9:]})
    loaded = load_tiny(tmp_path)
    np.testing.assert_array_equal(loaded.test.images[..., 0], [pixels // 256 for pixels, _ in deep[9:]])
    assert len(np.unique(loaded.train.images)) > 100


def test_a_picture_that_the_announced_channels_cannot_show_is_one_clear_line(tmp_path: Path) -> None:
    clear = np.full((8, 8, 4), 127, np.uint8)
    write_prepared(tmp_path / "tiny/1.0.0", {"train": [*examples(9, 0), (clear, 1)], "test": examples(3, 1)})
    with pytest.raises(DataError, match=r"^tiny: a picture has transparent pixels, which L cannot show") as error:
        load_tiny(tmp_path)
    assert message(error)


def test_a_set_that_announces_more_than_eight_bits_is_refused_by_its_type(tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    folder = write_prepared(tmp_path / "tiny/1.0.0", {"train": examples(9, 0), "test": examples(3, 1)})
    image = tfds.features.Image(shape=(None, None, 1), dtype=np.uint16)
    label = tfds.features.ClassLabel(names=["a", "b", "c"])
    tfds.features.FeaturesDict({"image": image, "label": label}).save_config(folder)
    with pytest.raises(DataError, match=r"not a set of 8-bit images .* image: Image of uint16, label: ClassLabel"):
        load_tiny(tmp_path)


def test_a_prepared_set_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    folder = write_prepared(tmp_path / "tiny/1.0.0", {"train": examples(9, 0), "test": examples(3, 1)})
    features = {
        "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
        "label": tfds.features.ClassLabel(num_classes=3),
    }
    tfds.features.FeaturesDict(features).save_config(folder)
    with pytest.raises(DataError, match="its features are image: Tensor, label: ClassLabel"):
        load_tiny(tmp_path)


@pytest.mark.parametrize("damage", ["truncated records", "no records", "empty info", "more announced than stored"])
def test_a_damaged_prepared_set_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    folder = write_prepared(tmp_path / "tiny/1.0.0", {"train": examples(99, 0), "test": examples(3, 1)})
    records, info = folder / "tiny-train.array_record-00000-of-00001", folder / "dataset_info.json"
    if damage == "truncated records":
        records.write_bytes(records.read_bytes()[:-3000])
    elif damage == "no records":
        records.unlink()
    elif damage == "empty info":
        info.write_text("")
    else:
        info.write_text(info.read_text().replace('"99"', '"100"'))
    with pytest.raises(DataError) as error:
        load_tiny(tmp_path)
    assert "prepare or copy" in message(error)
    assert str(folder) in message(error)
