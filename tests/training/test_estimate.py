import dataclasses

import pytest
import synthetic
from small import small_dataset
from sweeps import BASE

from ablations.spec import Ablation, Factor
from harness.data.inputs import Inputs, key
from harness.records import BackboneFacts, Layer
from harness.training import checkpoint, cost, estimate, train
from harness.training.estimate import Speed
from models import CNNConfig

DATA = Inputs(small_dataset())
RUNS = Ablation("Why?", BASE, {"dropout": Factor("model.dropout", {"0": 0.0, "0.2": 0.2})}, seeds=(0, 1, 2)).runs()


@pytest.fixture(scope="module")
def costs():
    return cost.measure_all(RUNS, found(RUNS))


def found(runs):
    return {key(run.config): DATA for run in runs}


def speed(macs, example_s=1e-3, **changes):
    return dataclasses.replace(
        Speed("MLPConfig", macs, BASE.batch_size, example_s, 0.0, 5.0, 2, 20, None), **changes)


def sweep(costs, *known, runs=RUNS):
    return estimate.sweep(runs, found(runs), costs, known)


def test_time_is_epochs_times_examples_at_the_recorded_speed(costs):
    """Two cohorts of three runs, two at once: each takes two rounds; 5 s of compiling each."""
    same = speed(costs[RUNS[0].run_id].macs_per_example)
    run_s = BASE.epochs * len(DATA.dataset.train.labels) * 1e-3
    assert [cell.runs for cell in sweep(costs, same).cells] == [3, 3]
    assert sweep(costs, same).wall_s == pytest.approx(2 * (2 * run_s + 5))


def test_time_grows_with_the_operations(costs):
    macs = costs[RUNS[0].run_id].macs_per_example
    twice = sweep(costs, speed(macs // 2))
    assert twice.cells[0].wall_s == pytest.approx(2 * sweep(costs, speed(macs)).cells[0].wall_s, rel=0.01)
    assert twice.apart == pytest.approx(2, rel=0.01)


def test_the_network_nearest_in_operations_tells_the_speed(costs):
    macs = costs[RUNS[0].run_id].macs_per_example
    near, far = speed(macs + 1), speed(macs * 50, example_s=1.0)
    assert sweep(costs, far, near) == sweep(costs, near)
    assert sweep(costs, far, near).recorded == 1, "the other one has no part in it"


def test_a_family_without_records_has_no_time(costs):
    other = speed(costs[RUNS[0].run_id].macs_per_example, family="CNNConfig")
    assert sweep(costs, other).wall_s is None
    assert sweep(costs).cells[0].wall_s is None


def test_runs_that_a_launch_does_not_train_take_nothing(costs):
    known = speed(costs[RUNS[0].run_id].macs_per_example)
    assert [cell.runs for cell in sweep(costs, known, runs=RUNS[2:]).cells] == [1, 3]
    assert sweep(costs, known, runs=RUNS[2:]).disk_bytes == pytest.approx(
        sweep(costs, known).disk_bytes * 4 / 6, rel=0.01)


def test_each_cell_keeps_one_network(costs):
    with_networks = estimate.sweep(RUNS, found(RUNS), costs, [], keeps=True)
    assert with_networks.disk_bytes - sweep(costs).disk_bytes == sum(
        costs[run.run_id].parameters_bytes for run in RUNS if run.seed == 0)


def test_speeds_are_those_of_whole_records_on_this_device(tmp_path):
    model = {"model": {"type": "MLPConfig"}}
    own = synthetic.record({"a": "0"}, 0, 0.9)
    own = dataclasses.replace(own, config=own.config | model)
    foreign = dataclasses.replace(own, seed=1, environment=dataclasses.replace(own.environment, device="another"))
    damaged = dataclasses.replace(own, seed=2)
    folder = synthetic.write(tmp_path, None, *(synthetic.record(
        one.labels, one.seed, 0.9, config=one.config, environment=one.environment) for one in (own, foreign, damaged)))
    (folder.run(synthetic.run_id(damaged)) / "record.json").write_text("{}")
    [one] = estimate.speeds([str(tmp_path)], own.environment.device)
    assert (one.family, one.macs, one.at_once) == ("MLPConfig", own.cost.macs_per_example, 3)
    assert one.example_s == pytest.approx(1 / 13_200)
    assert one.validation == pytest.approx(2.1 / 41.5 * own.dataset.train_examples / own.dataset.validation_examples)


def test_a_trial_on_few_examples_tells_the_speed_of_a_whole_run():
    """Both validate as many examples; of the trial that is most of its time."""
    whole = synthetic.record({"a": "0"}, 0, 0.9)
    whole = dataclasses.replace(whole, config=whole.config | {"model": {"type": "MLPConfig"}})
    share = 512 / whole.dataset.train_examples
    few = dataclasses.replace(
        whole, dataset=dataclasses.replace(whole.dataset, train_examples=512), epochs_trained=1,
        timing=dataclasses.replace(whole.timing, train_s=whole.timing.train_s * share / whole.epochs_trained,
                                   validate_s=whole.timing.validate_s / whole.epochs_trained))
    [one], [other] = estimate._speed(whole), estimate._speed(few)
    assert one.validation == pytest.approx(other.validation)


def test_validation_takes_its_share(costs):
    macs = costs[RUNS[0].run_id].macs_per_example
    validated = BASE.epochs * len(DATA.dataset.validation.labels)
    assert sweep(costs, speed(macs, validation=0.5)).wall_s - sweep(costs, speed(macs)).wall_s == pytest.approx(
        2 * 2 * validated * 0.5 * 1e-3)


@pytest.mark.parametrize("model", [BASE.model, CNNConfig(filters=(8,), padding="same", dense=(512,))])
def test_a_checkpoint_takes_about_the_disk_that_is_estimated(tmp_path, model):
    run = dataclasses.replace(RUNS[0], config=dataclasses.replace(BASE, model=model))
    state = train.init(run.config, 0, 4, DATA.dataset.image_shape)[1]
    checkpoint.save(tmp_path / "checkpoints", 1, state, {})
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*"))
    told = sweep(cost.measure_all([run], found([run])), runs=[run]).disk_bytes
    assert taken < told < 2 * taken + 100_000, "a record is in it too, of at most 100 kB here"


def test_of_records_that_are_alike_the_one_in_the_middle_tells_the_speed(costs):
    macs = costs[RUNS[0].run_id].macs_per_example
    alike = [speed(macs, example_s=seconds) for seconds in (9e-3, 1e-3, 1.1e-3)]
    assert sweep(costs, *alike).wall_s == sweep(costs, alike[2]).wall_s


def test_what_was_recorded_at_another_precision_or_of_other_images_counts_least_and_is_said(costs):
    macs = costs[RUNS[0].run_id].macs_per_example
    unlike = [speed(macs, example_s=1.0, step=step) for step in (("bfloat16", False), ("float32", True))]
    assert not any(sweep(costs, one).alike for one in unlike)
    found = sweep(costs, *unlike, speed(macs // 2))
    assert (found.alike, found.wall_s) == (True, sweep(costs, speed(macs // 2)).wall_s)


def test_features_of_a_trial_on_few_examples_tell_no_time():
    """They were made of all images, of which the record counts those that it trained on."""
    backbone = BackboneFacts("MobileNetV2", 96, "none", "w.h5", "0" * 64, True, 50.0, False)
    layers = (Layer("a", (1,), 0, 10, frozen=True),)
    found = []
    for size in (None, 512):
        run = synthetic.record({}, 0, 0.9, backbone=backbone)
        model = {"type": "TransferConfig"}
        run = dataclasses.replace(run, config=run.config | {"model": model, "train_size": size},
                                  cost=dataclasses.replace(run.cost, layers=layers))
        [one] = estimate._speed(run)
        found.append(one.backbone)
    assert found[0] is not None
    assert found[1] is None
