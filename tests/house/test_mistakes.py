"""What a user gets wrong: one clear line, and nothing is written."""

import json
import pathlib

import commands
import pytest

from ablations import ABLATIONS
from harness import cli


def run(results, *flags, **environment):
    return commands.here().run("harness.run", f"--results_dir={results}", *flags, **environment)


@pytest.mark.parametrize(("flags", "line"), [
    (["--ablation=quickstart", "--set=model.hiden=3"], "did you mean hidden"),
    (["--ablation=quickstart", "--set=epochs"], "path=value"),
    (["--ablation=quickstart", "--set=optimizer.kind=rmspro"], "kind must be one of adam, adamw, "),
    (["--ablation=quickstart", "--set=dataset=fasion_mnist"], "fashion_mnist"),
    (["--ablation=quickstart", "--set=model.filters=[3,3]"], "no field \"filters\""),
    (["--ablation=quickstart", "--set=validation_size=99999"], "must be from 10 (one per class) to 1428"),
    (["--ablation=quickstart", "--set=optimizer=sgd"], "or set field by field, such as optimizer.kind; not 'sgd'"),
    (["--ablation=quickstart", "--set=augment.shift_px=8"], "shift_px must be below 8"),
    (["--ablation=quickstart", "--set=train_size=1239"], "digits has 1238 training examples"),
    (["--ablation=quickstart", *(f"--set=model.l2_bias={'1' * 250}" for _ in range(1))], "too many for a folder"),
    (["--ablation=quickstart", "--epochs=zero"], "invalid literal for int()"),
    (["--ablation=quickstart", "--precision=float64"], "float32"),
    (["--ablation=quickstart", "--seeds=0,x"], "--seeds=0,x must be whole numbers"),
    (["--ablation=quickstart", "--seeds=\u0663"], "must be whole numbers"),
    (["--ablation=quickstart", "--epochs=\u0663"], "must be a finite number in the digits 0 to 9"),
    (["--ablation=quickstart", "--epochs", "\u0663"], "must be a finite number in the digits 0 to 9"),
    (["--ablation=quickstart", "--save_every_s=nan"], "--save_every_s=nan must be a finite number"),
    (["--ablation=quickstart", "--set=train_size=\u0663"], "train_size must be a whole number"),
    (["--ablation=quickstart", "--set=label_smoothing=nan"], "holds a value such as 0.0, not 'nan'"),
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
    (["--ablation=quickstart", "--dry_run", "--max_seeds=30"], "--max_seeds belongs to --until_decided=POINTS: give b"),
    (["--ablation=quickstart", "--dry_run", "--gpus_per_cohort=1"], "--gpus_per_cohort belongs to --executor=ray or s"),
    (["--ablation=quickstart", "--dry_run", "--precision=float32", "--set=precision=bfloat16"], "say different things"),
    (["--ablation=quickstart", "--until_decided=0.5", "--only=mlp"],
     "looks at all cells, in one process: leave out --only"),
    (["--ablaton=quickstart"], "Did you mean: ablation"),
    (["quickstart"], 'unexpected argument "quickstart"'),
])
def test_a_mistake_is_one_line_and_fails(tmp_path, flags, line):
    failed = run(tmp_path / "results", *flags)
    assert failed.returncode in (1, 2)
    assert line in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("flags", "line"), [
    (["--watch", "--export=mlflow"], "--watch and --export do different things: leave out one of them"),
    (["--export_dir=there"], "--export_dir belongs to --export=mlflow or wandb: give both, or leave it out"),
])
def test_flags_of_a_report_that_would_do_nothing_are_refused(flags, line):
    failed = commands.here().run("harness.report", "--results_dir=results", *flags)
    assert (failed.returncode, failed.stderr) == (1, f"error: {line}\n")


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
    failed = run(tmp_path / "file" / "results", "--ablation=quickstart", *flags)
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert f"results cannot be written to {tmp_path / 'file' / 'results' / 'quickstart'} (" in line
    assert line.endswith("give a folder that may be written with --results_dir=DIR")


def test_more_devices_than_a_cpu_can_play_are_refused(tmp_path):
    failed = run(tmp_path, "--ablation=quickstart", "--devices=99999", "--dry_run")
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert line.startswith("error: --devices=99999 is more than there are to use: at most")


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


def test_a_file_that_is_no_weights_is_one_line_and_fails(tmp_path):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    (tmp_path / name).write_text("<html>not found</html>")
    failed = run(tmp_path / "results", "--ablation=cifar10_transfer_width", "--only=width=0.35,head=linear",
                 "--set=dataset=digits", "--set=validation_size=200", f"--weights_dir={tmp_path}")
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert f"{name} is not an HDF5 file" in failed.stderr
    assert not list(tmp_path.glob("results/*/runs"))


QUICK = ("--ablation=quickstart", "--only=network=mlp,regularizer=none", "--epochs=1")


def test_what_is_refused_leaves_the_plan_as_it_was(tmp_path):
    assert run(tmp_path, *QUICK, "--seeds=0").returncode == 0
    [record] = tmp_path.glob("*/runs/*/record.json")
    stored = json.loads(record.read_text())
    stored["dataset"]["fingerprint"] = "0" * 64
    record.write_text(json.dumps(stored))
    [plan] = tmp_path.glob("*/plan.json")
    before = plan.read_bytes()
    refused = run(tmp_path, *QUICK, "--seeds=2,3")
    assert refused.returncode == 1
    assert "dataset.fingerprint" in refused.stderr
    assert plan.read_bytes() == before


def test_a_text_that_picks_nothing_beside_one_that_does_is_named(tmp_path):
    told = run(tmp_path, *QUICK, "--only=sed=2", "--dry_run")
    assert told.returncode == 0
    assert "warning: --only=sed=2 picks no run of" in told.stdout
