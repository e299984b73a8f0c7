import dataclasses
import functools
import io
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from place import ROOT
from rich.console import Console
from small import random_backbone, small_dataset

from harness.data import DataError, features
from models import Mode, transfer

PIXELS = 32
DATA = small_dataset(train=40, validation=9, test=21)
KEY = features.Key(data=DATA.fingerprint, weights="w", width=0.35, resolution=PIXELS, precision="float32",
                   platform="cpu")


@functools.cache
def backbone():
    return transfer.Features(random_backbone(), PIXELS)


@pytest.fixture(scope="module")
def compiled_once():
    return functools.cache(features.compiled)


@pytest.fixture(autouse=True)
def brief(compiled_once, monkeypatch):
    """Batches of a few images, whose program all tests share."""
    monkeypatch.setattr(features, "BATCH", 8)
    monkeypatch.setattr(features, "compiled", compiled_once)


def compute(folder, key=KEY, data=DATA, devices=2):
    told = io.StringIO()
    return features.compute(data, backbone(), key, devices, Console(file=told, width=200), folder), told.getvalue()


def test_features_are_those_of_every_image_in_order_and_are_computed_once(tmp_path, monkeypatch):
    first, _ = compute(tmp_path)
    assert not first.cached
    for name, rows in first.splits.items():
        images = getattr(DATA, name).images
        expected = nnx.jit(lambda network, images: network(images, Mode()))(backbone(), jnp.asarray(images) / 255.0)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    assert float(np.ptp(first.splits["test"], 0).max()) > 1e-3, "features that do not differ would prove nothing"

    monkeypatch.setattr(features, "_compute", None)  # whoever calls it fails
    again, _ = compute(tmp_path)
    assert again.cached
    assert again.seconds == first.seconds > 0
    assert all((again.splits[name] == first.splits[name]).all() for name in first.splits)
    assert isinstance(again.splits["train"], np.memmap)


@pytest.mark.parametrize("change", [
    {"data": "other"}, {"weights": "other"}, {"width": 1.0}, {"resolution": 64}, {"precision": "bfloat16"},
    {"platform": "gpu"}, {"preprocessing": "none"}, {"format": 0}])
def test_whatever_changes_the_features_changes_their_folder(change):
    assert dataclasses.replace(KEY, **change).digest() != KEY.digest()


def test_an_interrupted_computation_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 2)
    monkeypatch.setattr(features, "_KEPT_EVERY_S", 0.0)
    straight, _ = compute(tmp_path / "straight")
    whole, calls = features.compiled, []

    def interrupted(*arguments):
        run = whole(*arguments)

        def counting(images):
            calls.append(1)
            if len(calls) == 14:
                raise KeyboardInterrupt
            return run(images)
        return counting

    monkeypatch.setattr(features, "compiled", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "resumed")
    resumed, _ = compute(tmp_path / "resumed")
    batches = sum(-(-len(rows) // 2) for rows in straight.splits.values())
    assert len(calls) == batches + 1, "what was kept is not computed again"
    for name, rows in straight.splits.items():
        np.testing.assert_array_equal(resumed.splits[name], rows)


@pytest.mark.parametrize("damage", ["computed.json", "train.npy"])
def test_damaged_features_are_computed_again(tmp_path, damage):
    first, _ = compute(tmp_path)
    kept = {name: np.array(rows) for name, rows in first.splits.items()}
    (file,) = tmp_path.glob(f"*/{damage}")
    file.write_bytes(file.read_bytes()[:20])
    again, _ = compute(tmp_path)
    assert not again.cached
    assert all((again.splits[name] == kept[name]).all() for name in kept)


@pytest.mark.parametrize("damage", ["bit", "header"])
def test_features_that_are_not_what_was_computed_are_computed_again_and_it_is_told(tmp_path, damage):
    first, _ = compute(tmp_path)
    kept = {name: np.array(rows) for name, rows in first.splits.items()}
    (file,) = tmp_path.glob("*/train.npy")
    content = bytearray(file.read_bytes())
    content[-2 if damage == "bit" else 12] ^= 1
    file.write_bytes(content)
    again, told = compute(tmp_path)
    assert not again.cached
    assert all((again.splits[name] == kept[name]).all() for name in kept)
    assert f"warning: features in {file.parent} are not what was kept there; they are computed again" in told


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot keep features in .*; set XDG_CACHE_HOME to a folder with room"):
        compute(tmp_path / "taken")


ONE = """
import sys, pathlib
sys.path[:0] = ["tests/data", "tests/fixtures"]
import test_features
found, told = test_features.compute(pathlib.Path(sys.argv[1]))
print(found.cached, "waiting" in told, float(found.splits["train"].astype("float64").sum()))
"""


@pytest.mark.slow
def test_two_processes_at_once_compute_them_once(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", ONE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                             env=os.environ | {"PYTHONPATH": str(ROOT)}) for _ in range(2)]
    outcomes = [process.communicate(timeout=300)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(cached for cached, _, _ in outcomes) == ["False", "True"]
    assert outcomes[0][2] == outcomes[1][2]
    # By a process like these: in this one, which has more devices, sums are in another order.
    subprocess.run([sys.executable, "-c", ONE, str(tmp_path / "apart")], cwd=ROOT, check=True, capture_output=True,
                   env=os.environ | {"PYTHONPATH": str(ROOT)})
    (found,), (expected,) = tmp_path.glob("small-*/train.npy"), tmp_path.glob("apart/small-*/train.npy")
    np.testing.assert_array_equal(np.load(found), np.load(expected))
    assert not list(tmp_path.glob("*.part"))
