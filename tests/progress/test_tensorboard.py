import dataclasses
import io
import sys
import types

import numpy as np
import pytest
from PIL import Image
from sweeps import ABLATION, FOUND, execute

from ablations.spec import Factor
from harness import records
from harness.progress import tensorboard
from harness.training.watcher import Watcher
from models import CNNConfig, MLPConfig

# TensorBoard then uses its own stub of TensorFlow, also where that is installed.
sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")
accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


NETWORKS = dataclasses.replace(ABLATION, seeds=(0,), factors={"network": Factor("model", {
    "mlp": MLPConfig(hidden=(8,)), "cnn": CNNConfig(filters=(4,), kernel_size=3)})})
LONG = dataclasses.replace(ABLATION, seeds=(0,), factors={}, base=dataclasses.replace(ABLATION.base, epochs=4))


@pytest.fixture
def folder(tmp_path):
    return records.Folder(tmp_path, "made_up")


def train(folder, ablation, *more, save_every_s=1e9):
    """Trains with event files, and gives what was told."""
    told = []
    return execute(folder, ablation, [tensorboard.EventFiles(folder, FOUND, told.append), *more],
                   save_every_s=save_every_s, devices=1) + "".join(told)


def events(folder, run_id):
    read = accumulator.EventAccumulator(str(folder.tensorboard / run_id), accumulator.STORE_EVERYTHING_SIZE_GUIDANCE)
    return read.Reload()


def points(read, tag):
    return [(event.step, event.value) for event in read.Scalars(tag)]


def assert_as_the_curve(read, curve):
    for column, tag in tensorboard.SCALARS.items():
        assert [step for step, _ in points(read, tag)] == list(curve["epoch"])
        np.testing.assert_array_equal(np.float32([value for _, value in points(read, tag)]), np.float32(curve[column]))
    assert len(points(read, tensorboard.SPEED)) == len(curve)
    times = [event.wall_time for event in read.Scalars(tensorboard.SPEED)]
    assert times == sorted(times)


def test_a_run_has_its_curve_its_outcome_its_weights_and_its_pictures(folder):
    assert "no longer" not in train(folder, NETWORKS)
    for run_id, record in folder.records().items():
        read = events(folder, run_id)
        assert_as_the_curve(read, folder.curve(run_id))
        for name in ("best", "last"):
            epoch, accuracy = getattr(record, name).epoch, getattr(record, name).test_accuracy
            assert points(read, f"test/{name}_accuracy") == [(epoch, pytest.approx(accuracy, abs=1e-7))]
            loss = getattr(record, name).test_loss
            assert points(read, f"test/{name}_loss") == [(epoch, pytest.approx(loss, abs=1e-6))]
        # What is counted of the network agrees with what is drawn of it.
        weights = [read.Histograms(tag)[0].histogram_value for tag in read.Tags()["histograms"]]
        assert len(weights) == 4
        assert sum(histogram.num for histogram in weights) == record.cost.parameters
        assert all(sum(histogram.bucket) == histogram.num for histogram in weights)
        for tag in ("first_layer/filters", "test/most_confident_mistakes"):
            [event] = read.Images(tag)
            assert event.step == record.best.epoch
            assert Image.open(io.BytesIO(event.encoded_image_string)).size == (event.width, event.height)


def grid(folder):
    """Asks TensorBoard for the rows of its HParams page: run -> (hyperparameters, status, metrics)."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder.tensorboard)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder.tensorboard))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    statuses = [value.number for value in api_pb2.Status.DESCRIPTOR.values]
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
    for name in ("rate", "seed"):
        request.col_params.add().hparam = name
    request.col_params.add().metric.tag = "test/best_accuracy"
    answer = list_session_groups.Handler(
        request_context=context.RequestContext(), backend_context=backend, experiment_id="", request=request).run()
    rows = {}
    for group in answer.session_groups:
        [session] = group.sessions
        hyperparameters = {name: value.string_value or value.number_value for name, value in group.hparams.items()}
        values = {value.name.tag: value.value for value in session.metric_values}
        rows[session.name] = hyperparameters, api_pb2.Status.Name(session.status), values
    return rows


def test_tensorboard_compares_the_grid_on_its_hparams_page(folder):
    train(folder, ABLATION)
    found = folder.records()
    rows = grid(folder)
    assert rows.keys() == found.keys()
    for run_id, (hyperparameters, status, metrics) in rows.items():
        record = found[run_id]
        assert hyperparameters == {"rate": record.labels["rate"], "seed": record.seed}
        assert status == ("STATUS_SUCCESS" if record.status == "done" else "STATUS_FAILURE")
        if record.status == "done":
            assert metrics["test/best_accuracy"] == pytest.approx(record.best.test_accuracy, abs=1e-7)


class Killer(Watcher):
    """Ends the process after an epoch, before anything of it is saved."""

    def __init__(self, epoch):
        self.epoch = epoch

    def epochs(self, epochs):
        if epochs[0].epoch == self.epoch:
            raise KeyboardInterrupt


def killed_in_epoch(folder, epoch):
    """Trains until the process is killed: the epochs before are saved, and this one is in the event files alone."""
    with pytest.raises(KeyboardInterrupt):
        train(folder, LONG, Killer(epoch), save_every_s=0)


def test_a_killed_and_resumed_run_has_each_point_once(folder):
    killed_in_epoch(folder, 3)
    before = events(folder, "baseline,seed=0")
    assert [step for step, _ in points(before, "loss/train")] == [1, 2, 3]
    assert folder.record("baseline,seed=0") is None
    train(folder, LONG)
    assert_as_the_curve(events(folder, "baseline,seed=0"), folder.curve("baseline,seed=0"))
    # A TensorBoard that was open all the while sees the same.
    assert_as_the_curve(before.Reload(), folder.curve("baseline,seed=0"))


def test_points_that_a_kill_lost_come_back(folder):
    killed_in_epoch(folder, 3)
    [file] = (folder.tensorboard / "baseline,seed=0").iterdir()
    file.write_bytes(file.read_bytes()[:60])
    train(folder, LONG)
    assert_as_the_curve(events(folder, "baseline,seed=0"), folder.curve("baseline,seed=0"))


def test_points_are_there_while_the_run_trains(folder, monkeypatch):
    monkeypatch.setattr(tensorboard, "_FLUSH_S", 0.0)
    seen = []

    class Reader(Watcher):
        def epochs(self, epochs):
            seen.append(len(points(events(folder, "baseline,seed=0"), "loss/train")))

    train(folder, LONG, Reader())
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("when", ["open", "write"])
def test_a_failure_to_write_is_told_once_and_training_goes_on(folder, monkeypatch, when):
    def fail(*arguments):
        raise OSError("no space left")

    if when == "open":
        monkeypatch.setattr(tensorboard, "EventsWriter", fail)
    else:
        monkeypatch.setattr(tensorboard._Writer, "add", fail)
    told = train(folder, LONG)
    assert told.count("no space left") == 1
    assert len(folder.records()) == 1
