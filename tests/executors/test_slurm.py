import os
import signal
import subprocess
import sys
import time
import types

import pytest
from place import ROOT
from sweeps import BASE

from ablations.spec import Ablation
from harness import records
from harness.executors import on_slurm, worker

RUNS = Ablation("Why?", BASE, seeds=tuple(range(5))).runs()


@pytest.mark.parametrize(("text", "minutes"), [
    ("90", 90), ("01:30:00", 90), ("1-00:00:00", 1440), ("00:00:30", 1), ("5:30", 6), ("2-12:00", 3600)])
def test_times_are_read_as_sbatch_reads_them(text, minutes):
    assert on_slurm.minutes(text) == minutes


def test_a_time_that_is_none_is_one_line():
    with pytest.raises(on_slurm.SlurmError, match="--slurm_time=soon must be minutes, HH:MM:SS or D-HH:MM:SS"):
        on_slurm.minutes("soon")


def test_tasks_have_every_run_once_also_where_there_are_more_pieces_than_tasks(monkeypatch):
    work = {run.run_id: 1.0 + run.seed for run in RUNS}
    for most in (2, 1000):
        monkeypatch.setattr(on_slurm, "MOST_TASKS", most)
        tasks = on_slurm._in_tasks(RUNS, work)
        assert sorted(run.seed for task in tasks for piece in task for run in piece) == [0, 1, 2, 3, 4]
        assert len(tasks) == min(most, 5)


def test_nothing_is_submitted_where_another_launch_has_recorded_the_last_run(tmp_path):
    on_slurm.train(on_slurm.Batch(), records.Folder(tmp_path, "a"), [], {}, None, None, pytest.fail)


def test_options_go_to_submitit_by_its_names_and_others_to_sbatch():
    submitit = pytest.importorskip("submitit", reason="submitit is not installed: pip install --editable '.[slurm]'")
    batch = on_slurm.Batch("gpu", "02:00:00", {"account": "physics", "mem": "8GB", "licenses": "x"}, 1.5, 1)
    assert on_slurm._parameters(batch, "quickstart,epochs=2", submitit) == {
        "name": "quickstart_epochs_2", "timeout_min": 120, "cpus_per_task": 2, "gpus_per_node": 1,
        "slurm_partition": "gpu", "slurm_account": "physics", "slurm_mem": "8GB",
        "slurm_additional_parameters": {"licenses": "x"}}


@pytest.fixture
def signals():
    """Has signals do afterwards what they did before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_task_that_slurm_does_not_requeue_ends_and_no_run_is_recorded_for_it(monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install --editable '.[slurm]'")

    def refused(number, frame):
        raise subprocess.CalledProcessError(1, ["scontrol", "requeue", "7"])

    def work(job):
        try:
            signal.raise_signal(signal.SIGUSR2)
        except Exception as error:  # as the training loop takes whatever a network raises
            return worker.Outcome(error=error)

    signal.signal(signal.SIGUSR2, refused)
    monkeypatch.setattr(worker, "work", work)
    with pytest.raises(SystemExit, match=r"^this task is not requeued \(.*scontrol.*\): give the command again"):
        on_slurm.Task()(["a job"])


@pytest.mark.slow
def test_a_task_that_is_preempted_is_requeued_and_goes_on(tmp_path):
    """Submitit's local executor runs the array; one task gets the signal that comes before a node goes."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install --editable '.[slurm]'")
    command = [sys.executable, "-m", "harness.run", "--ablation=quickstart", "--seeds=0,1", "--epochs=1000",
               "--only=network=mlp,regularizer=none", "--save_every_s=0"]
    process = subprocess.Popen([*command, "--executor=slurm", "--slurm_set=cluster=local", f"--results_dir={tmp_path}"],
                               cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder, preempted = records.Folder(tmp_path, "quickstart,epochs=1000"), set()
    while not preempted and process.poll() is None:
        time.sleep(0.05)
        for name in folder.beside():
            progress = folder.progress(name)
            if any(run.state == "training" and run.epoch > 1 for run in progress.runs.values()):
                os.kill(progress.pid, signal.SIGUSR2)
                preempted = set(progress.runs)
                break
    out, err = process.communicate(timeout=900)
    assert preempted, out + err
    assert (process.returncode, err) == (0, "")
    assert "Slurm: 2 tasks as job" in out
    found = folder.records()
    assert {record.status for record in found.values()} == {"done"}
    assert len(found) == 2
    assert all(found[run_id].timing.launches == 2 for run_id in preempted)
    assert not folder.in_training.exists()


class Submitted:
    """A job as submitit has it: one that was killed has no result, and asking for it would wait."""

    def __init__(self, path, error=None):
        self.error, self.state = error, "CANCELLED"
        self.paths = types.SimpleNamespace(result_pickle=path, stderr="log")

    def done(self):
        return True

    def exception(self):
        assert self.paths.result_pickle.exists(), "it would wait for each by itself"
        return self.error

    def result(self):
        return [worker.Outcome(("trained",))]


def test_tasks_that_were_killed_are_waited_for_together_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(on_slurm, "_GRACE_S", 0.05)
    monkeypatch.setattr(on_slurm, "_LOOK_S", 0.01)
    (tmp_path / "there").touch()
    jobs = [Submitted(tmp_path / "there"), *(Submitted(tmp_path / "absent") for _ in range(3)),
            Submitted(tmp_path / "there", ValueError("one\nlast"))]
    followed, told = types.SimpleNamespace(look=lambda ended: None), []
    outcomes, failed = on_slurm._followed(jobs, [[] for _ in jobs], followed, told.append)
    assert (len(outcomes), told) == (1, ["trained"])
    assert sorted(why for _, why in failed) == ["last"] + ["no result, its state is CANCELLED"] * 3
