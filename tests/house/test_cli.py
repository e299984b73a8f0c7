import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import commands
import pytest
from place import ROOT

from ablations import ABLATIONS
from harness import records
from harness.analysis.summarize import summarize
from harness.records.configs import config_hash
from harness.records.leases import Leases, held_by_others
from harness.records.loaded import Loaded
from harness.reporting.export import exporters
from harness.reporting.figures import figures

QUICK = ("--ablation=quickstart", "--only=network=mlp,regularizer=dropout", "--seeds=0,1", "--epochs=20")
NAME = "quickstart,epochs=20"


def command(results, *flags):
    return [sys.executable, "-m", "harness.run", f"--results_dir={results}", *flags]


def run(results, *flags, **environment):
    return commands.here().run("harness.run", f"--results_dir={results}", *flags, **environment)


def outcome(results, name=NAME):
    """What a run leaves behind, without times."""
    found = {}
    for path in sorted(pathlib.Path(results, name, "runs").glob("*/*")):
        if path.name == "record.json":
            record = json.loads(path.read_text())
            found[path.parent.name, path.name] = {key: record[key] for key in (
                "config_hash", "dataset", "status", "epochs_trained", "stopped_early", "best", "last")}
        elif path.is_file():
            found[path.parent.name, path.name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Results of an uninterrupted launch."""
    results = tmp_path_factory.mktemp("straight")
    done = run(results, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "2 runs, 0 recorded, 2 to train" in done.stdout
    assert done.stderr == "", "nothing but results and progress, and no library's log"
    return results


def test_a_launch_leaves_records_tables_and_pictures(straight):
    folder = straight / NAME
    there = {path.name for path in folder.iterdir()}
    assert {"table.md", "table.csv", "table.tex", "curves_accuracy.png", "plan.json"} <= there
    table = records.read_all(straight)
    assert list(table["status"]) == ["done", "done"]
    assert (table["best.test_accuracy"] > 0.5).all()
    assert (table["cost.compiled_bytes"] > 0).all()


def test_what_a_launch_leaves_can_all_be_drawn(straight):
    """The launch of this file draws nothing, so that it takes seconds."""
    loaded = Loaded(records.Folder(straight, NAME))
    drawn, missing = figures.draw(loaded, summarize(NAME, loaded.plan, loaded.records, predictions=loaded.predictions))
    assert {figure.name for figure in drawn} >= {"curves_accuracy", "confusion", "test_images", "mispredictions",
                                                 "predicted_classes", "calibration", "weights"}
    assert not {figure.name for figure in drawn} & missing.keys()


def test_the_second_launch_trains_nothing(straight):
    before = {path: path.stat().st_mtime_ns for path in straight.rglob("runs/*/*")}
    again = run(straight, *QUICK)
    assert again.returncode == 0
    assert "2 runs, 2 recorded, 0 to train" in again.stdout
    assert "epoch" not in again.stdout.partition("to train")[2].partition("quickstart")[0]
    assert {path: path.stat().st_mtime_ns for path in straight.rglob("runs/*/*")} == before


@pytest.mark.parametrize("kill", [signal.SIGKILL, *(
    pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1))])
def test_a_killed_launch_goes_on_to_the_same_result(straight, tmp_path, kill):
    """Killed for real after its first checkpoint; the second launch ends where the uninterrupted one did."""
    log = tmp_path / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(command(tmp_path, *QUICK, "--save_every_s=0"), cwd=ROOT, stdout=output,
                                   stderr=output)
        checkpoints = tmp_path / NAME / "runs"
        deadline = time.monotonic() + 120
        while not any(path.name.isdigit() for path in checkpoints.glob("*/checkpoints/*")):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.001)
        process.send_signal(kill)
        assert process.wait(timeout=60) == (-kill if kill == signal.SIGKILL else 75)
    assert len(outcome(tmp_path)) < len(outcome(straight)), "it was too late to kill"
    done = run(tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "resumed after epoch" in done.stdout
    assert outcome(tmp_path) == outcome(straight)


@pytest.mark.parametrize("name", ["run", "report", "predict"])
def test_while_a_command_imports_ctrl_c_ends_it_without_a_word(tmp_path, name):
    """The first of its own imports waits here."""
    code = ("import runpy, signal, sys, time\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background has it ignored
            "class Waits:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'absl':\n"
            "            print('importing', flush=True)\n"
            "            time.sleep(60)\n"
            "sys.meta_path.insert(0, Waits())\n"
            f"runpy.run_module('harness.{name}', run_name='__main__', alter_sys=True)\n")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == ""
    assert process.returncode == -signal.SIGINT


def test_runs_that_failed_fail_every_launch_until_they_are_tried_again(straight, tmp_path):
    """What they left is kept."""
    shutil.copytree(straight / NAME, tmp_path / NAME)
    for path in tmp_path.rglob("record.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"status": "diverged", "message": "loss not finite", "best": None,
                                             "last": None}))
    diverged = run(tmp_path, *QUICK)
    assert diverged.returncode == 1
    assert diverged.stderr.startswith("error: all 2 runs diverged, the first with: loss not finite; change what")
    path.write_text(path.read_text().replace('"diverged"', '"error"').replace("loss not finite", "broken"))
    failed = run(tmp_path, *QUICK)
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert line.startswith("error: 1 of 2 runs failed, the first with: broken; ")
    assert line.endswith("train them again with --retry=oom,error")
    again = run(tmp_path, *QUICK, "--retry=oom,error,diverged")
    assert again.returncode == 0, again.stderr
    assert "2 runs, 0 recorded, 2 to train" in again.stdout
    assert outcome(tmp_path) == outcome(straight)
    assert len(list((tmp_path / NAME / "set_aside").glob("*/record.json"))) == 2


def test_only_what_failed_can_be_tried_again(tmp_path):
    refused = run(tmp_path, *QUICK, "--retry=done")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == ["error: --retry=done: no run is recorded as done; there are",
                                           "  diverged, oom, error"]


def test_a_dry_run_tells_that_another_process_trains_there(straight, tmp_path):
    shutil.copytree(straight / NAME, tmp_path / NAME)
    with Leases(tmp_path / NAME / "in_training") as held:
        held.take(["network=mlp,regularizer=dropout,seed=2"])
        shared = run(tmp_path, *QUICK, "--seeds=2,3", "--dry_run")
        recorded = run(tmp_path, *QUICK, "--dry_run")
    assert shared.returncode == 0
    assert f"1 run is being trained by {socket.gethostname()}:{os.getpid()}, 1 is left\n" in shared.stdout
    assert recorded.returncode == 0
    assert recorded.stdout.splitlines()[-1].endswith(f"2 runs, 2 recorded, 0 to train, in {tmp_path}/")


def test_a_part_without_runs_states_the_plan_and_is_done(tmp_path):
    done = run(tmp_path, *QUICK, "--shard=3/3")
    assert done.returncode == 0, done.stderr
    assert "2 runs, 0 recorded, 0 to train" in done.stdout
    assert {planned.seed for planned in records.Folder(tmp_path, NAME).plan().runs} == {0, 1}


def test_a_part_does_not_answer_for_a_run_of_another(straight, tmp_path):
    shutil.copytree(straight / NAME, tmp_path / NAME)
    runs = [tmp_path / NAME / "runs" / f"network=mlp,regularizer=dropout,seed={seed}" for seed in range(2)]
    failed = json.loads((runs[1] / "record.json").read_text()) | {"status": "error", "message": "made up"}
    (runs[1] / "record.json").write_text(json.dumps(failed))
    shutil.rmtree(runs[0])
    codes = []
    for part in ("1/2", "2/2"):  # whichever has which
        if (runs[0] / "record.json").exists():
            shutil.rmtree(runs[0])
        codes.append(run(tmp_path, *QUICK, f"--shard={part}").returncode)
    assert sorted(codes) == [0, 1]


def test_a_part_whose_runs_another_process_trains_is_not_done(straight, tmp_path):
    with Leases(tmp_path / NAME / "in_training") as held:
        held.take([f"network=mlp,regularizer=dropout,seed={seed}" for seed in range(2)])
        left = run(tmp_path, *QUICK, "--shard=1/1")
    assert left.returncode == 75, left.stderr
    assert left.stderr.rstrip().endswith("run the same command again when others have ended")
    recorded = run(straight, *QUICK, "--shard=1/2")
    assert recorded.returncode == 0, recorded.stderr


def test_a_results_folder_may_be_in_the_home_folder(straight, tmp_path):
    shutil.copytree(straight / NAME, tmp_path / "of mine" / NAME)
    again = commands.here().run("harness.run", "--results_dir=~/of mine", *QUICK, HOME=str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "2 runs, 2 recorded, 0 to train, in ~/of mine/" in again.stdout
    told = commands.here().run("harness.report", "--results_dir=~/of mine", HOME=str(tmp_path))
    assert told.returncode == 0, told.stderr
    record = f"{tmp_path}/of mine/{NAME}/runs/network=mlp,regularizer=dropout,seed=0/record.json"
    refused = commands.here().run("harness.run", f"--replay={record}", "--results_dir=~/of mine", HOME=str(tmp_path))
    assert "is recorded already, and nothing is overwritten" in refused.stderr
    assert not (ROOT / "~").exists()


def test_an_export_may_go_to_the_home_folder(straight, tmp_path, monkeypatch):
    written = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(exporters.TRACKERS, "json", (lambda runs, folder: written.append(folder) or len(runs), "{0}"))
    exporters.export([records.Folder(straight, NAME)], "json", "~/kept")
    assert written == [tmp_path / "kept"]


def test_a_record_of_another_configuration_stops_the_launch(straight, tmp_path):
    results = tmp_path / "results"
    subprocess.run(["cp", "-r", straight, results], check=True)
    path = next((results / NAME / "runs").glob("*/record.json"))
    record = json.loads(path.read_text())
    record["config"]["batch_size"] = 7
    record["config_hash"] = config_hash(record["config"])
    path.write_text(json.dumps(record))
    failed = run(results, *QUICK)
    assert failed.returncode == 1
    assert "batch_size: 7 -> 32" in failed.stderr
    assert json.loads(path.read_text())["config"]["batch_size"] == 7


def test_a_dry_run_tells_the_cost_and_trains_nothing(tmp_path):
    told = run(tmp_path, "--ablation=quickstart", "--dry_run", COLUMNS="120")
    assert told.returncode == 0
    assert "24 runs, 0 recorded, 24 to train" in told.stdout
    assert "17,226" in told.stdout  # 64*128+128 + 128*64+64 + 64*10+10
    assert "8 compiled programs" in told.stdout
    assert len([line for line in told.stdout.splitlines() if line.startswith(("mlp, ", "cnn, "))]) == 8, "a row a cell"
    assert re.search(r"about [\d.]+ (s|min|h) in all|time unknown on this machine", " ".join(told.stdout.split()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_devices_and_parallel_say_how_runs_lie(tmp_path):
    """The ablation has three seeds; two of them are trained, in the layout of all three."""
    done = run(tmp_path, *QUICK, "--devices=4", "--parallel=pmap")
    assert done.returncode == 0, done.stderr
    for record in records.Folder(tmp_path, NAME).records().values():
        placed = record.placement
        assert placed.layouts == ("3 devices, one run on each, by pmap",)
        assert placed.cache_hits + placed.cache_misses == placed.compiled_programs == 3
        assert record.environment.device_count == 4


def test_the_list_names_every_ablation(tmp_path):
    told = run(tmp_path, "--list", COLUMNS="200")
    assert told.returncode == 0
    assert all(f" {name} " in told.stdout for name in ABLATIONS)


def test_help_teaches_by_example(tmp_path):
    told = run(tmp_path, "--help")
    assert "python -m harness.run --ablation=quickstart" in told.stdout
    assert "--save_every_s" in told.stdout


@pytest.mark.slow
def test_smoke_and_overrides_go_to_folders_of_their_own(tmp_path):
    done = run(tmp_path, "--ablation=quickstart", "--only=network=mlp,regularizer=none", "--smoke",
               "--set=model.activation=tanh")
    assert done.returncode == 0, done.stderr
    [folder] = filter(pathlib.Path.is_dir, tmp_path.iterdir())
    assert folder.name == "quickstart,model.activation=tanh,smoke=512"
    [config] = records.read_all(tmp_path)["config.model.activation"]
    assert config == "tanh"


@pytest.mark.real_data
@pytest.mark.skipif("HARNESS_DATA_DIR" not in os.environ, reason="HARNESS_DATA_DIR names no folder of data sets")
def test_a_dense_net_learns_the_real_fashion_mnist(tmp_path):
    """Dense nets are near 0.85 after two epochs in the public record."""
    done = run(tmp_path, "--ablation=fashion_mlp", "--only=dropout=0.1,seed=0", "--epochs=2",
               f"--data_dir={os.environ['HARNESS_DATA_DIR']}")
    assert done.returncode == 0, done.stderr
    [record] = records.Folder(tmp_path, "fashion_mlp,epochs=2").records().values()
    assert record.dataset.official
    sizes = [getattr(record.dataset, f"{split}_examples") for split in ("train", "validation", "test")]
    assert sizes == [55_000, 5_000, 10_000]
    assert 0.83 < record.best.test_accuracy < 0.90
    assert record.cost.parameters == 235_146


TRANSFER = ("--ablation=cifar10_transfer_width", "--set=dataset=digits", "--set=validation_size=200",
            "--set=model.resolution=32", "--epochs=3", "--only=width=0.35,head=linear", "--seeds=0")


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif("HARNESS_DATA_DIR" not in os.environ, reason="HARNESS_DATA_DIR names no folder of data sets")
def test_heads_train_on_features_of_real_weights_that_are_computed_once(tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    weights = f"--weights_dir={os.environ['HARNESS_DATA_DIR']}/weights"
    for name, cached in (("first", False), ("second", True)):
        done = run(tmp_path / name, *TRANSFER, weights, **cache)
        assert done.returncode == 0, done.stderr
        [folder] = records.find([tmp_path / name])[0]
        [record] = folder.records().values()
        assert record.backbone.features_cached is cached
        assert record.backbone.weights_file.endswith("_0.35_224_no_top.h5")
        assert record.backbone.features_s > 0
        assert record.timing.end_to_end_examples_per_s < record.timing.throughput_examples_per_s
        assert any("are not proven to be the official file" in warning for warning in record.dataset.warnings)
        assert record.best.test_accuracy > 0.5, "ten classes of tiny digits, three epochs"


@pytest.mark.slow
def test_two_launches_at_once_do_not_train_the_same_runs(tmp_path):
    both = [subprocess.Popen(command(tmp_path, *QUICK), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True) for _ in range(2)]
    results = [process.communicate() for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 75]), results
    if codes == [0, 75]:
        assert any(re.search(r"runs? (is|are) being trained by \S+:\d+, 0 are left; run the same", stderr)
                   for _, stderr in results)
    assert len(records.read_all(tmp_path)) == 2
    assert not (tmp_path / NAME / "in_training").exists()


def saved_by(process, folder, run_ids):
    """Lists the runs that a process trains and has saved."""
    return {run_id for run_id, owner in held_by_others(folder.in_training, run_ids).items() if owner.pid == process.pid
            and any(saved.name.isdigit() for saved in folder.checkpoints(run_id).glob("*"))}


@pytest.mark.slow
def test_four_parts_of_which_one_is_killed_and_given_again_leave_what_one_launch_does(tmp_path):
    asked = ("--ablation=quickstart", "--only=network=mlp", "--seeds=0,1", "--epochs=200", "--keep_weights=none")
    name = "quickstart,epochs=200"
    folder = records.Folder(tmp_path / "parts", name)
    run_ids = [f"network=mlp,regularizer={level},seed={seed}"
               for level in ("none", "batch_norm", "dropout", "l2") for seed in range(2)]

    def part(number):
        flags = (*asked, f"--shard={number}/4", "--save_every_s=0")
        return subprocess.Popen(command(tmp_path / "parts", *flags), cwd=ROOT, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    parts, killed = [part(number) for number in range(1, 5)], set()
    while not killed and parts[0].poll() is None:
        time.sleep(0.05)
        killed = saved_by(parts[0], folder, run_ids)
    parts[0].kill()
    planned = [parts[0].communicate()[0]]
    assert killed
    again = part(1)
    for process in (again, *parts[1:]):
        out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        planned += [out] if process is not again else []
    assert sum(int(re.search(r"(\d+) to train", out)[1]) for out in planned) == 8, "none twice"
    assert killed <= {run_id for run_id, record in folder.records().items() if record.timing.launches == 2}
    assert run(tmp_path / "whole", *asked).returncode == 0
    assert set(folder.recorded()) == set(run_ids)
    assert outcome(tmp_path / "parts", name) == outcome(tmp_path / "whole", name)


def test_a_dry_run_into_a_fresh_folder_knows_that_a_factor_varies_the_precision(tmp_path):
    study = tmp_path / "halves.py"
    study.write_text(
        "from ablations.spec import Ablation, Factor, RunConfig\n"
        "ABLATION = Ablation('Do 16 bits do?', RunConfig(dataset='digits', validation_size=200), {\n"
        "    'precision': Factor('precision', {'32': 'float32', '16': 'bfloat16'})}, seeds=(0,))\n")
    told = run(tmp_path / "results", f"--ablation={study}", "--dry_run")
    assert told.returncode == 0, told.stderr
    assert "halves: 2 runs, 0 recorded, 2 to train" in told.stdout
