import dataclasses

import pytest

from ablations import get
from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig
from harness.training import cohort
from models import CNNConfig, MLPConfig, traced

BASE = RunConfig(dataset="digits", model=MLPConfig(dropout=0.1, l2_kernel=0.1), label_smoothing=0.1,
                 optimizer=OptimizerConfig("sgd", momentum=0.5, weight_decay=0.1))


def cohorts(path, *values):
    levels = {str(number): value for number, value in enumerate(values)}
    return len(cohort.partition(Ablation("Why?", BASE, {"f": Factor(path, levels)}, seeds=(0, 1)).runs()))


@pytest.mark.parametrize(("path", "values"), [
    ("optimizer.learning_rate", (0.1, 0.2)), ("optimizer.momentum", (0.5, 0.9)), ("optimizer.weight_decay", (0.1, 1.0)),
    ("model.dropout", (0.1, 0.2)), ("model.dropout", ((0.1, 0.2), (0.3, 0.4))), ("model.l2_kernel", (0.1, 0.2)),
    ("label_smoothing", (0.1, 0.2)),
    *((f"augment.{name}", (0.5, 1)) for name in (
        "mixup", "cutmix", "rotation", "shear", "scale", "translate_px", "elastic_px", "brightness", "contrast",
        "saturation", "erase_prob")),
    ("augment.cutout_px", (2, 3)),
])
def test_runs_that_differ_in_traced_values_share_a_program(path, values):
    assert cohorts(path, *values) == 1


@pytest.mark.parametrize(("path", "values"), [
    ("optimizer.momentum", (0.0, 0.9)), ("model.dropout", (0.0, 0.2)), ("model.dropout", ((0.1, 0.0), (0.3, 0.4))),
    ("model.hidden", ((8,), (9,))), ("batch_size", (8, 9)), ("epochs", (1, 2)), ("model", (MLPConfig(), CNNConfig())),
    ("precision", ("float32", "bfloat16")), ("augment.mixup", (0.0, 0.2)),
    ("augment.rotation", (0.0, 5.0)), ("augment.trivialaugment", (False, True)),
    ("augment.erase_area", ((0.1, 0.2), (0.1, 0.3))),
])
def test_runs_that_need_another_program_do_not(path, values):
    assert cohorts(path, *values) == 2


def test_a_strength_grid_compiles_twice_with_and_without_the_penalty():
    assert len(cohort.partition(get("fashion_l2_strength").runs())) == 2


def test_a_grid_over_augmentation_strengths_and_seeds_compiles_once():
    factors = {name: Factor(f"augment.{name}", {str(value): value for value in values}) for name, values in (
        ("rotation", (5.0, 10.0)), ("elastic_px", (0.3, 0.6)), ("erase_prob", (0.25, 0.5)), ("cutmix", (0.5, 1.0)))}
    runs = Ablation("Why?", BASE, factors, seeds=(0, 1, 2)).runs()
    assert (len(runs), len(cohort.partition(runs))) == (48, 1)


def test_partition_keeps_every_run_once():
    runs = get("quickstart").runs()
    parts = cohort.partition(runs)
    assert sorted(run.run_id for part in parts for run in part) == sorted(run.run_id for run in runs)
    assert all(dataclasses.is_dataclass(run.config) for part in parts for run in part)


def test_a_field_added_to_a_config_changes_no_cohorts_description():
    """It is at its default in all runs of before, and what is at its default is not described."""
    assert cohort.signature(MLPConfig(dropout=0.3)) == (MLPConfig, ("dropout", True))
    assert cohort.signature(RunConfig(dataset="digits", optimizer=OptimizerConfig("sgd"))) == (
        RunConfig, ("dataset", "digits"), ("optimizer", (OptimizerConfig, ("kind", "sgd"))))


def test_a_field_marked_traced_of_data_of_ones_own_is_no_input_of_a_program():
    @dataclasses.dataclass(frozen=True)
    class Noisy:
        noise: float = traced(0.1)

        def load(self):
            raise NotImplementedError

    one, other = (cohort.signature(dataclasses.replace(BASE, dataset=Noisy(noise))) for noise in (0.1, 0.2))
    assert one != other
