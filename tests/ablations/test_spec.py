import dataclasses
import operator
import typing

import numpy as np
import pytest

from ablations import ABLATIONS, UnknownAblationError, get
from ablations.own_data import ImageFolder
from ablations.spec import (
    Ablation,
    AugmentConfig,
    Claim,
    EarlyStopping,
    Factor,
    OptimizerConfig,
    RandomCells,
    RunConfig,
    ScheduleConfig,
    SpecError,
    Uniform,
    with_value,
    with_values,
)
from models import CNNConfig, MLPConfig

BASE = RunConfig(dataset="digits")
RATES = Factor("optimizer.learning_rate", {"0.01": 0.01, "0.1": 0.1})
WIDTHS = Factor("model.hidden", {"8": (8,), "16": (16,), "32": (32,)})
CLAIM = Claim("someone", "test_accuracy", 0.0, "at_least")


def ablation(**changes):
    return Ablation(**{"question": "Why?", "base": BASE, "factors": {"rate": RATES, "width": WIDTHS}} | changes)


def test_a_full_factorial_has_every_combination_with_every_seed():
    runs = ablation(seeds=(4, 7)).runs()
    settings = [(run.config.optimizer.learning_rate, run.config.model.hidden, run.seed) for run in runs]
    assert len(set(settings)) == len(runs) == 2 * 3 * 2
    assert (runs[0].cell, runs[0].run_id) == ("rate=0.01,width=8", "rate=0.01,width=8,seed=4")


def test_one_at_a_time_is_the_baseline_and_each_change_alone():
    cells = [run.cell for run in ablation(design="one_at_a_time", seeds=(0,)).runs()]
    assert cells == ["rate=0.01,width=8", "rate=0.1,width=8", "rate=0.01,width=16", "rate=0.01,width=32"]


def test_a_seed_changes_no_level():
    configs = {}
    for run in ablation(seeds=(0, 1, 2)).runs():
        configs.setdefault(run.cell, set()).add(run.config)
    assert all(len(seen) == 1 for seen in configs.values())


def test_a_factor_may_set_several_fields_at_once():
    both = Factor(("model.l2_kernel", "model.l2_bias"), {"0": (0.0, 0.0), "weak": (0.1, 0.2)})
    last = ablation(factors={"l2": both}).runs()[-1].config.model
    assert (last.l2_kernel, last.l2_bias) == (0.1, 0.2)


def test_a_path_into_early_stopping_switches_it_on():
    [run] = ablation(factors={}, seeds=(0,), overrides={"early_stopping.patience": 3}).runs()
    assert run.config.early_stopping == EarlyStopping(patience=3)


def test_an_ablation_without_factors_has_one_cell():
    assert {run.cell for run in ablation(factors={}).runs()} == {"baseline"}


def test_overrides_reach_every_run_after_its_factors():
    models = Factor("model", {"mlp": MLPConfig(), "cnn": CNNConfig()})
    runs = ablation(factors={"model": models}, overrides={"model.l2_kernel": 0.5, "epochs": 2}).runs()
    assert {(run.config.model.l2_kernel, run.config.epochs) for run in runs} == {(0.5, 2)}


@pytest.mark.parametrize(("changes", "message"), [
    ({"factors": {"f": Factor("optimizer.learning_rat", {"a": 0.1})}}, "did you mean learning_rate"),
    ({"factors": {"f": Factor("model.hidden.x", {"a": 1})}}, "has no fields"),
    ({"factors": {"f": Factor("epochs", {"a": 0})}}, 'factor "f", level "a": epochs must be'),
    ({"factors": {"f": Factor("epochs", {"a": "10"})}}, "holds a value such as 20"),
    ({"factors": {"f": Factor("epochs", {})}}, "at least one level"),
    ({"factors": {"f": Factor("epochs", {"a/b": 1})}}, "a label holds"),
    ({"factors": {"seed": Factor("epochs", {"a": 1})}}, "is not"),
    ({"factors": {"f": Factor("epochs", {"a b": 1, "a_b": 2})}}, "same name"),
    ({"factors": {"f": Factor("epochs", {"Long": 1, "long": 2})}}, "same name"),
    ({"factors": {"f": Factor("epochs", {"../x": 1})}}, "a label holds"),
    ({"factors": {"f": Factor(("epochs", "batch_size"), {"a": (1,)})}}, "a value for each of epochs, batch_size, not"),
    ({"factors": {"f": Factor(("epochs",), {"a": 1})}}, "a tuple with a value for each of epochs, not 1"),
    ({"factors": {"f": Factor("epochs", {1: 1})}}, 'a label holds .* not 1; put it in quotation marks, "1"'),
    ({"factors": {"f": Factor("epochs", [1, 2])}}, 'factor "f": levels must be a dict such as .* not \\[1, 2\\]'),
    ({"factors": {"f": Factor(3, {"a": 1})}}, 'factor "f": path must be text such as "model.dropout"'),
    ({"factors": {"f": ("epochs", {"a": 1})}}, 'factor "f" must be a Factor\\(path, levels\\), not'),
    ({"factors": {0: Factor("epochs", {"a": 1})}}, "a factor's name holds letters"),
    ({"factors": {"f": Factor(("model.dropout", "model"), {"a": (0.3, MLPConfig())})}}, 'would undo the factor "f"'),
    ({"factors": {"f": Factor(("epochs", "epochs"), {"a": (1, 2)})}}, 'would undo the factor "f"'),
    ({"factors": [RATES]}, "factors must be a dict such as"), ({"base": MLPConfig()}, "base must be a RunConfig"),
    ({"overrides": ["epochs"]}, "overrides must be a dict such as"), ({"question": None}, "question must be text"),
    ({"claims": CLAIM}, "claims must be a tuple such as"),
    ({"claims": (dataclasses.replace(CLAIM, labels={"rate": "0.1", "width": "8"}, over={"rate": "0.1"}),)},
     "over={'rate': '0.1'}, which labels=.* it would compare each cell with itself"),
    ({"factors": {"f": RATES, "g": Factor("optimizer", {"a": OptimizerConfig()})}}, 'would undo the factor "f"'),
    ({"overrides": {"model": MLPConfig()}}, 'would undo the factor "width"'),
    ({"overrides": {"epoch": 3}}, 'no field "epoch"; did you mean epochs'),
    ({"overrides": {"optimizer": "sgd"}, "factors": {}}, "field by field, such as optimizer.kind"),
    ({"overrides": {"early_stopping": 5}}, "field by field, such as early_stopping.patience"),
    ({"factors": {"f": Factor("epochs", {"a": 1, "b": 1})}}, 'cells "f=a" and "f=b" are the same run'),
    ({"factors": {"f": Factor("epochs", {"a" * 200: 1})}}, "too long for the name"),
    ({"design": "latin_square"}, "full_factorial, one_at_a_time"),
    ({"within": ("depth",)}, "within must be some of the factors"), ({"within": ("",)}, "within must be some"),
    ({"within": ("rate", "width")}, "within must be some"), ({"within": "width"}, "within must be some"),
    ({"seeds": ()}, "seeds"), ({"seeds": (1, 1)}, "seeds"), ({"seeds": (-1,)}, "seeds"), ({"seeds": (True,)}, "seeds"),
    ({"seeds": (1.0,)}, "seeds"), ({"seeds": "01"}, "seeds"), ({"seeds": 3}, "such as \\(0, 1, 2\\), not 3"),
    ({"question": " "}, "question"),
])
def test_what_cannot_run_fails_when_it_is_built(changes, message):
    with pytest.raises(SpecError, match=message) as caught:
        ablation(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("path", "value"), [
    ("optimizer.kind", "adamax"), ("schedule", "cosine"), ("steps", 0), ("ema_decay", 1.0), ("class_weight", "even"),
    ("optimizer.momentum", 0.9), ("optimizer.learning_rate", 0), ("batch_size", True),
    ("batch_size", 10**12), ("epochs", 2**31),
    ("label_smoothing", 1.0), ("precision", "float16"), ("validation_size", 0), ("dataset", ""), ("train_size", -1),
])
def test_a_wrong_value_is_refused_where_it_is_set(path, value):
    with pytest.raises(ValueError, match=path.rpartition(".")[2]) as caught:
        with_value(BASE, path, value)
    assert "has no field" not in str(caught.value)


@pytest.mark.parametrize("field", ["learning_rate", "momentum", "weight_decay", "clip_norm", "clip_value"])
def test_a_number_that_has_no_meaning_of_its_own_where_it_is_unset_is_given(field):
    with pytest.raises(ValueError, match=f"{field} must be a"):
        OptimizerConfig("sgd", **{field: None})


@pytest.mark.parametrize(("changes", "path"), [
    ({"model": MLPConfig(dropout=0)}, "model.dropout"), ({"augment": AugmentConfig(rotation=15)}, "augment.rotation"),
    ({"optimizer": OptimizerConfig(weight_decay=0)}, "optimizer.weight_decay"),
    ({"schedule": ScheduleConfig("cosine", warmup_epochs=1)}, "schedule.warmup_epochs")])
def test_a_field_of_fractions_takes_them_where_the_base_has_a_whole_number(changes, path):
    base = dataclasses.replace(BASE, **changes)
    for value in (0.5, 0):
        assert operator.attrgetter(path)(with_value(base, path, value)) == value
    made = ablation(base=base, factors={"f": Factor(path, Uniform(0, 0.9))}, design=RandomCells(2))
    assert made.runs()[0].config == base
    with pytest.raises(SpecError, match="holds a value such as"):
        with_value(base, path, "x")


DEEP = dataclasses.replace(BASE, model=MLPConfig(hidden=(256, 128), dropout=(0.2, 0.5)))


@pytest.mark.parametrize("swapped", [False, True])
def test_settings_of_one_level_that_hang_on_each_other_are_made_at_once(swapped):
    paths = "model.hidden", "model.dropout"
    levels = {"2": ((256, 128), (0.2, 0.5)), "3": ((9, 9, 9), (0.2, 0.3, 0.5))}
    if swapped:
        paths, levels = paths[::-1], {label: values[::-1] for label, values in levels.items()}
    found = ablation(base=DEEP, factors={"deep": Factor(paths, levels)})
    assert [run.config.model.dropout for run in found.runs()][::3] == [(0.2, 0.5), (0.2, 0.3, 0.5)]


def test_overrides_that_hang_on_each_other_are_made_at_once():
    found = ablation(base=DEEP, factors={}, overrides={"model.hidden": (9,), "model.dropout": (0.1,)})
    assert found.runs()[0].config.model == MLPConfig(hidden=(9,), dropout=(0.1,))
    with pytest.raises(SpecError, match=r'^override "model.hidden": dropout must be one rate or one for each of 1'):
        ablation(base=DEEP, factors={}, overrides={"model.hidden": (9,), "epochs": 3})


@dataclasses.dataclass(frozen=True)
class Own:
    rate: float = 0
    act: str | None = "relu"
    width: int | tuple[int, ...] = 64
    pool: typing.Literal["max", "mean"] = "max"
    flag: bool = False
    later: "Unknown" = 3  # noqa: F821

    def build(self, num_classes, input_shape, *, rngs):
        raise NotImplementedError


@pytest.mark.parametrize(("path", "value"), [
    ("rate", 0.3), ("rate", 1), ("act", None), ("act", "tanh"), ("width", (64, 32)), ("width", 3), ("pool", "mean"),
    ("flag", True)])
def test_a_field_takes_what_its_annotation_says(path, value):
    readable = dataclasses.make_dataclass("Readable", [
        (field.name, field.type, field) for field in dataclasses.fields(Own) if field.name != "later"], frozen=True)
    assert getattr(with_value(readable(), path, value), path) == value


@pytest.mark.parametrize(("path", "value"), [
    ("rate", "x"), ("rate", True), ("act", 3), ("width", 0.5), ("width", "3"), ("pool", 3), ("flag", 1)])
def test_a_field_takes_nothing_else(path, value):
    readable = dataclasses.make_dataclass("Readable", [
        (field.name, field.type, field) for field in dataclasses.fields(Own) if field.name != "later"], frozen=True)
    with pytest.raises(SpecError, match=f'"{path}" holds a value such as'):
        with_value(readable(), path, value)


def test_where_no_annotation_can_be_read_the_value_that_is_there_says_what_fits():
    assert with_value(Own(), "later", 4).later == 4
    with pytest.raises(SpecError, match='"later" holds a value such as 3'):
        with_value(Own(), "later", "x")


def test_seeds_are_plain_whole_numbers_whatever_gives_them():
    for seeds in (np.arange(3), tuple(np.arange(3)), range(3), [0, 1, 2]):
        assert [type(seed) for seed in ablation(seeds=seeds).seeds] == [int] * 3
        assert ablation(seeds=seeds).seeds == (0, 1, 2)


@pytest.mark.parametrize(("path", "values"), [
    ("steps", (100, None)), ("train_size", (10, None)), ("class_weight", ("balanced", (1.0, 2.0), None)),
    ("optimizer.b1", (0.8, None, 0))])
def test_what_is_unset_by_default_may_be_unset_again(path, values):
    config = BASE
    for value in values:
        config = with_value(config, path, value)
        assert operator.attrgetter(path)(config) == value


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_shipped_ablation_expands(name):
    runs = get(name).runs()
    assert len({run.run_id for run in runs}) == len(runs) >= 6
    assert len({(run.config, run.seed) for run in runs}) == len(runs), "two cells are the same run"


def test_the_mnist_ablations_ask_the_same_of_mnist():
    for name in ("regularization", "depth_width", "optimizer", "l2_strength", "mlp"):
        mnist, fashion = get(f"mnist_{name}"), get(f"fashion_{name}")
        assert mnist.base == dataclasses.replace(fashion.base, dataset="mnist")
        assert "Fashion" not in mnist.question


def test_an_unknown_ablation_lists_those_there_are():
    with pytest.raises(UnknownAblationError, match="did you mean fashion_mlp") as caught:
        get("fashion_mpl")
    assert caught.value.choices[0] == "fashion_mlp"
    assert sorted(caught.value.choices) == sorted(ABLATIONS)


def test_a_folder_of_pictures_has_fields_also_where_it_is_a_text():
    changed = with_values(RunConfig("digits"), {"dataset": "folder:pets", "dataset.size": (8, 8)})
    assert changed.dataset == ImageFolder("pets", size=(8, 8))


@pytest.mark.parametrize(("make", "line"), [
    (lambda: Ablation("Why?", RunConfig("digits"), {}, claims=("x",)), "claims holds 'x', which is no Claim"),
    (lambda: Claim("a post", "test_accuracy", 0.9, "at_least", labels=("a", "b")), "labels must be a dict"),
    (lambda: Claim("a post", "test_accuracy", 0.9, "at_least", over="dropout"), "over must be a dict"),
    (lambda: Claim("a post", "test_accuracy", "0.9", "at_least"), "value must be a number"),
    (lambda: Claim(None, "test_accuracy", 0.9), "needs a source"),
    (lambda: ImageFolder("pets", channels=3.0), "channels must be one of 1, 3; not '3.0'"),
    (lambda: ImageFolder(b"pets"), "path must name the folder")])
def test_what_no_claim_or_folder_may_be_is_one_line(make, line):
    with pytest.raises((SpecError, ValueError), match=line):
        make()
