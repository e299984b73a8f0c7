"""What a user has computed stays readable, whatever has been added to the code since."""

import dataclasses
import json
import typing

import numpy as np
import pytest
import synthetic
from place import ROOT
from small import small_dataset

from ablations import ABLATIONS, spec
from ablations.spec import AugmentConfig, EarlyStopping, OptimizerConfig, Run, RunConfig
from harness import records
from harness.analysis.cells import View
from harness.records import configs, pooling
from harness.records.loaded import Loaded
from harness.records.record import SCHEMA
from harness.reporting import files as contents
from harness.training import checkpoint, executor
from harness.training import trainer as fit
from models import CNNConfig, MLPConfig, TransferConfig

STORED = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests" / "records" / "stored").glob("*.json")}
# What those records say they trained, in today's words.
CONFIGS = {
    "schema_1": RunConfig(dataset="fashion_mnist", model=MLPConfig(hidden=(256, 128), dropout=0.1), batch_size=128),
    "schema_2": RunConfig(
        dataset="cifar10", model=TransferConfig(batch_norm=True, hidden=(256, 128), dropout=0.3), batch_size=32,
        epochs=30, early_stopping=EarlyStopping(min_delta=1e-4)),
    "schema_3": RunConfig(
        dataset="digits", model=CNNConfig(filters=(32, 64), padding="same", batch_norm=True), batch_size=32,
        validation_size=200),
}


@pytest.fixture(params=sorted(STORED))
def name(request):
    return request.param


@pytest.fixture
def folder(tmp_path, name):
    """A folder of an ablation that holds the stored record of that name, as it is."""
    stored = STORED[name]
    there = records.Folder(tmp_path, stored["ablation"])
    there.run(run_of(name).run_id).mkdir(parents=True)
    there.run(run_of(name).run_id).joinpath("record.json").write_text(json.dumps(stored))
    there.run(run_of(name).run_id).joinpath("curve.csv").write_text(
        f"{','.join(records.CURVE_COLUMNS)}\n" + "".join(f"{epoch},0.5,0.8,0.4,0.9\n" for epoch in (1, 2)))
    return there


def run_of(name, seed=None):
    stored = STORED[name]
    return Run(stored["labels"], stored["seed"] if seed is None else seed, CONFIGS[name])


def test_a_record_of_every_schema_is_kept_here():
    assert {name: stored["schema"] for name, stored in STORED.items()} == {
        f"schema_{schema}": schema for schema in range(1, SCHEMA + 1)}
    assert STORED.keys() == CONFIGS.keys()


def assert_form(kind, value):
    """Asserts that JSON has the fields of a dataclass, all the way down."""
    assert set(value) == {field.name for field in dataclasses.fields(kind)}
    for field, annotated in typing.get_type_hints(kind).items():
        for part in (annotated, *typing.get_args(annotated)):
            if dataclasses.is_dataclass(part) and value[field] is not None:
                for one in value[field] if isinstance(value[field], list) else [value[field]]:
                    assert_form(part, one)


def test_it_is_read_in_todays_form(folder, name):
    read = folder.record(run_of(name).run_id)
    assert_form(records.RunRecord, record := configs.as_json(read))
    assert record["schema"] == SCHEMA
    assert configs.completed(record["config"]) == configs.as_json(CONFIGS[name])
    changed = {"schema", "cost", "timing", "backbone", "placement", "environment"}
    unknown = {"origin": "", "sources": {}, "overrides": {}, "non_finite_gradients": None}
    assert {key: value for key, value in record.items() if key not in changed} == unknown | {
        key: value for key, value in STORED[name].items() if key not in changed}
    for part in ("timing", "environment"):
        assert record[part].items() >= STORED[name][part].items()
    recounted = {"parameters_bytes", "memory_estimate_bytes", "measured_peak_bytes"}
    stored = {key: value for key, value in STORED[name]["cost"].items() if key not in recounted}
    for layer, kept in zip(record["cost"]["layers"], stored.pop("layers"), strict=True):
        assert layer.items() >= kept.items()
    assert record["cost"].items() >= stored.items()


def test_memory_counts_a_backbone_that_is_in_the_other_columns(folder, name):
    """Whatever the schema, and whether it ran in the step or gave its features beforehand."""
    cost = configs.as_json(folder.record(run_of(name).run_id).cost)
    assert cost["parameters_bytes"] >= 4 * cost["parameters"]
    assert cost["memory_estimate_bytes"] == sum(
        cost[f"{part}_bytes"] for part in ("parameters", "gradients", "optimizer", "activations"))


def test_a_relaunch_takes_its_run_as_recorded(folder, name):
    assert executor.missing([run_of(name), run_of(name, seed=7)], folder) == [run_of(name, seed=7)]


def test_a_new_run_of_its_cell_may_join_it(folder, name):
    record = folder.record(run_of(name).run_id)
    joining = dataclasses.replace(record, seed=7, config=configs.as_json(CONFIGS[name]))
    pooling.refuse_mixtures([record, joining])
    joining = dataclasses.replace(joining, environment=dataclasses.replace(joining.environment, device="another"))
    with pytest.raises(pooling.MixtureError, match="device"):
        pooling.refuse_mixtures([record, joining])


def test_a_checkpoint_of_its_configuration_is_resumed(tmp_path, name):
    trainer = fit.Trainer(small_dataset())
    origin = trainer._origin(run_of(name))
    for path, config in (("old", STORED[name]["config"]), ("other", STORED[name]["config"] | {"batch_size": 1})):
        checkpoint.save(tmp_path / path, 1, {"weights": np.zeros(1)}, {"origin": origin | {"config": config}})
    trainer.check(run_of(name), tmp_path / "old")
    with pytest.raises(checkpoint.CheckpointError, match="batch_size: 1 -> "):
        trainer.check(run_of(name), tmp_path / "other")


def test_it_is_reported(folder, name):
    summary, files = contents.contents(Loaded(folder), View())
    [row] = summary.rows
    assert row.score.mean == STORED[name]["best"]["test_accuracy"]
    assert files["table.md"]
    assert STORED[name]["environment"]["git_commit"][:12] in files["table.md"].decode()
    [read] = records.read_all(folder.results_dir).to_dict("records")
    assert read["config.augment.mixup"] == 0


@pytest.mark.parametrize("stored", [{"schema": SCHEMA + 1}, {"schema": 0}, {"schema": "1"}, {"schema": None},
                                    {"config": None}], ids=str)
def test_a_form_that_is_not_known_is_named_in_one_line(tmp_path, stored):
    path = tmp_path / "any" / "runs" / "a,seed=0" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(STORED["schema_1"] | stored))
    told = r"record\.json has (schema .* reads 1 to|no configuration)"
    with pytest.raises(records.RecordError, match=told) as caught:
        records.Folder(tmp_path, "any").records()
    assert "\n" not in str(caught.value)


FULL = [
    RunConfig(dataset="x", model=MLPConfig()),
    RunConfig(dataset="x", model=CNNConfig(filters=(4,), dropout=0.1), augment=AugmentConfig(flip=True)),
    RunConfig(dataset="x", model=TransferConfig(hidden=(4,)), early_stopping=EarlyStopping("validation_loss"),
              optimizer=OptimizerConfig("sgd", 0.1, momentum=0.9)),
]


def without(plain, path):
    """Copies JSON without the value at a path, and says what that was."""
    plain = json.loads(json.dumps(plain))
    inner = plain
    for part in path[:-1]:
        inner = inner[part]
    return plain, inner.pop(path[-1])


def paths(plain, above=()):
    for key, value in plain.items():
        if key != "type":
            yield (*above, key)
            if isinstance(value, dict):
                yield from paths(value, (*above, key))


@pytest.mark.parametrize("config", FULL, ids=lambda config: type(config.model).__name__)
def test_any_field_may_have_been_added_since(config):
    """Each in turn is taken out of a stored configuration: what then counts is its default."""
    plain = configs.as_json(config)
    assert configs.completed(plain) == plain
    assert list(configs.completed(plain)) == list(plain)
    for path in paths(plain):
        older, value = without(plain, path)
        changes = configs.differences(configs.completed(older), plain)
        owner = config
        for part in path[:-1]:
            owner = getattr(owner, part)
        [field] = [field for field in dataclasses.fields(owner) if field.name == path[-1]]
        if field.default is dataclasses.MISSING:
            assert configs.completed(older) == older, "a value was made up"
        elif configs.as_json(field.default) == value:
            assert changes == [], path
        else:
            assert changes, path
            assert all(change.startswith(".".join(path)) for change in changes)


def test_what_decayed_in_a_record_of_before_there_was_a_choice_is_everything():
    """And there was no schedule, no moving average and no clipping."""
    plain = configs.as_json(FULL[0])
    older = {name: value for name, value in plain.items() if name not in ("schedule", "steps", "ema_decay")}
    older["optimizer"] = {name: plain["optimizer"][name] for name in (
        "type", "kind", "learning_rate", "momentum", "weight_decay")}
    whole = configs.completed(older)
    assert whole == plain
    assert whole["optimizer"]["weight_decay_on"] == "all"


def test_what_is_not_known_today_stays_as_it_is():
    plain = configs.as_json(FULL[0])
    other = plain | {"gone": 1, "model": {"type": "TheirsConfig", "depth": 2}}
    assert configs.completed(other) == other
    assert configs.differences(configs.completed(plain | {"gone": 1}), plain) == ["gone: 1 -> null"]


def wider(kind, **changes):
    """Is the class with fields added, or with others' types, under the same name."""
    fields = [(name, annotated, dataclasses.field(default=default)) for name, (annotated, default) in changes.items()]
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)


def test_adding_a_field_to_a_config_orphans_nothing(tmp_path, monkeypatch):
    """Fields are added to the run, its optimizer and its model; results and a checkpoint from before still count."""
    model, optimizer = wider(MLPConfig, gate=(bool, False)), wider(OptimizerConfig, lookahead=(bool, False))
    later = wider(RunConfig, model=(model | CNNConfig, model()), optimizer=(optimizer, optimizer()),
                  ema=(float, 0.0), tags=(tuple[str, ...], ()))
    monkeypatch.setattr(spec, "RunConfig", later)
    before = RunConfig(dataset="small", model=MLPConfig((8,)))
    invented = dataclasses.replace(
        synthetic.record({"a": "b"}, 0, 0.9), config=configs.as_json(before),
        config_hash=configs.config_hash(configs.as_json(before)))
    folder = synthetic.write(tmp_path, synthetic.plan({"a": ["b"]}, [invented]), invented)
    trainer = fit.Trainer(small_dataset())
    origin = trainer._origin(Run({"a": "b"}, 0, before))
    checkpoint.save(tmp_path / "checkpoints", 1, {"weights": np.zeros(1)}, {"origin": origin})

    today = later(dataset="small", model=model((8,)))
    assert executor.missing([Run({"a": "b"}, 0, today)], folder) == []
    trainer.check(Run({"a": "b"}, 0, today), tmp_path / "checkpoints")
    [record] = folder.records().values()
    pooling.refuse_mixtures([record, dataclasses.replace(record, seed=1, config=configs.as_json(today))])
    assert contents.contents(Loaded(folder), View())[0].rows[0].score.mean == 0.9
    assert records.read_all(tmp_path)["config.ema"].tolist() == [0.0]

    other = later(dataset="small", model=model((8,), gate=True))
    with pytest.raises(records.RecordError, match=r"model\.gate: false -> true"):
        executor.missing([Run({"a": "b"}, 0, other)], folder)


SHIPPED = [name for name in ABLATIONS if records.Folder(ROOT / records.SHIPPED_RESULTS, name).recorded()]


@pytest.mark.parametrize("shipped", SHIPPED)
def test_the_shipped_records_are_those_of_todays_ablations(shipped):
    """A launch into their folder would go on from them."""
    folder = records.Folder(ROOT / records.SHIPPED_RESULTS, shipped)
    runs = ABLATIONS[shipped].runs()
    assert len(executor.missing(runs, folder)) == len(runs) - len(folder.recorded())


@dataclasses.dataclass(frozen=True)
class Relu:
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class Sine:
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class OwnConfig:
    act: Relu | Sine


def test_parts_of_ones_own_that_hold_the_same_are_not_the_same():
    relu, sine = ({"model": configs.as_json(OwnConfig(act))} for act in (Relu(), Sine()))
    assert configs.config_hash(relu) != configs.config_hash(sine)
    assert configs.config_differences(relu, sine) == ['model.act.type: "Relu" -> "Sine"']
    before = {"model": {"type": "OwnConfig", "act": {"gain": 1.0}}}  # as such a class was once kept
    assert configs.config_differences(before, relu) == configs.config_differences(relu, before) == []
    assert configs.config_differences({"model": {"type": "OwnConfig", "act": {"gain": 2.0}}}, relu) == [
        "model.act.gain: 2.0 -> 1.0"]
