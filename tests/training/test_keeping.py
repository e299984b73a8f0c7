import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import synthetic
from flax import nnx
from plain_networks import PhasedNet
from small import random_backbone, small_dataset
from sweeps import ABLATION, execute

from ablations.spec import RunConfig
from harness import records
from harness.data import features
from harness.data.inputs import Inputs
from harness.records import kept
from harness.training import keeping, train
from harness.training.recording import Recorder
from models import TransferConfig

FIRST, SECOND, WILD = "rate=sound,seed=0", "rate=sound,seed=1", "rate=wild,seed=0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = records.Folder(tmp_path_factory.mktemp("kept"), "small")
    execute(folder, keep_weights="best")
    return folder


def test_the_first_seed_of_each_cell_keeps_its_network_and_a_diverged_run_nothing(folder):
    keeping_runs = {path.parent.name for path in folder.path.glob(f"runs/*/{kept.WEIGHTS}")}
    assert keeping_runs == {path.parent.name for path in folder.path.glob(f"runs/*/{kept.CONFIG}")} == {FIRST}
    assert folder.record(WILD).status == "diverged"
    assert folder.has_weights(FIRST)
    assert not folder.has_weights(SECOND)


def test_the_file_is_plain_safetensors_with_dotted_names_in_float32(folder):
    path = folder.run(FIRST) / kept.WEIGHTS
    arrays = safetensors.numpy.load_file(path)
    assert {name: array.shape for name, array in arrays.items()} == {
        "layers.1.kernel": (64, 8), "layers.1.bias": (8,), "layers.2.kernel": (8, 4), "layers.2.bias": (4,)}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    with safetensors.safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["config"]) == json.loads((folder.run(FIRST) / kept.CONFIG).read_text())


def test_beside_it_stands_what_using_it_needs(folder):
    about, record = kept.read(folder.run(FIRST)), folder.record(FIRST)
    assert (about.architecture, about.class_names, about.state) == ("MLPConfig", ("0", "1", "2", "3"), "best")
    assert (about.input.size, about.input.channels, about.input.scaling) == ((8, 8), 1, "x / 255")
    assert (about.config, about.config_hash, about.scores) == (record.config, record.config_hash, record.best)
    assert about.data_fingerprint == record.dataset.fingerprint
    assert about.code is None


def test_launched_again_nothing_is_trained_and_equal_launches_leave_equal_files(folder, tmp_path):
    def recorded():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.path.rglob("record.json")}

    before = recorded()
    assert before
    execute(folder, keep_weights="last")
    assert recorded() == before
    again = records.Folder(tmp_path, "small")
    execute(again, keep_weights="best")
    for name in (kept.WEIGHTS, kept.CONFIG):
        assert (again.run(FIRST) / name).read_bytes() == (folder.run(FIRST) / name).read_bytes()


def test_a_network_on_features_is_kept_with_its_backbone():
    config = RunConfig(dataset="small", model=TransferConfig(width=0.35, resolution=32), batch_size=32,
                       validation_size=40)
    backbone, data = random_backbone(), small_dataset(4, 4, 4)
    program, state, traced = train.init(config, 0, 4, (1280,), backbone)
    found = Inputs(data, features.Computed({}, 0.0, cached=True), backbone)
    names = set(keeping.variables(keeping._whole(program, state.best, traced, found)))
    assert {"layers.0.backbone.layers.Conv1.kernel", "layers.1.kernel", "layers.1.bias"} <= names
    assert not any("rate" in name for name in names)


@pytest.mark.parametrize("state", ["best", "last", "none"])
def test_the_weights_asked_for_are_kept_with_their_scores(tmp_path, state):
    run, record = ABLATION.runs()[0], synthetic.record({"rate": "sound"}, 0, 0.9)
    program, begun, traced = train.init(run.config, 0, 4, (8, 8, 1))
    twice = jax.tree.map(lambda leaf: 2 * leaf, begun.weights)
    member = types.SimpleNamespace(run=run, state=begun._replace(best=begun.weights, weights=twice), program=program,
                                   traced=traced)
    recorder = Recorder("Why?", records.Folder(tmp_path, "small"), [run], Inputs(small_dataset(4, 4, 4)),
                        synthetic.ENVIRONMENT, None, None, keep_weights=state)
    files = recorder._network(member, record, ())
    assert set(files) == (set() if state == "none" else {kept.WEIGHTS, kept.CONFIG})
    if files:
        expected = {"best": begun.weights, "last": twice}[state].params["layers"][1]["kernel"][...]
        np.testing.assert_array_equal(safetensors.numpy.load(files[kept.WEIGHTS])["layers.1.kernel"], expected)
        scores = json.loads(files[kept.CONFIG])["scores"]
        assert scores == dataclasses.asdict({"best": record.best, "last": record.last}[state])


def test_a_run_whose_network_cannot_be_kept_is_recorded_and_the_variable_is_named(tmp_path):
    folder = records.Folder(tmp_path, "small")
    phased = dataclasses.replace(ABLATION.base, model=PhasedNet(), epochs=1)
    told = execute(folder, dataclasses.replace(ABLATION, base=phased, factors={}, seeds=(0,)), keep_weights="best",
                   devices=1)
    assert folder.record("baseline,seed=0").status == "done"
    assert not folder.has_weights("baseline,seed=0")
    assert ("warning: baseline,seed=0 is recorded without its trained weights: ValueError: phase holds complex64, and "
            "model.safetensors has floats, whole numbers, True and False alone") in " ".join(told.split())


@pytest.mark.parametrize(("value", "form"), [
    (jnp.array([1.5], jnp.bfloat16), np.float32), (jnp.array([1.5]), np.float32), (np.array([1.5]), np.float32),
    (jnp.array([3], jnp.int8), np.int8), (jnp.array([True]), np.bool_), (jnp.array([1j]), None),
    (jnp.array([1], jnp.int4), None), (jax.random.key(0), None)], ids=lambda value: str(getattr(value, "dtype", "")))
def test_numbers_are_kept_exactly_or_refused_by_name(value, form):
    variable = nnx.BatchStat(value)
    if form is None:
        with pytest.raises(ValueError, match=r"^layer\.x holds .*, and model\.safetensors has"):
            keeping._stored("layer.x", variable)
    else:
        stored = keeping._stored("layer.x", variable)
        assert stored.dtype == form
        np.testing.assert_array_equal(stored, np.asarray(value, form))
