"""Seeds until decided, as a user launches them: stages, a run that was lost, and what the report says."""

import shutil

import commands
import pytest

from harness import records
from harness.records.leases import Leases

STUDY = """from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig

ABLATION = Ablation(
    "What is each part worth?", RunConfig(dataset="digits", model=MLPConfig(hidden=(4,)), epochs=1, train_size=64,
                                          batch_size=32, validation_size=200),
    {"smoothing": Factor("label_smoothing", {"with": 0.1, "without": 0.05})}, design="leave_one_out", seeds=(3,))
"""
UNTIL = ("harness.run", "--ablation=study.py", "--until_decided=90", "--max_seeds=5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mine")
    (made / "study.py").write_text(STUDY)
    return made


@pytest.fixture(scope="module")
def there(folder):
    return records.Folder(folder / records.OWN_RESULTS, "study")


@pytest.fixture(scope="module")
def first(folder):
    """A study of two looks."""
    return commands.here().run(*UNTIL, where=folder)


def test_seeds_are_added_look_by_look_until_all_is_decided(first, there):
    plan = there.plan()
    assert first.returncode == 0, first.stderr
    assert [line.partition(": ")[2] for line in first.stdout.splitlines() if line.startswith("study: ")][:4] == [
        "up to 2 seeds, 4 at most; differences decided so far: 0", "4 runs, 0 recorded, 4 to train, in my_results/",
        "up to 4 seeds, 4 at most; differences decided so far: 0", "4 runs, 0 recorded, 4 to train, in my_results/"]
    assert {record.seed for record in there.records().values()} == {3, 0, 1, 2}
    assert plan.stopping == plan.fixed.stopping == records.Stopping(0.9, 2, (3, 0, 1, 2))
    assert plan.fixed.is_whole
    assert plan.fixed.at < min(record.finished_at for record in there.records().values())
    told = " ".join(first.stdout.split())
    assert told.count("decided to lie within 90 points of it: without smoothing (4 seeds)") == 1


def test_a_dry_run_tells_of_the_first_look_that_lacks_runs(folder, first, there):
    later = folder / "later" / "study"
    shutil.copytree(there.path, later)
    for run in (*later.glob("runs/*,seed=1"), *later.glob("runs/*,seed=2")):
        shutil.rmtree(run)
    told = commands.here().run(*UNTIL, "--results_dir=later", "--dry_run", where=folder)
    assert told.returncode == 0, told.stderr
    assert [line.partition(": ")[2] for line in told.stdout.splitlines() if line.startswith("study: ")][:4] == [
        "up to 2 seeds, 4 at most; differences decided so far: 0", "4 runs, 4 recorded, 0 to train, in later/",
        "up to 4 seeds, 4 at most; differences decided so far: 0", "4 runs, 0 recorded, 4 to train, in later/"]


def test_while_another_launch_trains_a_run_of_a_look_nothing_is_decided_and_75_asks_to_come_again(folder):
    there = records.Folder(folder / "shared", "study")
    with Leases(there.in_training) as other:
        other.take(["smoothing=without,seed=0"])
        stopped = commands.here().run(*UNTIL, "--results_dir=shared", where=folder)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.rstrip().endswith("run the same command again when others have ended")
    assert {record.seed for record in there.records().values()} == {3, 0}, "the second look's seeds have to wait"
    assert len(there.records()) == 3


@pytest.mark.slow
def test_a_lost_run_is_trained_again_in_its_stage_and_the_plan_stays_fixed(folder, first, there):
    plan = there.plan()
    shutil.rmtree(there.run("smoothing=without,seed=2"))
    again = commands.here().run(*UNTIL, where=folder)
    assert again.returncode == 0, again.stderr
    assert "4 runs, 4 recorded, 0 to train" in again.stdout
    assert "4 runs, 3 recorded, 1 to train" in again.stdout
    assert there.plan().fixed == plan.fixed
    assert len(there.records()) == 8
    assert "Decided after" not in (there.path / "table.md").read_text()
    placements = {record.placement.layouts for record in there.records().values()}
    assert len(placements) == 1, "all stages are laid out alike"
