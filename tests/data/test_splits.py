"""An object with a load() stands for a data set: its fields are its configuration, its arrays are checked."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from own_pictures import examples, loader
from tiny_sets import message

from ablations.own_data import ImageFolder
from ablations.spec import Ablation, Factor, RunConfig, with_value
from harness.data import DataError, Splits
from harness.data.inputs import key
from harness.records import configs


@dataclasses.dataclass(frozen=True)
class Noise:
    """Draws images that nothing can be learnt from."""

    size: int = 20
    seed: int = 0

    def load(self) -> Splits:
        return Splits(examples((self.size, 4, 4, 3), seed=self.seed), examples((6, 4, 4, 3), seed=self.seed + 1),
                      class_names=("no", "yes"))


@dataclasses.dataclass(frozen=True)
class Given:
    """Gives what a test says."""

    number: int = 0

    def load(self) -> object:
        return GIVEN[self.number]() if callable(GIVEN[self.number]) else GIVEN[self.number]


X, Y = examples((20, 4, 4, 3))
GIVEN = [
    Splits((X, Y)), Splits((X, Y), (X, Y)), Splits((X, Y), (X[:2], Y[:2]), (X[5:8], Y[5:8])),
    (X, Y), lambda: {}["x"], Splits((X, Y), class_names=("a",)), Splits((X, Y), class_names=("a", "a")),
    Splits(X), Splits((X[:0], Y[:0])), Splits((X[:3], Y[:3])), Splits((X, Y + 1), class_names=("a", "b")),
    Splits(([X[0], X[1, :3]], Y[:2])), Splits((["a.png", "b.png"], Y[:2])), Splits(([Path("a.png")], Y[:1])),
    lambda: Splits(((image for image in X), Y)), Splits((None, None)), Splits((np.array(["a.png", None]), Y[:2])),
    Splits((X[:2], [[0], [0, 1]])), Splits((X, Y), class_names=None), Splits((X, Y), class_names="ab"), Splits(None),
    Splits((X[:2].astype("datetime64[s]"), Y[:2])),
    Splits((X, Y), class_names={"b": 1, "a": 0}), Splits((X, Y), class_names={"a", "b"}),
    Splits((np.zeros((20, 4, 8, 8), np.uint8), Y)), Splits((X[:, :0], Y)),
]


def test_an_object_gives_its_examples(tmp_path) -> None:
    loaded = loader(tmp_path)(Noise())
    np.testing.assert_array_equal(loaded.test.images, examples((6, 4, 4, 3), seed=1)[0])
    assert (loaded.name, loaded.source, loaded.class_names) == ("Noise", "object", ("no", "yes"))
    assert (len(loaded.train.labels), len(loaded.validation.labels), loaded.official) == (18, 2, False)
    assert loaded.warnings == ()
    assert loaded.fingerprint == loader(tmp_path)(Noise()).fingerprint != loader(tmp_path)(Noise(seed=5)).fingerprint


def test_without_a_test_split_a_stratified_fifth_of_train_is_one(tmp_path) -> None:
    loaded = loader(tmp_path)(Given(0))
    assert np.bincount(loaded.test.labels).tolist() == [2, 2]
    assert (len(loaded.train.labels), len(loaded.validation.labels)) == (14, 2)
    assert loaded.warnings[0].startswith("Given: has no test split; 4 examples of train")


def test_equal_images_in_two_splits_are_counted(tmp_path) -> None:
    assert "Given: 20 of 20 test images stand in train too, all pixels equal" in loader(tmp_path)(Given(1)).warnings
    warnings = loader(tmp_path)(Given(2)).warnings
    assert "Given: 2 of 2 test images stand in train too, all pixels equal" in warnings
    assert "Given: 3 of 20 train images stand in validation too, all pixels equal" in warnings


@pytest.mark.parametrize(("number", "words"), [
    (3, "must give harness.data.Splits.*not tuple"), (4, "failed in .*test_splits.py, line \\d+: KeyError: 'x'"),
    (5, "1 class \\(a\\) leaves nothing"), (6, '"a" stands for two classes'), (7, "must be a pair"),
    (8, "has no examples"), (9, "too few to set some aside"), (10, "labels span 1..2, outside 0..1"),
    (11, "train images do not fit together .*; give their pixels as one array .*, all of one size$"),
    (12, "train images are of str, not uint8 .*; give their pixels"), (13, "images are of PosixPath, not uint8"),
    (14, "images are of generator, not uint8"), (15, "images are of NoneType, not uint8"), (16, "are of object, not"),
    (17, "train labels do not fit together .*; give an array with a whole number for each example$"),
    (18, 'must be a tuple such as \\("cat", "dog"\\), of label 0, 1, ..., or \\(\\) for the numbers; not None'),
    (19, "class_names must be a tuple .* not 'ab'"), (20, "train must be a pair of images and labels, not NoneType"),
    (21, r"images are of datetime64\[s\], not uint8"),
    (22, "must be a tuple .*, of label 0, 1, .*; not {'b': 1, 'a': 0}"), (23, "must be a tuple .*; not {'"),
    (24, r"\(20, 4, 8, 8\), with channels first"), (25, r"\(20, 0, 4, 3\): no pixels"),
])
def test_what_a_load_should_not_give_is_one_line(tmp_path, number: int, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        loader(tmp_path)(Given(number))
    assert message(error).startswith("Given")


def test_fields_are_the_configuration() -> None:
    base, other = RunConfig(Noise()), RunConfig(Noise(size=30))
    assert configs.as_json(base)["dataset"] == {"type": "Noise", "size": 20, "seed": 0}
    assert configs.config_differences(configs.as_json(base), configs.as_json(other)) == ["dataset.size: 20 -> 30"]
    assert configs.completed(configs.as_json(base)) == configs.as_json(base)
    assert key(base) == key(RunConfig(Noise())) != key(other)
    assert with_value(base, "dataset.size", 30) == other


def test_a_folder_by_text_is_the_object_with_its_defaults() -> None:
    base = RunConfig("folder:pets")
    assert base == RunConfig(ImageFolder("pets"))
    assert configs.as_json(base)["dataset"] == {"type": "ImageFolder", "path": "pets", "size": [64, 64], "channels": 3,
                                                "fit": "crop", "class_names": []}
    stored = configs.as_json(base)
    del stored["dataset"]["fit"]  # as if it had been added since
    assert not configs.config_differences(stored, configs.as_json(base))


def test_data_may_be_a_factor() -> None:
    levels = {"digits": "digits", "mine": Noise(), "pets": "folder:pets", "file": "npz:a.npz"}
    runs = Ablation("Which?", RunConfig("digits"), {"data": Factor("dataset", levels)}, seeds=(0,)).runs()
    assert [run.config.dataset for run in runs] == ["digits", Noise(), ImageFolder("pets"), "npz:a.npz"]
    fits = {"fit": Factor("dataset.fit", {"crop": "crop", "pad": "pad"})}
    runs = Ablation("Which?", RunConfig("folder:pets"), fits, seeds=(0,), overrides={"dataset.size": (8, 9)}).runs()
    assert runs[1].config.dataset == ImageFolder("pets", (8, 9), fit="pad")


@dataclasses.dataclass
class Loose:
    """Is not frozen."""

    def load(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Holds:
    """Holds what no record can keep."""

    content: object = None

    def load(self) -> None: ...


@pytest.mark.parametrize(("dataset", "words"), [
    ("", "must be a name"), (5, "must be a name"), (Noise, "must be a name"), ("folder:", "needs a path"),
    ("npz:", "needs a path"), (Loose(), "frozen=True"), (Holds(X), "Holds.content must be text"),
    (Holds([1]), "Holds.content must be text"),
])
def test_what_cannot_stand_for_a_data_set_is_refused_where_it_is_set(dataset: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunConfig(dataset)  # type: ignore[arg-type]


@pytest.mark.parametrize(("fields", "words"), [
    ({"path": ""}, "path"), ({"size": 64}, "height and width"), ({"size": (0, 5)}, "size must be a whole number"),
    ({"channels": 4}, "channels must be one of 1, 3"), ({"fit": "squash"}, "crop, pad, stretch"),
    ({"class_names": "ab"}, "must be a tuple"), ({"class_names": ("a",)}, "at least two"),
    ({"class_names": ("a", "a")}, "each once"),
])
def test_a_wrong_field_of_a_folder_is_refused_where_it_is_set(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageFolder(**{"path": "pets"} | fields)
