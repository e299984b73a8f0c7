"""Pictures in folders: who is in which split and class, what is told and what is refused."""

import concurrent.futures
import csv
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from own_pictures import SPLITS, counts, labelled, loader, paint, paint_set
from PIL import Image
from tiny_sets import message

from ablations.own_data import ImageFolder
from harness.data import DataError, layout


def refused(tmp_path: Path, dataset: object, **options: object) -> str:
    with pytest.raises(DataError) as error:
        loader(tmp_path)(dataset, **options)
    return message(error)


def table(root: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("file_name", "label")) -> None:
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def test_a_folder_a_class_is_split_by_a_constant_and_that_is_told(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"dog": 20, "cat": 10}), loader(tmp_path)
    loaded = load(f"folder:{root}", validation_size=6)
    assert loaded.class_names == ("cat", "dog")
    assert counts(loaded) == [18, 6, 6]
    assert [np.bincount(getattr(loaded, split).labels).tolist() for split in SPLITS] == [[6, 12], [2, 4], [2, 4]]
    assert labelled(loaded.train) == labelled(loaded.test) == [(0, 1), (1, 0)]
    assert load.told[:2] == ["Found 30 files belonging to 2 classes.",
                             "Using 24 files of train for training, 6 for testing."]
    assert "has no test split; 6 examples of train" in loaded.warnings[0]
    assert (loaded.name, loaded.source, loaded.image_shape) == ("folder:pets", "folder", (64, 64, 3))
    assert load(f"folder:{root}", validation_size=6).fingerprint == loaded.fingerprint


def test_the_first_training_examples_are_of_all_classes(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"a": 20, "b": 20, "test/a": 1})  # no split level: test is a class here
    assert set(loader(tmp_path)(ImageFolder(root)).train.labels[:8].tolist()) >= {0, 1}


@pytest.mark.parametrize("words", [("train", "validation", "test"), ("Training", "VAL", "Testing"),
                                   ("train", "valid", "test"), ("training", "dev", "testing")])
def test_split_folders_go_by_all_their_usual_names(tmp_path: Path, words: tuple[str, ...]) -> None:
    root, load = tmp_path / "pets", loader(tmp_path)
    sizes = {f"{words[0]}/cat": 4, f"{words[0]}/dog": 3, f"{words[1]}/dog": 2, f"{words[2]}/cat": 2}
    loaded = load(ImageFolder(paint_set(root, sizes), size=(8, 8)), validation_size=5000)
    assert loaded.class_names == ("cat", "dog")
    assert [labelled(getattr(loaded, split)) for split in SPLITS] == [[(0, 0), (1, 1)], [(2, 1)], [(3, 0)]]
    assert load.told[:3] == [f"{split}: Found {count} files belonging to 2 classes."
                             for split, count in zip(SPLITS, (7, 2, 2), strict=True)]
    for told in ("validation has no example of cat", "test has no example of dog",
                 "its own validation split (2 examples) is used"):
        assert any(told in warning for warning in loaded.warnings)


def test_an_empty_class_keeps_its_number_and_is_told(tmp_path: Path) -> None:
    loaded = loader(tmp_path)(ImageFolder(paint_set(tmp_path / "pets", {"a": 8, "b": 0, "c": 8})))
    assert loaded.class_names == ("a", "b", "c")
    assert labelled(loaded.train) == [(0, 0), (2, 2)]
    assert "folder:pets: train has no example of b" in loaded.warnings


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "vehicles", {"car": 6, "train": 6})
    assert loader(tmp_path)(ImageFolder(root)).class_names == ("car", "train")
    loaded = loader(tmp_path)(ImageFolder(paint_set(tmp_path / "odd", {"train": 6, "test": 6, "notes": 6})))
    assert "taken for classes: test, train in" in " ".join(loaded.warnings)
    assert "because notes/ beside is no split" in " ".join(loaded.warnings)


@pytest.mark.parametrize(("folders", "words"), [
    ({"train/a": 2, "eval/a": 2}, '"eval" means test to some and validation to others; name it test or validation'),
    ({"train/a": 2, "Evaluation/a": 2}, "name it test or validation"),
    ({"train/a": 2, "val/a": 2, "validation/a": 2}, "val/ and validation/ both mean validation"),
    ({"val/a": 2, "test/a": 2}, "has test/, val/ but no train/"),
    ({"train/a": 2, "train/b": 2, "test": 0}, "test has no pictures in class folders"),
    ({"a": 5}, "has one class, a"), ({}, "does not exist"), ({"a": 0, "b": 0}, "has no pictures where"),
    ({"a": 1, "b": 1}, "too few to set some aside"),
])
def test_a_folder_that_is_no_set_is_one_line(tmp_path: Path, folders: dict[str, int], words: str) -> None:
    paint_set(tmp_path / "pets", folders)
    text = refused(tmp_path, f"folder:{tmp_path}/pets")
    assert words in text
    assert str(tmp_path / "pets") in text or "folder:pets" in text


@pytest.mark.parametrize("beside", ["holdout/cat", "test1"])
def test_one_split_folder_beside_another_of_no_such_name_is_told(tmp_path: Path, beside: str) -> None:
    root = paint_set(tmp_path / "pets", {"train/cat": 6, "train/dog": 6, beside: 6})
    told = " ".join(loader(tmp_path)(ImageFolder(root)).warnings)
    assert f"taken for classes: train in {root}, because {beside.partition('/')[0]}/ beside is no split" in told
    vehicles = paint_set(tmp_path / "vehicles", {"car/sedan": 6, "train": 6})
    assert "taken for" not in " ".join(loader(tmp_path)(ImageFolder(vehicles)).warnings)


def test_hidden_and_system_files_are_no_classes_and_no_pictures(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6, "__MACOSX": 2, ".git": 2, "lost+found": 1,
                                               "$RECYCLE.BIN": 2, "a/@eaDir": 3}), loader(tmp_path)
    paint(root / "a/._0.png")
    paint(root / "a/.ipynb_checkpoints/0.png")
    for name in ("Thumbs.db", "desktop.ini", "notes.txt", "photo.HEIC"):
        (root / "a" / name).touch()
    loaded = load(ImageFolder(root))
    assert loaded.class_names == ("a", "b")
    assert load.told[0] == "Found 12 files belonging to 2 classes."
    assert "Left out are files of other kinds: 1 .heic, 1 .txt." in load.told


def test_suffixes_count_in_any_case_and_folders_to_any_depth(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 4, "b": 4}), loader(tmp_path)
    for name in ("x.JPG", "y.Jpeg", "z.TIFF", "deep/er/v.BMP"):
        paint(root / "a" / name)
    load(ImageFolder(root))
    assert load.told[0] == "Found 12 files belonging to 2 classes."


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 4, "b": 4}), loader(tmp_path)
    elsewhere = paint(tmp_path / "elsewhere/1.png").parent
    (root / "a/more").symlink_to(elsewhere)
    (root / "b/more").symlink_to(elsewhere)  # taken by a
    (root / "a/up").symlink_to("..")
    (root / "a/self").symlink_to(".")
    (root / "a/neighbour").symlink_to("../b")
    (root / "a/round").symlink_to("round")
    (root / "b/again.png").symlink_to("../a/0.png")
    (root / "0").symlink_to("a")  # first by name, and no class of its own
    loaded = load(ImageFolder(root))
    assert load.told[0] == "Found 9 files belonging to 2 classes."
    assert {pair for split in SPLITS for pair in labelled(getattr(loaded, split))} == {(0, 0), (20, 0), (1, 1)}
    assert "links to pictures that are listed already, left out: 1" in " ".join(loaded.warnings)


def test_bad_files_are_named_up_to_ten_before_anything_trains(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"a": 9, "b": 9})
    bad = [root / f"a/bad{number:02}.png" for number in range(12)]
    for path in bad:
        path.write_bytes(b"nothing")
    text = refused(tmp_path, ImageFolder(root))
    assert text.startswith("12 of 30 pictures of folder:pets cannot be read")
    assert [str(path) in text for path in bad] == [True] * 10 + [False] * 2
    assert "and 2 more. Mend or remove them, or leave them out with --skip_unreadable" in text
    loaded = loader(tmp_path)(ImageFolder(root), skip_unreadable=True)
    assert sum(counts(loaded)) == 18
    assert labelled(loaded.train) == [(0, 0), (1, 1)]
    assert "folder:pets: pictures that cannot be read, left out: 12 of 30" in loaded.warnings
    assert refused(tmp_path, ImageFolder(root)) == text, "what was kept without them is not taken"


@pytest.mark.parametrize("folders", [
    ("a", "b/c", "b"), ("train/a", "more/b", "."), ("train/a", "test/b", "test/a/deep"),
    ("train/a", "test/.", "train/b")])
@pytest.mark.parametrize("listed", [None, ".", "test"])
def test_the_classes_told_of_pictures_are_those_of_the_data_set(tmp_path: Path, folders: tuple[str, ...],
                                                                listed: str | None) -> None:
    for number, name in enumerate(folders):
        paint(tmp_path / name / f"{number}.png")
    if listed and (level := tmp_path / listed).is_dir():
        table(level, [(str(path.relative_to(level)), "cat") for path in level.rglob("*.png")])
    files, _ = layout.pictures(tmp_path)
    assert layout.labels(tmp_path, files) == {one.path: one.label for one in layout.read(tmp_path).files}


@pytest.mark.parametrize("folders", [("test",), ("val", "Test"), ("eval",), ("val", "validation", "evaluation")])
def test_the_classes_of_pictures_to_be_judged_are_told_whatever_splits_there_are(
        tmp_path: Path, folders: tuple[str, ...]) -> None:
    root = paint_set(tmp_path / "pets", {f"{folder}/{label}": 2 for folder in folders for label in ("cat", "dog")})
    paint(root / folders[0] / "loose.png")
    files, _ = layout.pictures(root)
    assert layout.labels(root, files) == {file: file.parent.name for file in files if file.name != "loose.png"}


def test_pictures_that_stand_in_two_splits_are_counted_and_told(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train/a": 4, "train/b": 4, "test/a": 3})
    for name in ("x", "y"):
        (root / f"test/a/{name}.bmp").write_bytes(b"")
        Image.open(root / "train/b/0.png").save(root / f"test/a/{name}.bmp")
    warnings = loader(tmp_path)(ImageFolder(root)).warnings
    assert "folder:pets: 2 of 5 test images stand in train too, all pixels equal" in warnings


def test_copies_within_the_split_that_validation_is_taken_from_are_counted_and_told(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train/a": 6, "train/b": 6, "test/a": 3})
    shutil.copy(root / "train/a/0.png", root / "train/a/0 copy.png")
    for name in ("mine", "mine too"):
        shutil.copy(root / "train/a/1.png", root / f"train/b/{name}.png")
    said = ("folder:pets: 3 of 15 train images are copies of others there, all pixels equal (pictures that stand "
            "under several classes: 1); where validation images are taken from train, some may be among both")
    assert said in loader(tmp_path)(ImageFolder(root)).warnings
    paint(root / "validation/a/9.png")
    assert "copies" not in " ".join(loader(tmp_path)(ImageFolder(root)).warnings)


def test_no_more_threads_read_than_cores_are_allowed(tmp_path: Path, monkeypatch) -> None:
    asked, pool = [], concurrent.futures.ThreadPoolExecutor
    monkeypatch.setattr(
        concurrent.futures, "ThreadPoolExecutor", lambda workers: asked.append(workers) or pool(workers))
    for cores in (3, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        loader(tmp_path)(ImageFolder(paint_set(tmp_path / f"of {cores}", {"a": 6, "b": 6})))
    assert asked == [3, 16]


def test_the_only_example_of_a_class_is_trained_on(tmp_path: Path) -> None:
    loaded = loader(tmp_path)(ImageFolder(paint_set(tmp_path / "pets", {"a": 20, "b": 1, "c": 2})), validation_size=15)
    assert set(loaded.train.labels.tolist()) == {0, 1, 2}
    assert 1 not in {*loaded.validation.labels.tolist(), *loaded.test.labels.tolist()}
    text = refused(tmp_path, ImageFolder(tmp_path / "pets"), validation_size=5000)
    assert "validation_size=5000 does not fit folder:pets: it must be from 1 to 16" in text
    assert "validation_size=3 would do" in text


def test_one_picture_of_each_class_is_too_little_to_validate_on_and_that_is_said(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train/a": 1, "train/b": 1, "test/a": 3})
    assert "2 training examples of 2 classes are too few to take a validation set from" in refused(
        tmp_path, ImageFolder(root))


def test_class_names_reorder_and_leave_out(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"a": 6, "b": 6, "c": 6}), loader(tmp_path)
    loaded = load(ImageFolder(root, class_names=("c", "a")))
    assert loaded.class_names == ("c", "a")
    assert labelled(loaded.train) == [(0, 1), (2, 0)]
    assert load.told[0] == "Found 12 files belonging to 2 classes."
    assert "Left out, as class_names says: b." in load.told
    more = paint_set(tmp_path / "more", {"cat": 3, "dog": 3})
    text = refused(tmp_path, ImageFolder(more, class_names=("cat", "dgo")))
    assert 'has "dgo"' in text
    assert 'did you mean "dog"?' in text


def test_class_names_are_those_of_the_folders_in_whatever_form_of_unicode(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = paint_set(tmp_path / "drinks", {composed: 6, "tee": 6})
    loaded = loader(tmp_path)(ImageFolder(root, class_names=("tee", decomposed)))
    assert (loaded.class_names, labelled(loaded.train)) == (("tee", composed), [(0, 1), (1, 0)])
    assert "stands for two classes" in refused(tmp_path, ImageFolder(root, class_names=(composed, decomposed)))


def test_a_folder_of_one_class_names_another_to_look_in_only_where_there_is_one(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"cat": 5})
    assert f"; did you mean {root}/cat?" in refused(tmp_path, ImageFolder(root))
    listed = paint_set(tmp_path / "listed", {"x": 2})
    table(listed, [("x/0.png", "cat"), ("x/1.png", "cat")])
    assert refused(tmp_path, ImageFolder(listed)).endswith("which leaves nothing to tell apart")


def test_class_names_may_be_of_any_script_and_many(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    names = {"train/猫": 2, "train/кот": 2, f"train/{decomposed}": 2, "test/é": 1, "train/a b,c": 2}
    loaded = loader(tmp_path)(ImageFolder(paint_set(tmp_path / "pets", names), size=(8, 8)))
    assert loaded.class_names == ("a b,c", "é", "кот", "猫")
    assert labelled(loaded.test) == [(3, 1)]
    many = {f"train/c{number:03}": 1 for number in range(260)} | {"val/c000": 1, "test/c259": 1}
    loaded = loader(tmp_path)(ImageFolder(paint_set(tmp_path / "many", many, vary=False), size=(4, 4)))
    assert sorted(loaded.train.labels) == list(range(260))
    assert loaded.test.labels == [259]


def test_a_name_that_is_no_unicode_can_be_written_down(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"a": 6})
    os.mkdir(os.fsencode(root) + b"/\xff")  # noqa: PTH102
    for number in range(3):
        paint(root / os.fsdecode(b"\xff") / f"{number}.png", (number, 0, 0))
    paint(root / os.fsdecode(b"caf\xe9.png"))
    (root / "a" / os.fsdecode(b"readme.\xe9")).touch()
    load = loader(tmp_path)
    loaded = load(ImageFolder(root))
    assert loaded.class_names[0].encode() == rb"\xff"
    assert "\n".join([*loaded.warnings, *load.told]).encode()


def test_metadata_lists_flat_folders_with_or_without_splits(tmp_path: Path) -> None:
    root, load = paint_set(tmp_path / "pets", {"x": 9, "y": 9}), loader(tmp_path)
    rows = [(f"x/{index}.png", "cat") for index in range(9)] + [(f"y/{index}.png", "ant") for index in range(8)]
    table(root, rows)
    loaded = load(ImageFolder(root))
    assert (loaded.class_names, labelled(loaded.train)) == (("ant", "cat"), [(0, 1), (1, 0)])
    assert load.told[0] == "Found 17 files belonging to 2 classes."
    assert "folder:pets: pictures of no class, left out: 1, the first is 8.png" in loaded.warnings
    split = [(*row, "train" if index % 3 else "Val") for index, row in enumerate(rows)]
    table(root, [*split, ("y/8.png", "ant", "test")], ("file_name", "label", "split"))
    assert counts(load(ImageFolder(root))) == [11, 6, 1]


@pytest.mark.parametrize(("folders", "words"), [
    (("val", "val"), ("train", "test")), (("train", "eval"), ("train", "test")),
    (("train", "test"), ("train", "validation")), (("test",), ("train",))])
def test_where_a_table_has_splits_the_names_of_folders_say_nothing(tmp_path: Path, folders: tuple[str, ...],
                                                                   words: tuple[str, ...]) -> None:
    root = tmp_path / "pets"
    rows = [(f"{folder}/{word} {index}.png", "ab"[index % 2], word) for folder, word in zip(folders, words, strict=True)
            for index in range(20)]
    for number, (name, *_) in enumerate(rows):
        paint(root / name, (number, 0, 0))
    table(root, rows, ("file_name", "label", "split"))
    loaded = loader(tmp_path)(ImageFolder(root))
    assert counts(loaded) == {"test": [18, 2, 20], "validation": [16, 20, 4], "train": [14, 2, 4]}[words[-1]]
    assert "taken for" not in " ".join(loaded.warnings)


def test_metadata_may_lie_in_each_split_folder(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train": 6, "test": 4})
    for split, count in (("train", 6), ("test", 4)):
        table(root / split, [(f"{index}.png", "ab"[index % 2]) for index in range(count)])
    assert counts(loader(tmp_path)(ImageFolder(root))) == [4, 2, 4]
    (root / "train/metadata.csv").unlink()
    (root / "test/metadata.csv").unlink()
    table(root, [(f"{split}/{index}.png", "ab"[index % 2]) for split in ("train", "test") for index in range(4)])
    assert counts(loader(tmp_path)(ImageFolder(root))) == [2, 2, 4]


def test_a_folder_beside_those_that_a_table_lists_is_no_split_and_makes_none_of_them_one(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train": 6, "test": 4, "raw": 5})
    table(root, [(f"{split}/{index}.png", "ab"[index % 2]) for split in ("train", "test") for index in range(4)])
    loaded = loader(tmp_path)(ImageFolder(root))
    assert counts(loaded) == [2, 2, 4]
    assert "no test split" not in " ".join(loaded.warnings)


def test_a_split_that_a_table_passes_over_is_named(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train": 12, "test/cat": 4, "raw": 5})
    table(root, [(f"train/{index}.png", "ab"[index % 2]) for index in range(12)])
    told = " ".join(loader(tmp_path)(ImageFolder(root)).warnings)
    assert "test/ has the name of a split and metadata.csv lists nothing in it: its pictures are left out" in told
    assert "raw/ has the name" not in told


def test_folders_of_a_table_that_are_no_splits_for_one_beside_them_are_named(tmp_path: Path) -> None:
    root = paint_set(tmp_path / "pets", {"train": 6, "test": 6, "extra": 6})
    rows = [(f"{name}/{index}.png", "ab"[index % 2]) for name in ("train", "test", "extra") for index in range(6)]
    table(root, rows)
    told = " ".join(loader(tmp_path)(ImageFolder(root)).warnings)
    assert f"taken for no splits: train, test in {root}, because extra/ beside is no split" in told
    table(root, [(*row, row[0].partition("/")[0].replace("extra", "train")) for row in rows],
          ("file_name", "label", "split"))
    assert "taken for" not in " ".join(loader(tmp_path)(ImageFolder(root)).warnings)


@pytest.mark.parametrize(("text", "words"), [
    ("name,label\n", "has no column file_name, only name, label"),
    ("", "no column file_name and no label, only nothing"),
    ("file_name,label\na.png,\n", "line 2: label is empty"), ("file_name,label,split\na.png,b,eval\n", "two"),
    ("file_name,label\na.png,b\na.png,c\n", "lists a.png twice"),
    ("file_name,label\na.png,b\n./b/../a.png,c\n", "lists a.png twice"),
    ("file_name,label,split\na.png,b,new\n", "no split"),
    ("file_name,label,split\n.,b,train\n", "line 2: file_name '.' names no file"),
    ("file_name,label\na.png,b\n\"a\0.png\",c\n", "line 3: file_name 'a\\x00.png' names no file"),
    ("file_name,label\nno.png,b\na.png,c\na2.png,b\na3.png,b\na4.png,b\n", "no.png: No such file"),
])
def test_a_metadata_file_that_does_not_serve_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    for name in ("a", "a2", "a3", "a4"):
        paint(tmp_path / f"pets/{name}.png")
    (tmp_path / "pets/metadata.csv").write_text(text)
    answer = refused(tmp_path, ImageFolder(tmp_path / "pets"), validation_size=1)
    assert words.replace("two", "means test to some") in answer


def test_a_set_larger_than_the_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    text = refused(tmp_path, ImageFolder(paint_set(tmp_path / "pets", {"a": 6, "b": 6}), size=(200_000, 200_000)))
    assert "12 pictures of 200000 x 200000 x 3 needs" in text
    assert "smaller size to ImageFolder" in text


def test_paths_begin_at_home_or_at_the_current_directory(tmp_path: Path, monkeypatch) -> None:
    paint_set(tmp_path / "pets", {"a": 6, "b": 6})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fingerprints = {loader(tmp_path)(f"folder:{path}").fingerprint for path in ("~/pets", "pets", "./pets/")}
    assert len(fingerprints) == 1
    assert f"looked for in {tmp_path}" in refused(tmp_path, "folder:pet")
