import commands
import pytest
from absl import flags
from absl.testing import flagsaver

from harness import cli
from harness.cli import cluster


def checked(own):
    cluster.check(dry_run=False, own=own)
    cluster.join()


@pytest.mark.parametrize(("given", "own", "said"), [
    (("--shard=5/4",), [], "--shard=5/4 must be I/N with I from 1 to N"),
    (("--cpus_per_cohort=2",), [], "--cpus_per_cohort belongs to --executor=ray or slurm: give that, or leave it out"),
    (("--gpus_per_cohort=1",), [], "--gpus_per_cohort belongs to --executor=ray or slurm"),
    (("--ray_address=auto",), [], "--ray_address belongs to --executor=ray"),
    (("--slurm_partition=gpu",), [], "--slurm_partition belongs to --executor=slurm"),
    (("--slurm_time=1",), [], "--slurm_time belongs to --executor=slurm"),
    (("--executor=ray", "--slurm_set=account=a"), [], "--slurm_set belongs to --executor=slurm"),
    (("--executor=slurm", "--slurm_time=soon"), [], "--slurm_time=soon must be minutes, HH:MM:SS or D-HH:MM:SS"),
    (("--executor=slurm", "--slurm_set=account"), [], "--slurm_set=account needs the form key=value"),
    (("--executor=ray", "--cpus_per_cohort=0"), [], "--cpus_per_cohort=0 and no GPU"),
    (("--num_processes=2",), [], "--coordinator, --num_processes and --process_id belong to --distributed"),
    (("--distributed", "--executor=ray"), [], "--distributed trains one run on many machines"),
    *((("--distributed", f"--coordinator={bad}"), [], f"--coordinator={bad} needs the form HOST:PORT")
      for bad in ("node1", "node1:", "node1:http", ":1234", "node1:0", "node1:123456")),
    (("--pretend_devices=256",), [], "--pretend_devices belongs to --dry_run"),
    (("--executor=ray",), ["layout"], "--layout is for a process that trains by itself"),
    (("--executor=slurm",), ["devices"], "--devices is for a process that trains by itself"),
    (("--distributed",), ["layout"], "--layout is for a process that trains by itself"),
])
def test_flags_that_make_no_sense_are_one_line(given, own, said):
    with flagsaver.flagsaver():
        flags.FLAGS(["run", *given])
        with pytest.raises((cli.UsageError, *cluster.ERRORS)) as error:
            checked(own)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_dry_run_tells_how_runs_would_lie_on_devices_that_are_not_there(tmp_path):
    told = commands.here().run("harness.run", "--ablation=quickstart", f"--results_dir={tmp_path}", "--dry_run",
                               "--only=network=mlp,regularizer=none", "--pretend_devices=256", COLUMNS="160")
    assert told.returncode == 0, told.stderr
    assert "On 256 devices of one process: 3 runs in 1 cohorts" in told.stdout
    assert "3 devices, one run on each" in told.stdout


@pytest.mark.parametrize("executor", ["local", "ray", "slurm"])
def test_a_clusters_driver_holds_no_record_against_its_own_device(monkeypatch, executor):
    """Its workers may have another one, and say themselves what does not belong together."""
    asked = []
    monkeypatch.setattr(cluster.executor, "check", lambda *of: asked.append(of))
    with flagsaver.flagsaver():
        flags.FLAGS(["run", f"--executor={executor}"])
        cluster.check_first(None, [], {})
    assert len(asked) == (executor == "local")
