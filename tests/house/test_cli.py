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
from harness import cli, records
from harness.records.configs import config_hash
from harness.records.leases import Leases

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


@pytest.mark.parametrize(("flags", "line"), [
    (["--ablation=quickstart", "--set=model.hiden=3"], "did you mean hidden"),
    (["--ablation=quickstart", "--set=epochs"], "path=value"),
    (["--ablation=quickstart", "--set=optimizer.kind=rmspro"], "kind must be one of adam, adamw, "),
    (["--ablation=quickstart", "--set=dataset=fasion_mnist"], "fashion_mnist"),
    (["--ablation=quickstart", "--set=model.filters=[3,3]"], "no field \"filters\""),
    (["--ablation=quickstart", "--set=validation_size=99999"], "validation_size"),
    (["--ablation=quickstart", "--set=optimizer=sgd"], "optimizer is set field by field, such as optimizer.kind"),
    (["--ablation=quickstart", "--set=augment.shift_px=8"], "shift_px must be below 8"),
    (["--ablation=quickstart", "--set=train_size=1239"], "digits has 1238 training examples"),
    (["--ablation=quickstart", *(f"--set=model.l2_bias={'1' * 250}" for _ in range(1))], "too many for a folder"),
    (["--ablation=quickstart", "--epochs=zero"], "epochs"),
    (["--ablation=quickstart", "--precision=float64"], "float32"),
    (["--ablation=quickstart", "--seeds=0,x"], "--seeds=0,x must be whole numbers"),
    (["--ablation=quickstart", "--seeds=\u0663"], "must be whole numbers"),
    (["--ablation=quickstart", "--epochs=\u0663"], "must be a finite number in the digits 0 to 9"),
    (["--ablation=quickstart", "--epochs", "\u0663"], "must be a finite number in the digits 0 to 9"),
    (["--ablation=quickstart", "--save_every_s=nan"], "--save_every_s=nan must be a finite number"),
    (["--ablation=quickstart", "--set=train_size=\u0663"], "train_size must be a whole number"),
    (["--ablation=quickstart", "--set=label_smoothing=nan"], "label_smoothing"),
    (["--ablation=quickstart", "--set=optimizer.learning_rate=1e999"], "learning_rate must be a finite number"),
    (["--ablation=quickstart", "--set=model.hidden=512", "--only=network=mlp"], "--set=model.hidden=512,"),
    (["--ablation=quickstart", "--epochs=2147483648"], "epochs must be a whole number from 1 to 1,000,000"),
    (["--ablation=quickstart", "--set=batch_size=999999999999"], "batch_size must be a whole number from 1 to"),
    (["--ablation=quickstart", "--set=batch_size=1239", "--dry_run"], "there are 1238 training examples of digits"),
    (["--ablation=quickstart", "--data_dir=/there/is/none"], "--data_dir=/there/is/none: there is no such folder"),
    (["--ablation=cifar10_transfer", "--set=dataset=digits", "--set=validation_size=200", "--dry_run",
      "--weights_dir=/there/is/none"], "--weights_dir=/there/is/none: there is no such folder"),
    (["--ablation=quickstart", "--only=nothing", "--only=/^no$/"], 'has "nothing, /^no$/" in its name'),
    (["--ablation=quickstart", "--until_decided=0.5", "--max_seeds=5"], "--max_seeds=5 leaves no second look"),
    (["--ablation=quickstart", "--until_decided=0.5", "--only=mlp"],
     "looks at all cells, in one process: leave out --only"),
    (["--ablaton=quickstart"], "ablaton"),
    (["quickstart"], 'unexpected argument "quickstart"'),
])
def test_a_mistake_is_one_line_and_fails(tmp_path, flags, line):
    failed = run(tmp_path / "results", *flags)
    assert failed.returncode in (1, 2)
    assert line in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("flags", "first", "second"), [
    ([], "error: --ablation=FILE.py or --ablation=NAME is needed (see --list), such as", "  quickstart, "),
    (["--ablation=quikstart"], 'error: no ablation "quikstart"; did you mean quickstart?', "  quickstart, "),
    (["--ablation=mlp"], 'error: no ablation "mlp"; did you mean fashion_mlp or mnist_mlp?',
     "  fashion_mlp, "),
])
def test_unknown_ablations_are_told_with_all_names_near_misses_first(tmp_path, flags, first, second):
    failed = run(tmp_path, *flags)
    lines = failed.stderr.splitlines()
    assert failed.returncode == 1
    assert lines[0] == first
    assert lines[1].startswith(second)
    assert max(map(len, lines)) <= 80
    assert sorted(" ".join(lines[1:]).replace(",", "").split()) == sorted(ABLATIONS)


@pytest.mark.parametrize("flags", [[], ["--dry_run"]])
def test_a_results_folder_that_cannot_be_is_one_line_and_fails(tmp_path, flags):
    (tmp_path / "file").write_text("")
    failed = run(tmp_path / "file" / "results", *QUICK, *flags)
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert f"results cannot be written to {tmp_path / 'file' / 'results' / NAME} (" in line
    assert line.endswith("give a folder that may be written with --results_dir=DIR")


def test_more_devices_than_a_cpu_can_play_are_refused(tmp_path):
    failed = run(tmp_path, *QUICK, "--devices=99999", "--dry_run")
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert line.startswith("error: --devices=99999 is more than there are to use: at most")


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


def test_an_error_of_the_operating_system_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit):
        cli.run(pathlib.Path("/there/is/none").unlink)
    assert capsys.readouterr().err == "error: /there/is/none: no such file or directory; give one that is there\n"


def test_a_corrupted_archive_is_one_line_and_fails(tmp_path):
    folder = tmp_path / "data" / "downloads" / "manual" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(b"not what it was")
    failed = run(tmp_path / "results", "--ablation=mnist_mlp", f"--data_dir={tmp_path / 'data'}",
                 XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert failed.returncode == 1
    assert "images-idx3-ubyte.gz" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr


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
        assert placed["layouts"] == ["3 devices, one run on each, by pmap"]
        assert placed["cache_hits"] + placed["cache_misses"] == placed["compiled_programs"] == 3
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
    assert folder.name == "quickstart,epochs=1,model.activation=tanh,train_size=512"
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


def test_a_file_that_is_no_weights_is_one_line_and_fails(tmp_path):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    (tmp_path / name).write_text("<html>not found</html>")
    failed = run(tmp_path / "results", *TRANSFER, f"--weights_dir={tmp_path}")
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert f"{name} is not an HDF5 file" in failed.stderr
    assert not list(tmp_path.glob("results/*/runs"))


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


@pytest.mark.slow
def test_parts_of_which_one_is_killed_and_given_again_leave_what_one_launch_does(straight, tmp_path):
    def part(number):
        return subprocess.Popen(command(tmp_path, *QUICK, f"--shard={number}/2", "--save_every_s=0"), cwd=ROOT,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    first, second = part(1), part(2)
    while not list((tmp_path / NAME).glob("runs/*/checkpoints/*")) and first.poll() is None:
        time.sleep(0.05)
    first.kill()
    first.communicate()
    again = part(1)
    for process in (second, again):
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert outcome(tmp_path) == outcome(straight)


def test_a_dry_run_into_a_fresh_folder_knows_that_a_factor_varies_the_precision(tmp_path):
    study = tmp_path / "halves.py"
    study.write_text(
        "from ablations.spec import Ablation, Factor, RunConfig\n"
        "ABLATION = Ablation('Do 16 bits do?', RunConfig(dataset='digits', validation_size=200), {\n"
        "    'precision': Factor('precision', {'32': 'float32', '16': 'bfloat16'})}, seeds=(0,))\n")
    told = run(tmp_path / "results", f"--ablation={study}", "--dry_run")
    assert told.returncode == 0, told.stderr
    assert "halves: 2 runs, 0 recorded, 2 to train" in told.stdout
