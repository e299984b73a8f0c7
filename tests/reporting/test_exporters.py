import importlib.util
import json
import pathlib
import socket
import struct

import numpy as np
import pytest
import synthetic

from harness import records
from harness.records.loaded import Loaded
from harness.reporting.export import exporters, wandb
from harness.reporting.export.exporters import export

needs = {name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"the extra {name} is not installed")
         for name in exporters.TRACKERS}
STAMPS = {"started_at": "2025-01-01T00:00:00+00:00", "finished_at": "2025-01-01T00:01:00+00:00"}
CONFIG = {"type": "RunConfig", "model": {"type": "MLPConfig", "hidden": [256, 128]},
          "optimizer": {"learning_rate": 0.001}, "early_stopping": None}


def run(level, seed, accuracy, ablation="made_up", **changes):
    return synthetic.record({"rate": level}, seed, accuracy, epochs=3, ablation=ablation, config=CONFIG, **STAMPS,
                            **changes)


@pytest.fixture
def results(tmp_path):
    """Two done runs and a diverged one of one ablation, one run of another."""
    there = tmp_path / "results"
    folder = synthetic.write(there, None, run("0.1", 0, 0.9), run("0.1", 1, 0.91),
                             run("9", 0, None, status="diverged"))
    np.savez(folder.run("rate=0.1,seed=0") / "predictions.npz", predicted=np.arange(3))
    synthetic.write(there, None, run("0.1", 0, 0.8, ablation="other"))
    return there


def exported(results, tracker, target, names=("made_up", "other")):
    return export([records.Folder(results, name) for name in names], tracker, str(target))


@pytest.fixture
def offline(monkeypatch):
    """Fails whatever asks for a machine by name or talks to another."""
    def refuse(*arguments, **more):
        pytest.fail(f"the network was asked for {arguments}")

    whole = socket.socket.connect

    def connect(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            refuse(address)
        return whole(self, address)

    looked_up = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: looked_up(host, *more, **named)
                        if host in ("127.0.0.1", "localhost", None) else refuse(host))


def test_a_run_is_described_in_the_columns_of_the_records(results):
    first, _, failed = exporters.describe(Loaded(records.Folder(results, "made_up")))
    assert first.parameters.items() >= {"seed": 0, "labels.rate": "0.1", "config.type": "RunConfig",
                                        "config.model.type": "MLPConfig", "config.model.hidden": [256, 128],
                                        "config.optimizer.learning_rate": 0.001}.items()
    assert first.metrics["best.test_accuracy"] == 0.9
    assert first.metrics["cost.parameters"] == 1_234_567
    assert first.tags["dataset.fingerprint"] == "f" * 64
    assert first.tags["environment.git_commit"] == synthetic.ENVIRONMENT.git_commit
    assert [path.name for path in first.files] == ["record.json", "curve.csv", "predictions.npz"]
    assert (failed.done, failed.tags["status"], failed.tags["message"]) == (False, "diverged", "stopped")
    assert "best.test_accuracy" not in failed.metrics


def test_parameters_keep_their_type_where_other_runs_lack_them(tmp_path):
    runs = [synthetic.record({"net": net}, 0, 0.9, epochs=3, config={"type": "RunConfig", "model": model}, **STAMPS)
            for net, model in (("cnn", {"type": "CNNConfig", "kernel_size": 3}), ("mlp", {"type": "MLPConfig"}))]
    cnn, mlp = exporters.describe(Loaded(synthetic.write(tmp_path, None, *runs)))
    assert type(cnn.parameters["config.model.kernel_size"]) is int
    assert "config.model.kernel_size" not in mlp.parameters


@pytest.mark.parametrize("damage", [pathlib.Path.unlink, lambda path: path.write_text("epoch\n1\n")])
def test_a_damaged_curve_costs_itself_alone(results, tmp_path, monkeypatch, damage):
    run_folder = results / "made_up" / "runs" / "rate=0.1,seed=0"
    (run_folder / "predictions.npz").unlink()
    damage(run_folder / "curve.csv")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    taken = []
    monkeypatch.setitem(exporters.TRACKERS, "mlflow", (lambda runs, folder: taken.extend(runs) or len(runs), "{0}"))
    said = exported(results, "mlflow", tmp_path / "out")
    assert said.startswith("4 runs exported")
    assert said.endswith(f"damaged and left out: {run_folder / 'curve.csv'}")
    assert [len(run.curve) for run in taken] == [0, 3, 3, 3]
    assert taken[0].metrics["best.test_accuracy"] == 0.9


def test_what_is_not_exported_is_told(results, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setitem(exporters.TRACKERS, "mlflow", (lambda runs, folder: len(runs), "{0}"))
    records.Folder(results, "made_up").write_plan(synthetic.plan({"rate": ["0.1"]}, [
        run("0.1", seed, 0.9) for seed in (0, 1)]))
    assert exported(results, "mlflow", tmp_path / "out").endswith(
        "; left out of cells that their ablations no longer have: 1")
    for path in (results / "made_up" / "runs").glob("*/record.json"):
        path.write_text("{")
    with pytest.raises(records.RecordError, match=r"record\.json"):
        exported(results, "mlflow", tmp_path / "out", ["made_up"])


def test_without_the_package_the_remedy_is_named(results, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for tracker in exporters.TRACKERS:
        with pytest.raises(exporters.ExportError, match=rf"pip install -c constraints\.txt -e '\.\[{tracker}\]'"):
            exported(results, tracker, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_folder_or_a_record_nothing_is_exported(results, tmp_path):
    with pytest.raises(exporters.ExportError, match="--export_dir=DIR"):
        exported(results, "mlflow", "")
    if importlib.util.find_spec("mlflow"):
        with pytest.raises(exporters.ExportError, match=r"no records in .*/absent yet"):
            exported(results, "mlflow", tmp_path / "out", ["absent"])


def again(results, tracker, target, stored):
    """What must hold of every tracker: a second export adds nothing, a changed record replaces its run."""
    assert "4 runs exported" in exported(results, tracker, target)
    before = stored()
    assert "0 runs exported" in exported(results, tracker, target)
    assert stored() == before
    path = results / "made_up" / "runs" / "rate=0.1,seed=0" / "record.json"
    record = json.loads(path.read_text())
    record["best"]["test_accuracy"] = 0.95
    path.write_text(json.dumps(record))
    synthetic.write(results, None, run("0.1", 2, 0.92))
    assert "2 runs exported" in exported(results, tracker, target)
    after = stored()
    assert len(after) == 5
    assert len(set(after.values()) - set(before.values())) == 2


@needs["mlflow"]
def test_mlflow_reads_back_what_was_recorded(results, tmp_path, offline):
    from mlflow import MlflowClient

    target = tmp_path / "out"
    exported(results, "mlflow", target)
    client = MlflowClient(tracking_uri=f"sqlite:///{target / 'mlflow.db'}")
    experiments = {one.name: one.experiment_id for one in client.search_experiments()}
    assert {"made_up", "other"} <= experiments.keys()
    found = {one.info.run_name: one for one in client.search_runs([experiments["made_up"]])}
    assert sorted(found) == ["rate=0.1,seed=0", "rate=0.1,seed=1", "rate=9,seed=0"]
    one, [described, *_] = found["rate=0.1,seed=0"], exporters.describe(Loaded(records.Folder(results, "made_up")))
    assert one.data.params == {name: str(value) for name, value in described.parameters.items()}
    assert described.metrics.items() <= one.data.metrics.items()
    assert described.tags.items() <= one.data.tags.items()
    assert (one.info.start_time, one.info.end_time) == (1735689600000, 1735689660000)
    assert (one.info.status, found["rate=9,seed=0"].info.status) == ("FINISHED", "FAILED")
    for column in records.CURVE_COLUMNS[1:]:
        history = client.get_metric_history(one.info.run_id, column)
        assert [(point.step, point.value) for point in history] == [
            (row["epoch"], row[column]) for row in described.curve.to_dict("records")]
    for path in described.files:
        stored = client.download_artifacts(one.info.run_id, path.name, str(tmp_path))
        assert pathlib.Path(stored).read_bytes() == path.read_bytes()


@needs["mlflow"]
def test_mlflow_takes_a_factor_whose_name_it_does_not_allow(tmp_path, offline):
    from mlflow import MlflowClient

    there = tmp_path / "results"
    synthetic.write(there, None, synthetic.record({"norm+drop": "on"}, 0, 0.9, epochs=3, config=CONFIG, **STAMPS))
    assert "1 run exported" in exported(there, "mlflow", tmp_path / "out", ["made_up"])
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    [one] = client.search_runs([one.experiment_id for one in client.search_experiments() if one.name == "made_up"])
    assert one.data.params["labels.norm_drop"] == "on"


def test_the_longest_name_of_an_ablation_makes_a_project_that_wandb_takes():
    one, other = (wandb._project(f"{'x' * 190},epochs={epochs}") for epochs in (5, 6))
    assert one != other
    assert len(one) == 128
    assert wandb._project("made_up") == "made_up"


@pytest.mark.slow
@needs["mlflow"]
def test_mlflow_gets_nothing_twice(results, tmp_path, offline):
    from mlflow import MlflowClient

    def stored():
        client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
        experiments = [one.experiment_id for one in client.search_experiments()]
        return {(one.info.experiment_id, one.info.run_name): one.info.run_id for one in client.search_runs(experiments)}

    again(results, "mlflow", tmp_path / "out", stored)


@pytest.mark.slow
@needs["mlflow"]
def test_an_mlflow_export_that_broke_off_is_made_whole(results, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    target = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            exported(results, "mlflow", target)
    assert "4 runs exported" in exported(results, "mlflow", target)
    client = MlflowClient(tracking_uri=f"sqlite:///{target / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert len(client.search_runs(experiments)) == 4


def logged(folder):
    """Reads an offline run's log, a LevelDB log of wandb's own messages: kind -> messages."""
    from wandb.proto import wandb_internal_pb2

    [path] = folder.glob("run-*.wandb")
    data, place, whole, found = path.read_bytes(), 7, b"", {}
    assert data[:4] == b":W&B"
    while place < len(data):
        left = 32768 - place % 32768
        if left < 7:  # too short for a header: the rest of the block is padding
            place += left
            continue
        length, part = struct.unpack("<HB", data[place + 4:place + 7])
        whole += data[place + 7:place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # a whole message, or the last part of one
            one = wandb_internal_pb2.Record.FromString(whole)
            found.setdefault(one.WhichOneof("record_type"), []).append(getattr(one, one.WhichOneof("record_type")))
            whole = b""
    return found


def values(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


@needs["wandb"]
def test_wandb_reads_back_what_was_recorded(results, tmp_path, offline):
    target = tmp_path / "out"
    exported(results, "wandb", target)
    found = {}
    for folder in (target / "wandb").glob("offline-run-*"):
        read = logged(folder)
        found[read["run"][0].project, read["run"][0].display_name] = folder, read
    assert sorted(found) == [("made_up", "rate=0.1,seed=0"), ("made_up", "rate=0.1,seed=1"),
                             ("made_up", "rate=9,seed=0"), ("other", "rate=0.1,seed=0")]
    folder, read = found["made_up", "rate=0.1,seed=0"]
    [described, *_] = exporters.describe(Loaded(records.Folder(results, "made_up")))
    [opened] = read["run"]
    assert opened.run_group == "rate=0.1"
    assert {"rate=0.1", "seed=0", "fashion_mnist", "done"} == set(opened.tags)
    config = values(opened.config.update)
    expected = {**described.tags, **described.parameters}
    assert {name: config[name] for name in expected} == expected
    rows = [values(history.item) for history in read["history"]]
    assert [{name: row[name] for name in records.CURVE_COLUMNS} for row in rows] == described.curve.to_dict("records")
    summary = {}
    for update in read["summary"]:
        summary |= values(update.update)
    assert described.metrics.items() <= summary.items()
    for path in described.files:
        assert (folder / "files" / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in described.files} <= {one.path for files in read["files"] for one in files.files}


@pytest.mark.slow
@needs["wandb"]
def test_wandb_gets_nothing_twice(results, tmp_path, offline):
    def stored():
        folders = (tmp_path / "out" / "wandb").glob("offline-run-*")
        return {folder.name.rpartition("-")[2]: (folder / "harness_record_sha256").read_text() for folder in folders}

    again(results, "wandb", tmp_path / "out", stored)


@needs["wandb"]
def test_wandb_keeps_to_its_folder(results, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(home)
    exported(results, "wandb", tmp_path / "out", ["other"])
    assert list(home.iterdir()) == []
