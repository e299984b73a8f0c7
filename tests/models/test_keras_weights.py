import hashlib
import shutil

import h5py
import keras_on_jax
import numpy as np
import pytest

from models import keras_weights
from models.keras_weights import WeightsError
from models.mobilenet_v2 import MobileNetV2Config

CONFIG = MobileNetV2Config(0.35)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return keras_on_jax.write(keras_on_jax.reference(0.35), tmp_path_factory.mktemp("weights") / "written.h5")


@pytest.fixture
def path(written, tmp_path):
    return shutil.copy(written, tmp_path / "weights.h5")


def arrays(backbone):
    return {key: np.asarray(slot[...]) for key, slot in keras_weights._slots(backbone).items()}


def refused(path, config=CONFIG, **options):
    with pytest.raises(WeightsError) as error:
        keras_weights.load(path, config, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600 + len(str(path))
    assert str(path) in str(error.value)
    return str(error.value)


def rewritten(path, target, layer_name=lambda name, number: name, array_name=lambda name: name, nested=False):
    """Copies a weight file, naming layers and arrays anew, and under `model_weights` if nested."""
    with h5py.File(path) as old, h5py.File(target, "w") as new:
        root = new.create_group("model_weights") if nested else new
        names = []
        for number, name in enumerate(keras_weights._names(old, "layer_names")):
            names.append(layer_name(name, number))
            group = root.create_group(names[-1])
            stored = keras_weights._names(old[name], "weight_names")
            group.attrs["weight_names"] = [f"{names[-1]}/{array_name(one)}".encode() for one in stored]
            for one in stored:
                group[f"{names[-1]}/{array_name(one)}"] = old[name][one][()]
        root.attrs["layer_names"] = [name.encode() for name in names]
    return target


def test_every_array_arrives_where_keras_has_it(path):
    backbone, facts = keras_weights.load(path, CONFIG)
    model = keras_on_jax.reference(0.35)
    found = arrays(backbone)
    assert len(found) == len(model.variables)
    for variable in model.variables:
        np.testing.assert_array_equal(found[tuple(variable.path.split("/"))], variable.value)
    assert facts.file == "weights.h5"
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not facts.official
    assert len(facts.warnings) == 1
    assert facts.sha256[:16] in facts.warnings[0]


@pytest.mark.parametrize("nested", [False, True])
def test_the_names_that_keras_2_gave_are_understood(path, tmp_path, nested):
    def keras_2(name):
        part = name.rsplit("/", 1)[1]
        return f"{'depthwise_' if 'depthwise/' in name else ''}{part}:0"

    older = rewritten(path, tmp_path / "older.h5", array_name=keras_2, nested=nested)
    expected = arrays(keras_weights.load(path, CONFIG)[0])
    for key, values in arrays(keras_weights.load(older, CONFIG)[0]).items():
        np.testing.assert_array_equal(values, expected[key])


def test_layers_of_other_names_are_taken_in_order(path, tmp_path):
    older = rewritten(path, tmp_path / "older.h5", layer_name=lambda _, number: f"mobl{number}",
                      array_name=lambda name: name.rsplit("/", 1)[1])
    expected = arrays(keras_weights.load(path, CONFIG)[0])
    for key, values in arrays(keras_weights.load(older, CONFIG)[0]).items():
        np.testing.assert_array_equal(values, expected[key])


def test_each_array_that_is_missing_or_left_over_is_named(path, tmp_path):
    def renamed(name, number):
        return name.replace("block_3_expand", "block_3_widen")

    odd = rewritten(path, tmp_path / "odd.h5", renamed, lambda name: name.rsplit("/", 1)[1])
    message = refused(odd)
    assert "block_3_expand/kernel is missing; block_3_expand_BN/gamma is missing" in message
    assert "and 7 more" in message  # five missing and five left over, three of them named
    with h5py.File(path, "a") as file:
        file["bn_Conv1"].attrs["weight_names"] = file["bn_Conv1"].attrs["weight_names"][:3]
    assert refused(path).endswith("bn_Conv1/moving_variance is missing")


def test_an_array_of_the_wrong_shape_is_named(path):
    with h5py.File(path, "a") as file:
        (name,) = keras_weights._names(file["block_2_depthwise"], "weight_names")
        values = file["block_2_depthwise"][name][()]
        del file["block_2_depthwise"][name]
        file["block_2_depthwise"][name] = values[..., 0]
    assert refused(path).endswith(": block_2_depthwise/kernel is (3, 3, 48), not (3, 3, 48, 1)")


def test_an_array_that_is_not_finite_is_named(path):
    with h5py.File(path, "a") as file:
        group = file["Conv_1"]
        group[keras_weights._names(group, "weight_names")[0]][0, 0, 0, 0] = np.nan
    assert refused(path).endswith(": Conv_1/kernel is not finite")


@pytest.mark.parametrize(("width", "top"), [(1.0, False), (0.5, False), (0.35, True), (1.4, True)])
def test_a_file_of_another_network_is_recognised(path, width, top):
    message = refused(path, MobileNetV2Config(width, top))
    assert f"does not fit MobileNetV2 of width {width} with{'' if top else 'out'} top, " in message
    assert "it holds width 0.35 without top: " in message


def test_a_truncated_file_is_damaged(path):
    whole = path.read_bytes()
    for part in (0.2, 0.5, 0.99):
        path.write_bytes(whole[:int(part * len(whole))])
        assert "is damaged" in refused(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_not_hdf5_is_refused(path, content):
    path.write_bytes(content)
    assert "is not an HDF5 file" in refused(path)


def test_an_hdf5_file_of_something_else_is_refused(path):
    with h5py.File(path, "w") as file:
        file["data"] = [1, 2]
    assert "layer_names" in refused(path)


def test_a_file_that_is_absent_or_a_folder_is_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "absent.h5")
    assert "Is a directory" in refused(tmp_path)


def test_a_published_checksum_decides_what_is_official(path):
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    _, facts = keras_weights.load(path, CONFIG, md5)
    assert facts.official
    assert facts.warnings == ()
    assert f"its md5 is {md5}, that of the published file {'0' * 32}" in refused(path, published_md5="0" * 32)


def test_folded_batch_norm_is_noticed(path):
    with h5py.File(path, "a") as file:
        for layer in keras_weights._names(file, "layer_names"):
            for name in keras_weights._names(file[layer], "weight_names"):
                if name.endswith("moving_mean"):
                    file[layer][name][:] = 0
    _, facts = keras_weights.load(path, CONFIG)
    assert "folded" in facts.warnings[1]


@pytest.mark.parametrize(("array", "words"), [
    ({"shape": (10**10,), "dtype": "f4", "chunks": (1024,)}, "announces 37.3 GiB of weights"),
    ({"data": np.array([b"abc"])}, "in place of numbers in Conv1/kernel"),
])
def test_what_is_no_weights_is_refused_before_it_is_read(tmp_path, array, words):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs["layer_names"] = [b"Conv1"]
        file.create_group("Conv1").attrs["weight_names"] = [b"Conv1/kernel:0"]
        file["Conv1"].create_dataset("Conv1/kernel:0", **array)
    with pytest.raises(WeightsError, match=words):
        keras_weights.load(tmp_path / "odd.h5", MobileNetV2Config(0.35))
