"""Archives: decoded exactly, verified before they are decoded, and refused in one line."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_sets import (
    TRAIN,
    LoadArguments,
    arrays,
    cifar_record,
    idx_bytes,
    message,
    place_mnist,
    register,
    write_idx,
    write_tar,
)

from harness.data import DataError, archives, load


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadArguments:
    return place_mnist(tmp_path, monkeypatch)


def test_idx_archives_decode_to_exactly_what_was_written(mnist) -> None:
    loaded, expected = load("mnist", **mnist), arrays()
    whole = np.concatenate([loaded.train.images, loaded.validation.images])
    assert sorted(image.tobytes() for image in whole) == sorted(image.tobytes() for image in expected["train_images"])
    np.testing.assert_array_equal(loaded.test.images[..., 0], expected["test_images"])
    np.testing.assert_array_equal(loaded.test.labels, expected["test_labels"])
    assert loaded.test.images.dtype == np.uint8
    assert loaded.test.labels.dtype == np.int32
    assert (loaded.num_classes, loaded.image_shape) == (10, (28, 28, 1))
    assert (loaded.official, loaded.source, loaded.warnings) == (True, "archives", ())


def test_cifar10_planes_become_pixels_and_batches_keep_their_order(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    folder = "cifar-10-batches-bin"
    files = [*(f"{folder}/data_batch_{i}.bin" for i in range(1, 6)), f"{folder}/test_batch.bin"]
    members = {file: cifar_record((i,), images[i]) for i, file in enumerate(files)}
    # Archive order is not batch order in the official file either.
    write_tar(
        tmp_path / "c.tar.gz", {f"{folder}/batches.meta.txt": b"a\nb\nc\nd\ne\nf\n\n"} | dict(reversed(members.items()))
    )
    decoded = archives.decode_cifar("cifar10", tmp_path / "c.tar.gz")
    np.testing.assert_array_equal(decoded.train_images, images[:5])
    np.testing.assert_array_equal(decoded.train_labels, np.arange(5))
    np.testing.assert_array_equal(decoded.test_images, images[5:])
    assert decoded.class_names == ("a", "b", "c", "d", "e", "f")


def test_cifar100_takes_the_fine_label(tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    fine = rng.permutation(np.arange(200) % 100)
    records = b"".join(
        cifar_record((label // 5, label), rng.integers(0, 256, (32, 32, 3), np.uint8)) for label in fine.tolist()
    )
    path = tmp_path / "downloads/manual/cifar100/cifar-100-binary.tar.gz"
    members = {
        "cifar-100-binary/train.bin": records,
        "cifar-100-binary/test.bin": records[: 100 * 3074],
        "cifar-100-binary/fine_label_names.txt": "\n".join(f"fine_{i}" for i in range(100)).encode(),
        "cifar-100-binary/coarse_label_names.txt": b"coarse",
    }
    write_tar(path, members)
    register(monkeypatch, "cifar100", {path.name: path})
    loaded = load("cifar100", str(tmp_path), validation_size=100, cache_dir=str(tmp_path / "cache"))
    np.testing.assert_array_equal(loaded.test.labels, fine[:100])
    np.testing.assert_array_equal(np.bincount(loaded.validation.labels), np.ones(100))
    assert loaded.class_names[99] == "fine_99"
    assert loaded.official


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\x08\x01" + bytes(12), "not an idx file"),
        (b"\0\0", "not an idx file"),
        (idx_bytes(np.zeros((3, 28, 28), np.uint8))[:-1], "announces (3, 28, 28) bytes but holds 2351"),
        (idx_bytes(np.zeros((3, 28, 28), np.uint8)), f"3 train images but labels int32 ({TRAIN},)"),
    ],
)
def test_an_idx_file_of_another_form_is_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    paths = write_idx(tmp_path, arrays())
    paths["train-images-idx3-ubyte.gz"].write_bytes(gzip.compress(content))
    with pytest.raises(DataError) as error:
        archives.decode_idx("mnist", paths)
    assert words in message(error)


def test_unreadable_archives_are_one_clear_line(tmp_path: Path) -> None:
    paths = write_idx(tmp_path, arrays())
    images = paths["train-images-idx3-ubyte.gz"]
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{images} cannot be read as an archive"):
        archives.decode_idx("mnist", paths)
    with pytest.raises(DataError, match="cannot be read as an archive"):
        archives.decode_cifar("cifar10", images)


def test_labels_out_of_range_are_one_clear_line(tmp_path: Path) -> None:
    content = arrays()
    content["test_labels"][3] = 10
    with pytest.raises(DataError, match=r"test labels span 0\.\.10, outside 0\.\.9"):
        archives.decode_idx("mnist", write_idx(tmp_path, content))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"cifar-100-binary/train.bin": bytes(3074)}, "lacks cifar-100-binary/fine_label_names.txt"),
        (
            {f"cifar-100-binary/{file}": bytes(3073) for file in ("train.bin", "test.bin", "fine_label_names.txt")},
            "not a multiple of 3074",
        ),
    ],
)
def test_a_cifar_archive_of_another_form_is_one_clear_line(tmp_path: Path, members: dict, words: str) -> None:
    write_tar(tmp_path / "c.tar.gz", members)
    with pytest.raises(DataError) as error:
        archives.decode_cifar("cifar100", tmp_path / "c.tar.gz")
    assert words in message(error)


@pytest.mark.parametrize("damage", ["truncated", "one byte flipped"])
def test_a_damaged_archive_names_file_digests_and_remedy(tmp_path: Path, mnist, damage: str) -> None:
    path = tmp_path / "data/downloads/manual/mnist/train-images-idx3-ubyte.gz"
    good = path.read_bytes()
    path.write_bytes(good[:-9] if damage == "truncated" else good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    with pytest.raises(DataError) as error:
        load("mnist", **mnist)
    for word in (str(path), hashlib.sha256(good).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest(), "delete"):
        assert word in message(error)


def test_a_truncated_archive_is_reported_even_when_its_pixels_are_cached(tmp_path: Path, mnist) -> None:
    load("mnist", **mnist)
    path = tmp_path / "data/downloads/manual/mnist/train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="is damaged"):
        load("mnist", **mnist)


def test_archives_left_by_the_tfds_download_manager_are_found(tmp_path: Path, mnist) -> None:
    from tensorflow_datasets.core.download import resource

    folder = tmp_path / "data/downloads/mnist"
    folder.mkdir()
    for archive in archives.registry("mnist"):
        placed = tmp_path / "data/downloads/manual/mnist" / archive.filename
        placed.rename(folder / resource.get_dl_fname(f"http://x.org/{archive.filename}", archive.sha256))
    assert load("mnist", **mnist).official


@pytest.mark.parametrize("name", archives.NAMES)
def test_the_registry_of_tensorflow_datasets_lists_every_archive(name: str) -> None:
    listed = archives.registry(name)
    assert len(listed) == (1 if name.startswith("cifar") else 4)
    for archive in listed:
        assert archive.url.startswith("http")
        assert archive.url.endswith(archive.filename)
        assert len(archive.sha256) == 64
