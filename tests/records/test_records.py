import dataclasses
import errno
import json
import re

import numpy as np
import pandas as pd
import pytest
import synthetic
from place import ROOT

from ablations import get
from ablations.claim import Claim
from harness import records
from harness.records import configs, fields, files, kept
from harness.records import folder as folders

RUN = get("fashion_mlp").runs()[0]
CURVE = pd.DataFrame([(1, 0.5, 0.8, 0.4, 0.9)], columns=list(records.CURVE_COLUMNS))
PREDICTIONS = {"predicted": np.asarray([1, 2], np.uint8), "probability": np.asarray([0.5, 0.9], np.float16)}


TIME = "2025-01-01T00:00:00+00:00"
MACHINE = records.Environment("3.11.7", {"jax": "0.10.2"}, "cpu", "a CPU", 1, None, False)


def record(**changes):
    config = configs.as_json(RUN.config)
    facts = records.DatasetFacts("fashion_mnist", "f", "p", True, "archives", (), ("a", "b"), (28, 28, 1), 10, 5, 2)
    scores = records.Scores(1, 0.5, 0.8, 0.4, 0.9, 0.45, 0.88)
    return dataclasses.replace(records.RunRecord(
        ablation="fashion_mlp", question="Why?", cell=RUN.cell, labels=dict(RUN.labels), seed=0, config=config,
        config_hash=configs.config_hash(config), dataset=facts, environment=MACHINE, status="done",
        message="", started_at=TIME, finished_at=TIME, epochs_trained=1, best=scores, last=scores), **changes)


@pytest.fixture
def folder(tmp_path):
    return records.Folder(tmp_path, "fashion_mlp")


def test_what_is_written_is_what_is_read(folder):
    folder.write(RUN.run_id, record(), CURVE, PREDICTIONS)
    assert folder.record(RUN.run_id) == record()
    pd.testing.assert_frame_equal(folder.curve(RUN.run_id), CURVE)
    found = folder.predictions(RUN.run_id)
    assert found.keys() == PREDICTIONS.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, PREDICTIONS[name])
        assert values.dtype == PREDICTIONS[name].dtype


def test_a_record_is_never_overwritten(folder):
    folder.write(RUN.run_id, record(), CURVE, PREDICTIONS)
    with pytest.raises(records.RecordError, match="never overwritten"):
        folder.write(RUN.run_id, record(seed=1), CURVE, PREDICTIONS)
    assert folder.record(RUN.run_id).seed == 0


def test_a_crash_before_the_record_leaves_the_run_unfinished(folder, monkeypatch):
    written = records.write_atomic

    def crash(path, content, **more):
        if path.name == "record.json":
            raise KeyboardInterrupt
        written(path, content, **more)

    monkeypatch.setattr("harness.records.folder.write_atomic", crash)
    with pytest.raises(KeyboardInterrupt):
        folder.write(RUN.run_id, record(), CURVE, PREDICTIONS)
    assert folder.record(RUN.run_id) is None
    monkeypatch.undo()
    folder.write(RUN.run_id, record(), CURVE, PREDICTIONS)
    assert folder.record(RUN.run_id) is not None


@pytest.mark.parametrize("step", [(files.os, "fsync"), (files.pathlib.Path, "replace")], ids=["sync", "rename"])
def test_a_write_that_fails_keeps_the_old_file_alone(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    records.write_atomic(path, b"old")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(*step, fail)
    with pytest.raises(OSError, match=r"No space left on device: .*file"):
        records.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_holds_no_number_that_json_has_not(folder):
    with pytest.raises(ValueError, match="JSON"):
        folder.write(RUN.run_id, record(best=records.Scores(1, float("nan"), 0, 0, 0, 0, 0)), CURVE, {})


def test_the_configuration_changes_the_hash_and_the_difference_is_named():
    other = dataclasses.replace(RUN.config, batch_size=64)
    old, new = configs.as_json(RUN.config), configs.as_json(other)
    assert configs.config_hash(old) != configs.config_hash(new)
    assert configs.differences(old, new) == ["batch_size: 128 -> 64"]
    assert configs.differences(old, json.loads(json.dumps(old))) == []
    assert configs.differences({"dataset": "データ"}, {"dataset": "写真"}) == ['dataset: "データ" -> "写真"']


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"seed": 1}'])
def test_a_damaged_record_is_named_in_one_line(folder, content):
    folder.run(RUN.run_id).mkdir(parents=True)
    (folder.run(RUN.run_id) / "record.json").write_text(content)
    with pytest.raises(records.RecordError, match=r"record\.json .*move the run.s folder away") as caught:
        folder.records()
    assert "\n" not in str(caught.value)


def test_read_all_is_a_row_per_run_of_every_ablation(tmp_path):
    for ablation in ("one", "two"):
        for seed in (0, 1):
            name = f"{RUN.cell},seed={seed}"
            records.Folder(tmp_path, ablation).write(name, record(ablation=ablation, seed=seed), CURVE, {})
    table = records.read_all(tmp_path)
    assert list(table["ablation"]) == ["one", "one", "two", "two"]
    assert list(table["run_id"]) == [f"{RUN.cell},seed={seed}" for seed in (0, 1)] * 2
    assert list(table["seed"]) == [0, 1, 0, 1]
    assert set(table["best.test_accuracy"]) == {0.88}
    assert set(table["labels.dropout"]) == {"0"}
    assert set(table["config.optimizer.learning_rate"]) == {0.001}
    assert len(records.read_all(tmp_path, ["two"])) == 2
    assert records.read_all(tmp_path, "two").equals(records.read_all(tmp_path, ["two"]))


def test_read_all_names_what_is_not_there(tmp_path):
    records.Folder(tmp_path, "one").write(f"{RUN.cell},seed=0", record(ablation="one"), CURVE, {})
    for asked, line in (((tmp_path / "absent",), "there is no folder of results .*absent"),
                        ((tmp_path, ["two"]), "has no ablation two; there are one"),
                        ((tmp_path / "one",), f"is an ablation's own folder: give .*, {tmp_path}")):
        with pytest.raises(records.RecordError, match=line):
            records.read_all(*asked)


def test_read_all_has_all_columns_in_their_types_whatever_the_runs_came_to(tmp_path):
    failed = {"status": "oom", "best": None, "last": None, "epochs_trained": 0}
    families = {name.removesuffix("*") for name in records.columns() if name.endswith("*")}
    fixed = [name for name in records.columns() if not name.endswith("*")]
    outcomes = [[], [record(**failed)], [record(), record(seed=1, **failed)]]
    for number, written in enumerate(outcomes):
        folder = records.Folder(tmp_path / str(number), "fashion_mlp")
        folder.path.mkdir(parents=True)
        for one in written:
            folder.write(f"{RUN.cell},seed={one.seed}", one, CURVE, {})
        table = records.read_all(tmp_path / str(number))
        assert len(table) == len(written)
        assert [name for name in table if not name.startswith(tuple(families))] == fixed
        for name in ("best.epoch", "cost.parameters", "cost.compiled_bytes", "timing.launches", "seed"):
            assert table[name].dtype == "Int64"
    assert list(table["best.epoch"].isna()) == [False, True]
    assert table["best.test_accuracy"].mean() == 0.88, "a run without a score counted"


README = (ROOT / "results" / "README.md").read_text()


def test_the_columns_are_documented_from_the_record_s_own_words():
    assert fields.markdown() in README
    assert all(field.about for field in fields.fields().values())


def test_the_documented_lines_do_what_they_say(monkeypatch):
    """Executed on the shipped records."""
    monkeypatch.chdir(ROOT)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1).strip().splitlines()
    scope: dict = {}
    exec("\n".join(code[:2]), scope)
    assert len(code) == 5
    means, pairs, best = (eval(line.partition("  #")[0], scope) for line in code[2:])
    runs = scope["runs"]
    whole = runs[runs["status"] == "done"]
    assert means["count"].sum() == len(whole)
    a_cell = whole[(whole["ablation"] == "fashion_mlp") & (whole["cell"] == "dropout=0.1")]
    assert means.loc[("fashion_mlp", "dropout=0.1"), "mean"] == pytest.approx(a_cell["best.test_accuracy"].mean())
    assert pairs.shape == (5, 4)
    assert pairs.loc[0, "dropout=0.1"] == a_cell.set_index("seed")["best.test_accuracy"][0]
    assert len(best) == runs["ablation"].nunique()
    highest = whole.groupby("ablation")["best.validation_accuracy"].max()
    assert list(best.set_index("ablation")["best.validation_accuracy"]) == list(highest)


def test_a_plan_grows_and_forgets_nothing(folder):
    def plan(*seeds):
        runs = tuple(records.PlannedRun(f"x,seed={seed}", "x", {}, seed) for seed in seeds)
        return records.Plan("fashion_mlp", "Why?", {"f": ("a",)}, runs)

    assert folder.plan() is None
    folder.write_plan(plan(0, 1))
    folder.write_plan(plan(1, 2))
    assert sorted(run.seed for run in folder.plan().runs) == [0, 1, 2]


def stated(folder, path, sources):
    return records.Plan(folder.ablation, "Why?", {}, (), **vars(folder.provenance(path, sources, {})))


def test_a_folder_of_results_is_one_ablations(tmp_path):
    """An edited file is the same ablation, and so is one that moved as it is; another file of its name is not."""
    folder = records.Folder(tmp_path / "results", "study")
    folder.write_plan(stated(folder, f"{tmp_path}/study.py", {"study.py": "a" * 64}))
    assert folder.plan().origin == "study.py"
    folder.write_plan(edited := stated(folder, f"{tmp_path}/study.py", {"study.py": "b" * 64}))
    folder.write_plan(stated(folder, "/elsewhere/study.py", {"study.py": "b" * 64}))
    folder.write_plan(edited)
    for other in ("/elsewhere/study.py", "", "study:ABLATION"):
        with pytest.raises(records.RecordError, match=r"holds the results of study\.py, not of .*: rename") as caught:
            stated(folder, other, {})
        assert "\n" not in str(caught.value)
        with pytest.raises(records.RecordError, match="holds the results"):
            folder.write_plan(dataclasses.replace(edited, origin=other, sources={}))
    assert folder.plan() == edited


def test_a_plan_carries_claims_and_one_written_before_there_were_any_has_none(folder):
    claim = records.PlannedClaim(**dataclasses.asdict(Claim("someone", "parameters", 7, labels={"f": "a"})))
    plan = records.Plan("fashion_mlp", "Why?", {"f": ("a",)}, (), (claim,), ("precision",))
    folder.write_plan(plan)
    assert folder.plan() == plan
    (folder.path / "plan.json").write_text('{"question": "Why?", "factors": {}, "runs": []}')
    assert folder.plan().claims == folder.plan().varied == ()


@pytest.mark.parametrize(("change", "told"), [
    ({"best": {"test_accuracy": 1.2}}, "best.test_accuracy = 1.2, which is no fraction"),
    ({"best": {"test_loss": -1.0}}, "best.test_loss = -1, which is below 0"),
    ({"best": {"epoch": "one"}}, r"epoch"), ({"seed": "0"}, "seed"), ({"status": "finished"}, "status"),
    ({"config": {"batch_size": 1}}, "config_hash"), ({"best": None}, "is done and has no scores"),
    ({"environment": {"device": None}}, "device")])
def test_a_record_of_another_form_is_refused_in_one_line(folder, change, told):
    """Types all the way down, ranges, and the hash of the configuration."""
    folder.write(RUN.run_id, record(), CURVE, {})
    path = folder.run(RUN.run_id) / "record.json"
    stored = json.loads(path.read_text())
    for name, value in change.items():
        stored[name] = stored[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(stored))
    with pytest.raises(records.RecordError, match=told) as caught:
        folder.records()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("full", ["exhibits.npz", kept.WEIGHTS, kept.CONFIG])
def test_a_disk_that_is_full_costs_a_run_its_extras_and_never_its_record(tmp_path, monkeypatch, full):
    def failing(write):
        def write_some(path, content, **more):
            if path.name == full:
                raise OSError(28, "No space left on device")
            write(path, content, **more)

        return write_some

    monkeypatch.setattr(folders, "write_atomic", failing(folders.write_atomic))
    monkeypatch.setattr(folders, "write_arrays", failing(folders.write_arrays))
    run, folder = synthetic.record({}, 0, 0.9), records.Folder(tmp_path, "made_up")
    [lost] = folder.write("a", run, synthetic.curve(run), synthetic.predictions(run), {"index": np.zeros(1)},
                          {kept.WEIGHTS: b"w", kept.CONFIG: b"c"})
    assert "No space left on device" in lost
    assert lost.startswith("pictures" if full == "exhibits.npz" else "trained weights")
    assert folder.record("a") == run
    left = {path.name for path in folder.run("a").iterdir()} - {"record.json", "curve.csv", "predictions.npz"}
    assert left == ({kept.WEIGHTS, kept.CONFIG} if full == "exhibits.npz" else {"exhibits.npz"}), "all of it or none"
