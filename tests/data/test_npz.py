"""Files as Keras writes them are read; what they should not be is refused with the mend, and before it is unpacked."""

import re
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from own_pictures import examples, loader
from tiny_sets import message

from harness.data import DataError, npz


def write(path: Path, **changes: object) -> str:
    (x_train, y_train), (x_test, y_test) = examples((20, 6, 5), 3), examples((6, 6, 5), 3, seed=1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test} | changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return f"npz:{path}"


def test_images_and_labels_are_those_of_the_file(tmp_path: Path) -> None:
    dataset = write(tmp_path / "a.npz", y_train=(np.arange(20) % 3)[:, None])
    loaded = loader(tmp_path)(dataset)
    images, labels = examples((6, 6, 5), 3, seed=1)
    np.testing.assert_array_equal(loaded.test.images[..., 0], images)
    np.testing.assert_array_equal(loaded.test.labels, labels)
    number = {image.tobytes(): index % 3 for index, image in enumerate(examples((20, 6, 5))[0])}
    for split in (loaded.train, loaded.validation):
        assert [number[image.tobytes()] for image in split.images] == split.labels.tolist()
    assert (loaded.name, loaded.source, loaded.class_names) == ("npz:a.npz", "npz", ("0", "1", "2"))
    assert (len(loaded.train.labels), len(loaded.validation.labels), loaded.warnings) == (18, 2, ())


def test_a_changed_file_is_read_anew_and_an_unchanged_one_is_not(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    load = loader(tmp_path)
    before = load(write(tmp_path / "a.npz"))
    after = load(write(tmp_path / "a.npz", x_test=examples((6, 6, 5), seed=2)[0]))
    assert before.fingerprint != after.fingerprint
    monkeypatch.setattr(npz, "decode", lambda *arguments: pytest.fail("it was decoded again"))
    again = load(f"npz:{tmp_path}/a.npz")
    assert again.fingerprint == after.fingerprint
    assert isinstance(again.test.images, np.memmap)


@pytest.mark.parametrize("word", ["val", "valid", "validation", "dev"])
def test_a_validation_part_is_used_and_told(tmp_path: Path, word: str) -> None:
    x_val, y_val = examples((5, 6, 5), 3, seed=3)
    loaded = loader(tmp_path)(write(tmp_path / "a.npz", **{f"x_{word}": x_val, f"y_{word}": y_val}),
                              validation_size=5000)
    np.testing.assert_array_equal(loaded.validation.images[..., 0], x_val)
    assert len(loaded.train.labels) == 20
    assert "its own validation split (5 examples) is used" in loaded.warnings[0]


def test_arrays_that_are_not_used_are_told(tmp_path: Path) -> None:
    more = {"names": np.array(["a", "b"]), "x_eval": np.zeros((2, 6, 5), np.uint8)}
    loaded = loader(tmp_path)(write(tmp_path / "a.npz", **more))
    assert loaded.warnings == ("npz:a.npz: arrays that are not used: names, x_eval",)


@pytest.mark.parametrize(("changes", "words"), [
    ({"x_train": np.zeros((20, 6, 5), np.float32)}, "train images are float32.*np.round\\(images \\* 255\\)"),
    ({"x_test": np.full((6, 6, 5), 200.0)}, "test images are float64.*store np.round\\(images\\).astype"),
    ({"x_test": np.full((6, 6, 5), 60_000, np.uint16)}, "are from 60000 to 60000: bring all splits to 0..255"),
    ({"x_test": np.full((6, 6, 5), -1.0)}, "are from -1 to -1: bring all splits to 0..255"),
    ({"x_test": np.full((6, 6, 5), np.nan)}, "infinite or no numbers: mend these first"),
    ({"y_train": np.array(["a"] * 20)}, "train labels are <U1.*np.searchsorted\\(np.unique\\(y_train\\), labels\\)"),
    ({"y_train": np.zeros(20, bool)}, "train labels are bool.*astype"),
    ({"y_dev": np.zeros(2, int)}, "has y_dev without x_dev; store both"),
    ({f"{kind}_{word}": np.zeros(2, int) for kind in "xy" for word in ("val", "dev")}, "named val and dev; keep one"),
    ({"x_train": np.zeros((20, 3, 32, 32), np.uint8)}, "channels first.*transpose\\(0, 2, 3, 1\\)"),
    ({"y_train": np.eye(20)}, "train labels have the shape \\(20, 20\\).*argmax\\(1\\)"),
    ({"y_train": np.zeros(20)}, "train labels are float64.*astype"),
    ({"y_train": np.arange(19)}, "20 images but 19 labels"),
    ({"y_test": np.full(6, -1)}, "count classes from 0"),
    ({"y_train": np.zeros(20, int), "y_test": np.zeros(6, int)}, "1 class \\(0\\) leaves nothing"),
    ({"x_val": np.zeros((2, 6, 5), np.uint8)}, "has x_val without y_val; store both"),
    ({"y_test": None}, "lacks y_test; it has x_test, x_train, y_train"),
    ({"y_test": np.array([{}] * 6, object)}, "y_test holds Python objects"),
    ({"x_test": np.zeros((6, 4, 4), np.uint8)}, "train images are \\(6, 5, 1\\) but test images \\(4, 4, 1\\)"),
])
def test_arrays_of_another_form_are_one_line_with_the_mend(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(DataError) as error:
        loader(tmp_path)(write(tmp_path / "a.npz", **changes))
    assert re.search(words, message(error))
    assert "a.npz" in message(error)


def test_arrays_in_a_folder_within_the_file_are_lacking(tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, zipfile.ZipFile(tmp_path / "b.npz", "w") as other:
        for name in archive.namelist():
            other.writestr(f"data/{name}", archive.read(name))
    with pytest.raises(DataError, match="lacks x_train, y_train, x_test, y_test; it has data/x_test"):
        loader(tmp_path)(f"npz:{tmp_path}/b.npz")


def test_what_is_no_such_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("text")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "pointer.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n")
    wanted = {"text.npz": "not a zip file", "pointer.npz": "a Git LFS pointer .*: run git lfs pull",
              "one.npy": "not a zip file", "none.npz": "does not exist"}
    for name, words in wanted.items():
        with pytest.raises(DataError, match=words) as error:
            loader(tmp_path)(f"npz:{tmp_path / name}")
        assert name in message(error)


def test_nothing_is_unpacked_that_would_not_fit_the_memory(tmp_path: Path, monkeypatch) -> None:
    dataset = write(tmp_path / "a.npz", x_train=np.zeros((20, 500, 500), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 50_000
    monkeypatch.setattr(np, "load", None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2**20}))
    with pytest.raises(DataError, match="GiB of memory"):
        loader(tmp_path)(dataset)


def test_a_header_that_announces_another_size_than_the_archive_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, zipfile.ZipFile(tmp_path / "b.npz", "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "x_test.npy":
                content = content.replace(b"(6, 6, 5)", b"(9, 9, 9)")
            changed.writestr(name, content)
    with pytest.raises(DataError, match="x_test announces 729 bytes but holds 180"):
        loader(tmp_path)(f"npz:{tmp_path}/b.npz")
