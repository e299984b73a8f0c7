import dataclasses
import functools

import jax
import numpy as np
import pytest
from plain_networks import ResidualConfig
from small import small_dataset
from sweeps import BASE, FOUND, Listener, execute

from ablations.spec import Ablation, AugmentConfig, EarlyStopping, RunConfig
from harness import records
from harness.records import replayed
from harness.training import streamed, train
from harness.training import trainer as fit
from harness.training.layout import Layout
from harness.training.programs import OutOfMemoryError, Programs, split_bytes
from harness.training.streamed import Streamed
from models import CNNConfig, MLPConfig

# Neither 150 examples divide by 32, nor 1,007 by 500.
DATA = small_dataset(validation=1000)
STEP = 32 * (8 * 8 + 4)  # bytes
MLP = dataclasses.replace(BASE, epochs=3)
CNN = dataclasses.replace(MLP, model=CNNConfig(filters=(4,), batch_norm=True, dropout=0.3))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Two steps of training each, the last one fewer, and one of 500 examples."""
    monkeypatch.setattr(streamed, "MOST_BYTES", 2 * STEP)


@functools.cache
def compiled(config: RunConfig, layout: Layout) -> Programs:
    kind = Streamed if layout.streamed else Programs
    start = train.init(config, 0, DATA.num_classes, DATA.image_shape, train_examples=len(DATA.train.labels))
    return kind(*start, DATA, layout, whole=True)


def fitted(config, layout, folder, seeds=(0, 1), stop_after=1e9):
    """Trains a run per seed, so many epochs, and gives their members."""
    listener = Listener()
    trainer = fit.Trainer(DATA, 1e9, lambda: len(listener.seen) >= stop_after, compacts=False)
    trainer._built = compiled(config, layout)
    runs = Ablation("Why?", config, {}, seeds=seeds).runs()[:layout.slots]
    return list(trainer.fit(runs, lambda run: folder / run.run_id, layout, listener))


def assert_equal(members, others):
    """Bit for bit, in state, which has the curve, and test outcome."""
    for one, other in zip(members, others, strict=True):
        kept, expected = (jax.tree.leaves((each.state, each.test)) for each in (one, other))
        for a, b in zip(kept, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def streamed_in(layout):
    return dataclasses.replace(layout, streamed=True)


@pytest.mark.parametrize("layout", [
    Layout(1), Layout(1, members=2), *(pytest.param(layout, marks=pytest.mark.slow) for layout in (
        Layout(2), Layout(1, data=3), Layout(2, data=2), Layout(1, members=2, parallel="pmap"),
        Layout(1, data=2, parallel="pmap")))], ids=str)
def test_streamed_data_trains_to_the_same_digits(tmp_path, layout):
    """Every slot a seed of its own, and so an order of its own."""
    assert_equal(fitted(MLP, streamed_in(layout), tmp_path / "streamed"), fitted(MLP, layout, tmp_path / "memory"))


def test_a_streamed_run_is_resumed_to_the_same_digits(tmp_path):
    with pytest.raises(fit.StoppedError):
        fitted(MLP, streamed_in(Layout(1)), tmp_path / "streamed", stop_after=2)
    [resumed] = fitted(MLP, streamed_in(Layout(1)), tmp_path / "streamed")
    assert resumed.launches == 2
    assert_equal([resumed], fitted(MLP, Layout(1), tmp_path / "memory"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", [Layout(1), Layout(1, members=2)], ids=str)
@pytest.mark.parametrize("config", [
    CNN, dataclasses.replace(MLP, augment=AugmentConfig(1, flip=True, mixup=0.2), tta="flip_shift", train_size=97),
    dataclasses.replace(MLP, steps=13, class_weight="balanced"),
    dataclasses.replace(MLP, epochs=9, early_stopping=EarlyStopping(patience=1)),
    dataclasses.replace(MLP, model=ResidualConfig())], ids=["cnn", "augmented", "steps", "stopping", "whole batches"])
def test_whatever_a_run_is_made_of_it_trains_alike_on_streamed_data(tmp_path, config, layout):
    from_memory = fitted(config, layout, tmp_path / "memory")
    assert_equal(fitted(config, streamed_in(layout), tmp_path / "streamed"), from_memory)


def memory_needed(dataset, layout, config=BASE, **more):
    kind = Streamed if layout.streamed else Programs
    programs = kind(*train.init(config, 0, dataset.num_classes, dataset.image_shape), dataset, layout, **more)
    return programs.memory_bytes + programs.beside_bytes


def test_data_that_does_not_fit_beside_a_single_run_is_streamed_and_the_record_says_so(tmp_path):
    """Of runs that do not fit side by side either; what is recorded is what a roomy device gives."""
    [found] = FOUND.values()
    limit = memory_needed(found.dataset, Layout(1)) - 1
    one = Ablation("Why?", BASE, {}, seeds=(0,))
    folders = [records.Folder(tmp_path / name, "made_up") for name in ("roomy", "narrow")]
    execute(folders[0], one, devices=1)
    told = execute(folders[1], one, devices=1, device_memory=lambda devices: limit)
    assert "out of memory with 1 device, one run; going on with 1 device, one run, data streamed" in told
    [run] = one.runs()
    record = folders[1].record(run.run_id)
    assert record.placement.layouts == ("1 device, one run, data streamed",)
    assert record.placement.choice.endswith("; then out of memory")
    assert record.cost.compiled_bytes <= limit
    outcome = replayed.compare(*(folder.run(run.run_id) for folder in folders))
    assert outcome.is_equal, outcome.line


@pytest.mark.parametrize("spare", [-1, 0])
def test_data_that_no_device_can_hold_is_streamed_from_the_first_try_on(spare):
    """Fewer runs at once would not help. On a CPU one device has all the memory there is."""
    total = sum(map(split_bytes, (DATA.train, DATA.validation, DATA.test))) + spare
    runs = Ablation("Why?", BASE, {}, seeds=(0, 1)).runs()
    trainer = fit.Trainer(DATA, device_memory=lambda devices: total // devices)
    assert trainer._choices(trainer.start(runs[0]), 2, 2, "jit").simplest() == Layout(2, streamed=spare < 0)


def test_chunks_are_as_small_as_the_memory_demands_and_a_step_is_the_least():
    """Two chunks are there at a time, here of two steps or of one."""
    needed = functools.partial(memory_needed, DATA, Layout(1, streamed=True),
                               dataclasses.replace(BASE, model=MLPConfig(hidden=(64,))))
    roomy = needed()
    assert needed(memory_limit=roomy - 1) == roomy - 2 * STEP
    with pytest.raises(OutOfMemoryError, match="1 device, one run, data streamed needs"):
        needed(memory_limit=roomy - 2 * STEP - 1)
