"""Pictures of a folder are decoded once, and again where anything has changed."""

import os
from pathlib import Path

import numpy as np
import pytest
from own_pictures import SPLITS, counts, labelled, loader, paint, paint_set
from PIL import Image

from ablations.own_data import ImageFolder
from ablations.spec import RunConfig
from harness.data import DataError, folder, inputs, resize


def test_a_warning_is_of_the_folder_as_it_is(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    assert "no class" not in " ".join(load(ImageFolder(root)).warnings)
    paint(root / "loose.png")
    assert "pictures of no class, left out: 1" in " ".join(load(ImageFolder(root)).warnings)
    (root / "loose.png").unlink()
    assert "no class" not in " ".join(load(ImageFolder(root)).warnings)


def test_files_that_change_names_change_labels(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    for name in "ab":  # of one size and time
        Image.new("RGB", (8, 8), (250 if name == "a" else 240, 0, 0)).save(root / name / "x.bmp")
        os.utime(root / name / "x.bmp", (1, 1))
    load(ImageFolder(root))
    (root / "a/x.bmp").rename(root / "x.bmp")
    (root / "b/x.bmp").rename(root / "a/x.bmp")
    (root / "x.bmp").rename(root / "b/x.bmp")
    loaded = load(ImageFolder(root))
    found = {pair for split in SPLITS for pair in labelled(getattr(loaded, split))}
    assert {(24, 0), (25, 1)} <= found


def test_a_set_that_can_be_read_again_takes_the_place_of_one_with_files_left_out(tmp_path: Path, monkeypatch) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    read = resize.read

    def failing(path, form):
        if path.name == "3.png":
            raise DataError(f"{path}: Input/output error")
        return read(path, form)

    monkeypatch.setattr(resize, "read", failing)
    assert sum(counts(load(ImageFolder(root), skip_unreadable=True))) == 10
    monkeypatch.setattr(resize, "read", read)
    assert sum(counts(load(ImageFolder(root)))) == 12
    monkeypatch.setattr(resize, "read", lambda *_: pytest.fail("decoded again"))
    assert sum(counts(load(ImageFolder(root), skip_unreadable=True))) == 12


def test_of_a_set_with_files_left_out_those_alone_are_tried_again(tmp_path: Path, monkeypatch) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    read, tried, bad = resize.read, [], {"3.png"}

    def failing(path, form):
        tried.append(path)
        if path.name in bad:
            raise DataError(f"{path}: Permission denied")
        return read(path, form)

    monkeypatch.setattr(resize, "read", failing)
    first = load(ImageFolder(root), skip_unreadable=True)
    assert (sum(counts(first)), len(tried)) == (10, 12)
    tried.clear()
    assert load(ImageFolder(root), skip_unreadable=True).fingerprint == first.fingerprint
    assert sorted(tried) == [root / "a/3.png", root / "b/3.png"]
    bad.clear()
    whole = load(ImageFolder(root), skip_unreadable=True)
    assert sum(counts(whole)) == 12
    assert "left out" not in " ".join(whole.warnings)
    tried.clear()
    load(ImageFolder(root), skip_unreadable=True)
    assert not tried


def test_pictures_are_decoded_once_and_again_where_file_or_form_changed(tmp_path: Path, monkeypatch) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    first = load(ImageFolder(root))
    other = load(ImageFolder(root, fit="pad"))
    assert first.fingerprint != other.fingerprint
    decode = folder.decode
    monkeypatch.setattr(folder, "decode", lambda *_, **__: pytest.fail("decoded again"))
    kept = load(ImageFolder(root))
    assert (kept.fingerprint, kept.warnings) == (first.fingerprint, first.warnings)
    assert load.told[0] == "Found 12 files belonging to 2 classes."
    monkeypatch.setattr(folder, "decode", decode)
    paint(root / "a/0.png", (9, 99, 9))
    assert load(ImageFolder(root)).fingerprint != first.fingerprint


def test_arrays_of_two_files_that_change_names_are_read_again(tmp_path: Path) -> None:
    for name, pixel in (("a", 1), ("b", 2)):
        images, labels = np.full((40, 5, 5), pixel, np.uint8), np.arange(40) % 2
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
        os.utime(tmp_path / f"{name}.npz", (1e9, 1e9))
    load = loader(tmp_path)
    first = load(f"npz:{tmp_path}/a.npz")
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    assert load(f"npz:{tmp_path}/a.npz").fingerprint != first.fingerprint


def test_what_changes_no_byte_decodes_nothing_again_and_is_still_told(tmp_path: Path, monkeypatch) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    load(ImageFolder(root))
    monkeypatch.setattr(folder, "decode", lambda *_, **__: pytest.fail("decoded again"))
    (root / "a/0.png").chmod(0o600)
    os.link(root / "a/1.png", tmp_path / "elsewhere.png")
    paint(root / "loose.png", (1, 2, 3))
    assert any("pictures of no class, left out: 1" in line for line in load(ImageFolder(root)).warnings)


def test_all_forms_of_a_folder_are_found_once_and_skip_the_same(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    root = paint_set(tmp_path / "pets", {"a": 6, "b": 6})
    (root / "a/0.png").write_bytes(b"")
    told: list[str] = []
    runs = [RunConfig(ImageFolder(root, fit=fit), validation_size=2) for fit in ("crop", "pad")]
    found = inputs.load_datasets(runs, None, skip_unreadable=True, tell=told.append)
    assert [counts(found[inputs.key(run)].dataset) for run in runs] == [[7, 2, 2]] * 2
    assert told.count("Found 12 files belonging to 2 classes.") == 1
    with pytest.raises(DataError, match="1 of 12 pictures"):
        inputs.load_datasets(runs, None, tell=told.append)


def test_a_whole_set_is_decoded_once_whether_or_not_bad_files_may_be_left_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6}), loader(tmp_path)
    strict = load(ImageFolder(root))
    monkeypatch.setattr(resize, "read", lambda *_: pytest.fail("decoded again"))
    lenient = load(ImageFolder(root), skip_unreadable=True)
    assert (lenient.fingerprint, lenient.warnings) == (strict.fingerprint, strict.warnings)
