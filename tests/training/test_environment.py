"""What a record says of the code and of jax's settings holds, whatever surrounds the process."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import commands
import jax
import pytest
from place import ROOT
from small import small_dataset

from ablations.spec import Run, RunConfig
from harness.training import environment, trainer
from models import MLPConfig

# Each changes the numbers of a jax program, or stops it.
HOSTILE = {
    "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "0", "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_LEGACY_PRNG_KEY": "error", "JAX_ENABLE_X64": "1", "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16", "JAX_DEBUG_NANS": "1",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_ENABLE_CHECKS": "1", "JAX_TRANSFER_GUARD": "disallow"}


# Is python -m harness.run, but for the pictures.
PROGRAM = """
import runpy, sys
import in_seconds
in_seconds.draw_nothing()
sys.argv[0] = "harness.run"
runpy.run_module("harness.run", run_name="__main__", alter_sys=True)
"""


def test_every_setting_is_tried_but_those_that_change_nothing_here():
    """A misspelt variable would do nothing in silence."""
    untried = {"jax_debug_key_reuse", "jax_softmax_custom_jvp", "jax_allow_f16_reductions", "jax_disable_jit",
               "jax_debug_infs", "jax_check_tracer_leaks"}
    assert {name.lower() for name in HOSTILE} == environment.NUMERICS.keys() - untried


def test_settings_of_jax_in_the_environment_change_nothing(tmp_path):
    flags = ["--ablation=quickstart", "--only=network=mlp,regularizer=dropout", "--seeds=0",
             "--epochs=1", "--set=augment.shift_px=1", "--set=augment.mixup=0.3"]
    plain = commands.here().run("harness.run", *flags, f"--results_dir={tmp_path / 'plain'}")
    hostile = subprocess.run([sys.executable, "-c", PROGRAM, *flags, f"--results_dir={tmp_path / 'hostile'}"], cwd=ROOT,
                             env=os.environ | HOSTILE | {"PYTHONPATH": str(ROOT / "tests" / "fixtures")},
                             capture_output=True, text=True, check=False)
    assert (plain.returncode, hostile.returncode) == (0, 0), hostile.stderr
    one, other = (json.loads(next((tmp_path / kind).glob("*/runs/*/record.json")).read_text())
                  for kind in ("plain", "hostile"))
    for part in ("best", "last", "environment"):
        assert one[part] == other[part]


def test_settings_are_the_user_s_own_again_afterwards():
    with jax.numpy_dtype_promotion("standard"):
        jax.config.update("jax_default_prng_impl", "rbg")
        try:
            with environment.numerics():
                assert jax.config.values["jax_default_prng_impl"] == "threefry2x32"
            assert jax.config.values["jax_default_prng_impl"] == "rbg"
            with pytest.raises(RuntimeError, match="from inside"), environment.numerics():
                raise RuntimeError("from inside")
            assert jax.config.values["jax_default_prng_impl"] == "rbg"
        finally:
            jax.config.update("jax_default_prng_impl", "threefry2x32")


def test_a_checkpoint_is_of_its_code_versions_and_settings():
    run = Run({}, 0, RunConfig(dataset="small", model=MLPConfig()))
    origin = trainer.Trainer(small_dataset())._origin(run)
    machine = environment.describe()
    assert origin.items() >= {"training_code": machine.training_code, "packages": machine.packages,
                              "numerics": machine.numerics}.items()


def test_the_training_code_is_all_that_training_imports_and_nothing_else():
    """But for what says where, when and how long something is computed, not what."""
    no_part = {"checkpoint", "environment", "layout", "probe", "processes", "stopping", "turns", "watcher"}
    told = subprocess.run(
        [sys.executable, "-c", "import sys, harness.training.trainer; print(*sys.modules)"], cwd=ROOT,
        capture_output=True, text=True, check=True).stdout.split()
    needed = {name.removeprefix("harness.").replace(".", "/") for name in told if name.startswith("harness.training.")}
    needed -= {f"training/{name}" for name in no_part}
    packages = {name.rpartition("/")[0] for name in needed} - {"training"}
    alone = {name for name in needed if name.rpartition("/")[0] not in packages}
    assert alone | packages | {"data/features"} == set(environment.TRAINING)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    for part in ("harness", "models", "ablations"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", folder)
    monkeypatch.setattr(environment, "_ROOT", folder)
    return folder


@pytest.mark.parametrize(("path", "matters"), [
    ("models/layers.py", True), ("ablations/spec.py", True), ("harness/training/optimizer.py", True),
    ("README.md", False),
    ("harness/report.py", False), ("ablations/mnist.py", False)])
def test_only_a_change_of_what_trains_changes_the_hash(copy, path, matters):
    hashed = environment._training_code.__wrapped__
    before = hashed()
    with (copy / path).open("a") as file:
        file.write("\n")
    assert (hashed() != before) is matters


def test_own_code_that_trains_is_part_of_the_hash():
    usual, own = environment.training_code(), {"net.py": "a" * 64}
    assert environment.training_code({}) == usual
    assert len({usual, environment.training_code(own), environment.training_code(own | {"net.py": "b" * 64})}) == 3


def git(folder, *arguments):
    subprocess.run(["git", "-c", "user.email=a@b", "-c", "user.name=n", *arguments], cwd=folder, check=True,
                   capture_output=True)


def repository(folder):
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "all of it")
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True,
                          text=True).stdout.strip()


def commit_of(folder):
    return environment.commit_of.__wrapped__(folder)


def test_the_commit_is_that_of_the_code_s_own_repository(copy, monkeypatch):
    assert commit_of(copy) == (None, False)
    commit = repository(copy)
    assert commit_of(copy) == (commit, False)
    (copy / "README.md").write_text("of other things")
    assert commit_of(copy) == (commit, False)
    (copy / "models" / "new.py").write_text("")
    assert commit_of(copy) == (commit, True)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_repository_around_the_code_says_nothing(copy, tracked):
    """As where the harness was copied into a project of one's own, or installed in an environment inside it."""
    outside = copy.parent
    (outside / ".gitignore").write_text("" if tracked else "copy/\n")
    repository(outside)
    assert commit_of(copy) == (None, False)


def test_variables_that_point_git_elsewhere_are_not_followed(copy, tmp_path, monkeypatch):
    commit = repository(copy)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("of another project")
    repository(elsewhere)
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(copy))
    assert commit_of(copy) == (commit, False)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_platform_that_is_not_there_is_told_in_one_line(platform):
    """In a process of its own: jax looks for devices once."""
    if any(pathlib.Path(device).exists() for device in ("/dev/nvidia0", "/dev/accel0")):
        pytest.skip("there is an accelerator")
    code = ("from harness.training import environment\n"
            "try:\n    environment.configure()\nexcept environment.DeviceError as error:\n    print(error)")
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True,
                          env=os.environ | {"JAX_PLATFORMS": platform}).stdout
    assert told.startswith(f"JAX_PLATFORMS={platform}: jax can use no such device here")
    assert told.endswith("unset JAX_PLATFORMS to train on what there is, or install jax for it: "
                         "pip install -c constraints.txt -e '.[cuda]' or '.[tpu]'\n")
    assert len(told.splitlines()) == 1
