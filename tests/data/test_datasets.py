"""Data sets by name: what is missing is said in one line, the split never changes, the fingerprint tells sets apart."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_sets import (
    SIZE,
    TRAIN,
    LoadArguments,
    arrays,
    examples,
    message,
    place_mnist,
    register,
    write_idx,
    write_prepared,
)

from harness import data
from harness.data import DataError, datasets, load, prepared


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadArguments:
    return place_mnist(tmp_path, monkeypatch)


def test_missing_data_say_what_where_and_how(tmp_path: Path, mnist) -> None:
    (tmp_path / "data/downloads/manual/mnist/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError) as error:
        load("mnist", **mnist)
    text = message(error)
    assert "t10k-labels-idx1-ubyte.gz" in text
    assert "train-images" not in text  # that one is there
    assert str(tmp_path / "data/downloads/manual/mnist") in text
    assert "--data_dir" in text
    assert "`make demo` needs no data" in text
    assert not (tmp_path / "data/downloads/mnist").exists()


@pytest.mark.parametrize(
    ("name", "suggestion"), [("Fashion-MNIST", "fashion_mnist"), ("cifar_10", "cifar10"), ("../mnist", ""), ("", ""),
                             ("./pets", "")]
)
def test_an_unknown_name_lists_the_named_sets(tmp_path: Path, name: str, suggestion: str) -> None:
    write_prepared(tmp_path / "mnist/1.0.0", {"train": examples(9, 0), "test": examples(3, 1)})  # outside data_dir
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError) as error:
        load(name, str(tmp_path / "data"), validation_size=3, cache_dir=str(tmp_path / "cache"))
    for known in data.NAMES:
        assert known in message(error)
    assert "TensorFlow Datasets with train and test splits, of 8-bit pictures of one size, works" in message(error)
    assert "folder:PATH or npz:PATH" in message(error)
    if suggestion:
        assert f"did you mean {suggestion}?" in message(error)


def test_another_tfds_set_that_is_not_prepared_names_the_ways_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(prepared, "has_tensorflow", lambda: False)
    with pytest.raises(DataError) as error:
        load("svhn_cropped", str(tmp_path), cache_dir=str(tmp_path / "cache"))
    for word in (str(tmp_path / "svhn_cropped"), "array_record", "install tensorflow", "--data_dir"):
        assert word in message(error)
    write_prepared(tmp_path / "emnist/balanced/3.1.0", {"train": examples(9, 0), "test": examples(3, 1)})
    with pytest.raises(DataError, match=r"emnist is missing.*, but emnist/balanced there"):
        load("emnist", str(tmp_path), cache_dir=str(tmp_path / "cache"))


def test_a_set_with_configurations_that_is_prepared_by_its_bare_name_is_found(tmp_path: Path, monkeypatch) -> None:
    def prepare(name, data_dir):
        write_prepared(folder := data_dir / name / "byclass/3.1.0", {"train": examples(9, 0), "test": examples(3, 1)})
        return folder

    monkeypatch.setattr(prepared, "has_tensorflow", lambda: True)
    monkeypatch.setattr(prepared, "prepare", prepare)
    loaded = load("emnist", str(tmp_path), validation_size=3, cache_dir=str(tmp_path / "cache"))
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (6, 3)


def test_validation_is_exact_stratified_disjoint_and_constant(mnist) -> None:
    one, again = load("mnist", **mnist), load("mnist", **mnist)
    expected = arrays()["train_images"]
    np.testing.assert_array_equal(np.bincount(one.validation.labels), np.ones(10))
    position = {image.tobytes(): i for i, image in enumerate(expected)}
    train = [position[image.tobytes()] for image in one.train.images]
    validation = [position[image.tobytes()] for image in one.validation.images]
    assert train == sorted(train)
    assert sorted(train + validation) == list(range(TRAIN))
    np.testing.assert_array_equal(one.validation.labels, arrays()["train_labels"][validation])
    np.testing.assert_array_equal(one.validation.images, again.validation.images)
    assert one.fingerprint == again.fingerprint


def test_quotas_follow_the_largest_remainders() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 21])
    # 10 of 101: shares 4.95, 2.97, 2.08.
    np.testing.assert_array_equal(np.bincount(labels[datasets.stratified_sample(labels, 10)]), [5, 3, 2])


def test_every_class_keeps_an_example_and_the_others_make_up_for_it() -> None:
    labels = np.repeat([0, 1, 2, 3], [50, 1, 2, 20])
    for size in (1, 30, 60, 69):
        chosen = datasets.stratified_sample(labels, size)
        assert len(set(chosen)) == size
        assert (np.bincount(labels[chosen], minlength=4) <= [49, 0, 1, 19]).all()


def test_the_choice_never_drifts_between_library_versions() -> None:
    chosen = datasets.stratified_sample(np.arange(1000) % 10, 100)
    assert hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()[:16] == "51f21aa694446258"


@pytest.mark.parametrize("size", [-1, 0, 9, TRAIN - 9, 5000])
def test_a_validation_size_that_does_not_fit_names_the_field_and_range(mnist, size: int) -> None:
    with pytest.raises(DataError) as error:
        load("mnist", **mnist | {"validation_size": size})
    assert f"validation_size={size}" in message(error)
    assert f"from 10 (one per class) to {TRAIN - 10} " in message(error)


@pytest.mark.parametrize("changed", ["train_images", "train_labels", "test_images", "test_labels"])
def test_the_fingerprint_changes_with_every_array(tmp_path: Path, mnist, monkeypatch, changed: str) -> None:
    before = load("mnist", **mnist)
    content = arrays()
    content[changed][[0, 1]] = content[changed][[1, 0]]  # same bytes in another order
    assert not np.array_equal(content[changed], arrays()[changed])
    register(monkeypatch, "mnist", write_idx(tmp_path / "data/downloads/manual/mnist", content))
    after = load("mnist", **mnist)
    assert after.fingerprint != before.fingerprint
    assert after.pixels != before.pixels


def test_the_fingerprint_changes_with_the_split_but_pixels_do_not(mnist) -> None:
    one, other = load("mnist", **mnist), load("mnist", **mnist | {"validation_size": SIZE + 1})
    assert one.fingerprint != other.fingerprint
    assert one.pixels == other.pixels


def test_sets_that_share_file_names_are_not_confused(tmp_path: Path, mnist, monkeypatch) -> None:
    register(monkeypatch, "kmnist", write_idx(tmp_path / "data/downloads/manual/kmnist", arrays(seed=1)))
    one, other, again = load("mnist", **mnist), load("kmnist", **mnist), load("mnist", **mnist)
    np.testing.assert_array_equal(one.test.images[..., 0], arrays(0)["test_images"])
    np.testing.assert_array_equal(other.test.images[..., 0], arrays(1)["test_images"])
    assert one.pixels == again.pixels != other.pixels
    assert other.class_names[1] == "ki"


def test_folders_default_to_the_environment(tmp_path: Path, mnist, monkeypatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", mnist["data_dir"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load("mnist", validation_size=SIZE)
    assert (tmp_path / "xdg/image_ablation_harness/datasets/mnist").is_dir()


def test_digits_are_the_pinned_ones(tmp_path: Path) -> None:
    loaded = load("digits", str(tmp_path), validation_size=200, cache_dir=str(tmp_path / "cache"))
    assert [len(split.labels) for split in (loaded.train, loaded.validation, loaded.test)] == [1238, 200, 359]
    assert (loaded.official, loaded.source, loaded.image_shape) == (True, "bundled", (8, 8, 1))
    images = np.asarray(loaded.train.images)
    assert (images.min(), images.max()) == (0, 255)
    everything = np.concatenate([split.labels for split in (loaded.train, loaded.validation, loaded.test)])
    np.testing.assert_array_equal(np.bincount(everything), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert np.ptp(np.bincount(loaded.test.labels)) <= 2


@pytest.fixture(scope="module")
def real_data_dir() -> str:
    folder = os.environ.get("HARNESS_DATA_DIR")
    if not folder:
        pytest.skip("HARNESS_DATA_DIR names no folder with data sets")
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "fingerprint", "train_counts"),
    [
        (
            "mnist",
            "52c535ee92a1ef1e724ae1b30a8f5561ba047d90e88dbf12bad627ba45db47e7",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        ),
        ("kmnist", "c27d5d29f110e847a3edbc5499c622ea1004207bd821ba9c8844e73e12b53b85", [6000] * 10),
        ("fashion_mnist", "ecc0d5c09fefe587783d5239e61bfc33833dfc5bfcdf6abd6498359df766c8d2", [6000] * 10),
    ],
)
def test_the_official_archives_give_the_pinned_set(
    real_data_dir: str, tmp_path: Path, name: str, fingerprint: str, train_counts: list[int]
) -> None:
    loaded = load(name, real_data_dir, cache_dir=str(tmp_path))
    assert [len(split.labels) for split in (loaded.train, loaded.validation, loaded.test)] == [55000, 5000, 10000]
    counts = [np.bincount(split.labels, minlength=10) for split in (loaded.train, loaded.validation)]
    np.testing.assert_array_equal(counts[0] + counts[1], train_counts)
    np.testing.assert_allclose(counts[1], np.array(train_counts) / 12, atol=1)
    assert loaded.pixels == datasets._OFFICIAL_PIXELS[name]
    assert loaded.fingerprint == fingerprint
    assert loaded.official
    assert not loaded.warnings


@pytest.mark.slow
@pytest.mark.real_data
def test_a_prepared_cifar10_is_recognised_by_its_pixels(
    real_data_dir: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = load("cifar10", real_data_dir, cache_dir=str(tmp_path))
    assert [len(split.labels) for split in (loaded.train, loaded.validation, loaded.test)] == [45000, 5000, 10000]
    for split, count in ((loaded.train, 4500), (loaded.validation, 500), (loaded.test, 1000)):
        np.testing.assert_array_equal(np.bincount(split.labels), [count] * 10)
    assert loaded.image_shape == (32, 32, 3)
    assert loaded.class_names[:2] == ("airplane", "automobile")
    # Known channel means of CIFAR-10's training pictures: the planes are in the order red, green, blue.
    means = np.concatenate([loaded.train.images, loaded.validation.images]).mean((0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=1e-3)
    assert loaded.pixels == datasets._OFFICIAL_PIXELS["cifar10"]
    assert loaded.fingerprint == "2dc134246b86edf834baebca54ca0dee9ccaffbe5a62eff65dab69cfd980e644"
    assert loaded.official
    assert not loaded.warnings
    assert "decoding cifar10 train" in capfd.readouterr().err


@pytest.mark.real_data
def test_real_sets_that_share_file_names_differ(real_data_dir: str, tmp_path: Path) -> None:
    pixels = {
        load(name, real_data_dir, cache_dir=str(tmp_path)).pixels for name in ("mnist", "kmnist", "fashion_mnist")
    }
    assert len(pixels) == 3
