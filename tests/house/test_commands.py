"""README's commands and the examples of --help, in a fresh clone on a machine that is not the shipped records'.

Each is run as it stands but for what `SHORTER` adds, so that it takes seconds.
"""

import json
import os
import re
import subprocess
import sys

import commands
import pytest
from place import ROOT

from harness.data import cache

CPU = "A CPU that no shipped record is of"
DATA = os.environ.get("HARNESS_DATA_DIR", "")
COMMAND = re.compile(r"python -m harness\.(\w+(?: --[^\s`]+)*)")
HELP = ("harness/run.py", "harness/report.py", "harness/bench.py", "harness/predict.py")

BRIEF = ("--epochs=1", "--set=train_size=512")
CELL = ("--only=dropout=0.1", *BRIEF)
QUICKSTART = "run --ablation=quickstart"
KEPT = "--run=my_results/quickstart,epochs=2"  # which that command leaves
TIMED = ("--workloads=W1", "--rounds=1", "--grid=1")
# Command -> what is added to it, and what its output has to match. The runs recorded depend on what was tested before.
SHORTER = {
    "run --list": ((), "fashion_regularization +25"),
    "run --help": ((), "python -m harness.run --ablation=quickstart(.|\n)*--save_every_s"),
    "run --ablation=fashion_regularization": (
        ("--only=regularizer=none", "--seeds=0", *BRIEF, "--set=model.filters=8,8"),
        r"1 runs, 0 recorded, 1 to train, in my_results/"),
    QUICKSTART: (
        ("--only=network=mlp,regularizer=none", "--epochs=2"), "3 runs, . recorded, . to train, in my_results/"),
    "run --ablation=my_study.py": (
        ("--only=network=mlp,regularizer=none", "--smoke"),
        "my_study,smoke=512: 1 runs, 0 recorded, 1 to train"),
    "run --ablation=quickstart,my_study.py": (
        ("--only=network=mlp,regularizer=none", "--smoke"),
        r"\nquickstart,smoke=512: (.|\n)*\nmy_study,smoke=512: 1 runs, . recorded"),
    "run --ablation=fashion_mlp --dry_run": (
        (), r"20 runs, 0 recorded, 20 to train, in my_results/\nresults/ has 20 runs of it, trained elsewhere"),
    "run --ablation=fashion_mlp --only=seed=0": (BRIEF, "4 runs, . recorded, . to train"),
    "run --ablation=fashion_mlp --seeds=0,1": (CELL, "2 runs, . recorded, . to train"),
    "run --ablation=fashion_mlp --seeds=0,1,2,3,4": (CELL, "5 runs, . recorded, . to train"),
    "run --ablation=fashion_mlp --smoke": (("--only=dropout=0.1",), "1 runs, . recorded, . to train"),
    "run --ablation=fashion_mlp --verbose": ((*CELL, "--seeds=8"), r"dropout=0\.1,seed=8: epoch 1/1, loss "),
    "run --ablation=fashion_mlp --tensorboard": (
        (*CELL, "--seeds=9"), r"event files: tensorboard --logdir=\S+/my_results/\S+/tensorboard"),
    "run --ablation=fashion_mlp --epochs=5": (
        ("--only=dropout=0.1,seed=0", "--set=train_size=512"),
        "Page: my_results/fashion_mlp,epochs=5,train_size=512/report.html"),
    "run --ablation=fashion_mlp --set=model.hidden=512,256": (
        (*CELL, "--seeds=0"), "Page: my_results/fashion_mlp,epochs=1,model.hidden=512_256,train_size=512/report.html"),
    "run --ablation=fashion_mlp --set=optimizer.learning_rate=0.01 --set=model.hidden=512,256": (
        (*CELL, "--seeds=0"), "1 runs, 0 recorded, 1 to train"),
    "run --ablation=cifar10_transfer --weights_dir=DIR": (
        ("--set=dataset=digits", "--set=validation_size=200", "--set=model.width=0.35",
         "--only=resolution=96,head=linear", "--seeds=0", "--epochs=1"), "1 runs, 0 recorded, 1 to train"),
    # Launched whole in test_until_decided.
    "run --ablation=ablations/examples/components.py --until_decided=0.5 --max_seeds=30": (
        ("--dry_run",), "components: 12 runs, 0 recorded, 12 to train"),
    "run --ablation=fashion_mlp --until_decided=0.5 --max_seeds=30": (
        ("--dry_run",), "fashion_mlp: 20 runs, 0 recorded, 20 to train"),
    "report": (
        ("--ablation=cifar10_transfer_width",), "Page: results/cifar10_transfer_width/report.html"),
    "report --ablation=fashion_regularization": ((), "Page: results/fashion_regularization/report.html"),
    "report --results_dir=results": (
        ("--ablation=kmnist_mlp",), "Page: results/kmnist_mlp/report.html"),
    "report --watch": ((), r"\d+ of \d+ runs recorded"),
    "report --export=mlflow --export_dir=DIR": (("--ablation=fashion_l2_strength",), "15 runs exported to"),
    "report --ablation=fashion_mlp --baseline=0.1": ((), r"Against dropout=0\.1: "),
    "report --ablation=fashion_mlp --baseline=dropout=0.1": ((), r"Against dropout=0\.1: "),
    "report --pdf": (("--ablation=fashion_l2_strength",), "Page: results/fashion_l2_strength/report.html"),
    "report --full": (("--ablation=kmnist_mlp",), "Spread over seeds"),
    "report --metric=test_loss": (("--ablation=kmnist_mlp",), "test loss"),
    "report --select=last": (("--ablation=kmnist_mlp", "--full"), "Scores are those of the state after the last epoch"),
    "report --metric=test_loss --select=last": (("--ablation=kmnist_mlp", "--full"), "Differences are in test loss"),
    "predict --run=my_results/quickstart/runs/RUN": (
        (KEPT, "results/kmnist_mlp/curves_accuracy.png"), r"results/kmnist_mlp/curves_accuracy.png  \d  0\.\d{4}\n"),
    "predict --run=my_results/quickstart": (
        (KEPT, "results/kmnist_mlp"), r"left out are files of other kinds: (.|\n)*results/kmnist_mlp/\w+.png +\d  0\."),
    "predict --run=my_results/quickstart --split=test": (
        (KEPT,), r"accuracy 0\.\d{4} \(\d+ of 359 pictures\); the record says 0\.\d{4}, of the best weights"),
    # With tiny networks, and without peers: see in_seconds.
    "bench": (TIMED, r"\| W1 \| float32 \| 1 \| ours"),
    "bench --workloads=W1,W4 --peers=torch": ((*TIMED, "--peers=keras,torch"), r"torch is absent"),
    "bench --grid=1,4,16,64": ((*TIMED, "--grid=2"), r"\| W1 \| float32 \| 2 \| ours"),
    "bench --precision=float32,bfloat16": (TIMED, r"\| W1 \| bfloat16 \| 1 \| ours"),
    "bench --scaling": (TIMED[:2], "scaling.png"),
    "bench --report_only": ((), r"\| W1 \| float32 (.|\n)*results/bench/amd_epyc_2_cores/bench.json"),
    "bench --report_only --results_dir=results": ((), "results/bench/amd_epyc_2_cores/table.md"),
}
# Of these another one is fast that differs in little.
SLOW = ("bench --scaling", "bench --precision=float32,bfloat16", "bench --grid=1,4,16,64",
        "run --ablation=fashion_mlp --seeds=0,1", "run --ablation=fashion_mlp --epochs=5")
NEEDS_DATA = [command for command in SHORTER if re.match("run --ablation=(fashion|cifar10)", command)]


def stated() -> list[str]:
    """Lists the commands of README and of the commands' help, in order, each once."""
    readme, *modules = [(ROOT / name).read_text() for name in ("README.md", *HELP)]
    texts = [readme, *(text.split('"""')[1] for text in modules)]
    return list(dict.fromkeys(found for text in texts for found in COMMAND.findall(text)))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A checkout with what would be committed here and nothing else, and the process that carries out its commands."""
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder.parent / "my_study.py").write_bytes((folder / "ablations" / "quickstart.py").read_bytes())
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")
    kept = folder.parent / "cache" / cache.folder("compiled").relative_to(os.environ["XDG_CACHE_HOME"])
    kept.parent.mkdir(parents=True)
    cache.folder("compiled").mkdir(parents=True, exist_ok=True)
    kept.symlink_to(cache.folder("compiled"))
    process = commands.Commands(folder, CPU)
    yield process
    process.close()


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def carry_out(clone, command):
    """Runs a command as a user of the clone would, whose caches are empty at first but for compiled programs."""
    outside = clone.folder.parent
    folder = f"{DATA}/weights" if "weights" in command else str(outside / "exported")
    command = command.replace("=DIR", f"={folder}").replace("my_study.py", f"{outside}/my_study.py")
    return clone.run(*f"harness.{command}".split(" "), TFDS_DATA_DIR=DATA, COLUMNS="120",
                     XDG_CACHE_HOME=str(outside / "cache"))


def test_every_command_is_run_here():
    assert sorted(stated()) == sorted(SHORTER)


@pytest.mark.parametrize("command", [
    pytest.param(command, marks=[*([pytest.mark.real_data, pytest.mark.skipif(
        not DATA, reason="HARNESS_DATA_DIR names no folder of data sets")] if command in NEEDS_DATA else []),
        *([pytest.mark.slow] if command in SLOW else [])])
    for command in dict.fromkeys([*stated(), *SHORTER])])
def test_a_command_does_what_is_said_of_it(clone, command):
    added, expected = SHORTER[command]
    if KEPT in added and not (clone.folder / KEPT.partition("=")[2]).exists():
        carry_out(clone, " ".join([QUICKSTART, *SHORTER[QUICKSTART][0]]))
    if re.match("run --ablation=(fashion|quickstart)", command):  # as it stands, as far as that takes seconds
        planned = carry_out(clone, f"{command} --dry_run")
        assert planned.returncode == 0, planned.stderr
    done = carry_out(clone, " ".join([command, *added]))
    assert done.returncode == (1 if "absent" in expected else 0), done.stderr
    assert not re.search("Traceback|Warning", done.stderr), done.stderr
    assert re.search(expected, done.stdout + done.stderr), done.stdout
    for path in clone.folder.glob("my_results/*/runs/*/record.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "done"
        assert record["environment"]["device"].startswith(CPU), "a shipped record among one's own"
    assert git(clone.folder, "status", "--porcelain") == "", "a tracked file has changed, or there is litter"


def test_make_carries_out_these_commands(clone):
    """What the targets of README do besides setting up; test, the last of them, is what runs this."""
    told = subprocess.run(["make", "--dry-run", "--old-file=.venv/ready", "demo", "fashion", "report"], text=True,
                          cwd=clone.folder, capture_output=True, check=True).stdout
    assert COMMAND.findall(told) == ["run --ablation=quickstart", "run --ablation=fashion_regularization", "report"]
    assert set(re.findall(r"^ +make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)) == {
        "demo", "fashion", "test"}


@pytest.mark.real_data
@pytest.mark.skipif(not DATA, reason="HARNESS_DATA_DIR names no folder of data sets")
def test_make_gpu_trains_and_times_into_one_folder(clone):
    """What it would carry out, told by a python that notes how it is called, is carried out here at small size."""
    noting, noted = clone.folder.parent / "noting", clone.folder.parent / "noted"
    noting.mkdir()
    (noting / "python").write_text(f'#!/bin/sh\necho "$@" >> {noted}\n')
    (noting / "python").chmod(0o755)
    subprocess.run(
        ["make", "--old-file=.venv/ready-cuda", "gpu", f"BIN={noting}", f"DATA_DIR={DATA}",
         "GPU_PRECISIONS=float32 bfloat16", "GPU_BENCH=W1:1:float32 W2:2:bfloat16", "GPU_MORE=--seeds=7"],
        cwd=clone.folder, capture_output=True, text=True, check=True)
    told = noted.read_text().replace("-m harness.", "").splitlines()
    assert [line.split()[:2] for line in told] == [
        ["run", "--ablation=fashion_mlp"], *[["run", "--ablation=fashion_regularization"]] * 2,
        ["bench", "--workloads=W1"], ["bench", "--workloads=W2"]]
    small = {"fashion_mlp": CELL, "fashion_regularization": (
        "--only=regularizer=none", *BRIEF, "--set=model.filters=8,8"), "W1": ("--rounds=1",), "W2": ("--rounds=1",)}
    for line in told:
        done = carry_out(clone, " ".join([line, *small[line.split()[1].partition("=")[2]]]))
        assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in clone.folder.glob("my_results/*/runs/*seed=7*/record.json")]
    assert sorted((one["ablation"].partition(",")[0], one["config"]["precision"]) for one in records) == [
        ("fashion_mlp", "float32"), ("fashion_regularization", "bfloat16"), ("fashion_regularization", "float32")]
    [table] = clone.folder.glob("my_results/bench/*/table.csv")
    assert re.search("^W1,float32,1,ours,(.|\n)*^W2,bfloat16,2,ours,", table.read_text(), re.MULTILINE)


@pytest.mark.real_data
@pytest.mark.skipif(not DATA, reason="HARNESS_DATA_DIR names no folder of data sets")
def test_a_field_added_to_the_code_orphans_no_shipped_record(clone):
    """In the clone's own source; then its folder of shipped records is launched into."""
    source = clone.folder / "ablations" / "augmentation.py"
    before = source.read_text()
    field = "    flip: bool = False\n"
    assert before.count(field) == 1
    try:
        source.write_text(before.replace(field, f"{field}    turn: bool = False\n"))
        done = subprocess.run(
            [sys.executable, "-m", "harness.run", "--ablation=fashion_mlp", "--results_dir=results", "--dry_run"],
            cwd=clone.folder, capture_output=True, text=True, check=False, env=os.environ | {"TFDS_DATA_DIR": DATA})
    finally:
        source.write_text(before)
    assert done.returncode == 0, done.stderr
    assert "20 runs, 20 recorded, 0 to train, in results/" in done.stdout
    assert git(clone.folder, "status", "--porcelain") == ""
