"""A Ray cluster of two nodes on this machine, of which one dies."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest
from place import ROOT

from harness import records

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install --editable '.[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own, of files and sockets left open

EPOCHS = 1000  # so that dense nets train for seconds: progress is written once a second


@pytest.fixture(scope="module")
def cluster():
    """Two raylets on loopback, a CPU each."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def launch(results, only, epochs, *flags):
    command = [sys.executable, "-m", "harness.run", "--ablation=quickstart", "--seeds=0,1",
               f"--results_dir={results}", f"--only={only}", f"--epochs={epochs}", *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_same(one, other):
    """Metrics, curves and predictions, bit for bit."""
    first, second = (records.Folder(results, f"quickstart,epochs={EPOCHS}") for results in (one, other))
    assert first.recorded() == second.recorded()
    for run_id, record in first.records().items():
        same = second.record(run_id)
        assert (record.best, record.last, record.config, record.dataset) == (
            same.best, same.last, same.config, same.dataset)
        for name in ("curve.csv", "predictions.npz"):
            assert (first.run(run_id) / name).read_bytes() == (second.run(run_id) / name).read_bytes()
        assert {path.name for path in first.run(run_id).iterdir()} == {
            path.name for path in second.run(run_id).iterdir()}


def test_a_node_that_is_killed_loses_nothing_and_records_are_those_of_one_process(cluster, tmp_path):
    only = "/network=mlp,regularizer=(none|l2)/"
    driver = launch(tmp_path / "ray", only, EPOCHS, "--save_every_s=0", "--executor=ray",
                    f"--ray_address={cluster.address}")
    folder = records.Folder(tmp_path / "ray", f"quickstart,epochs={EPOCHS}")
    dying = cluster.second.all_processes["raylet"][0].process.pid
    killed = None
    while killed is None and driver.poll() is None:
        time.sleep(0.1)
        for name in folder.beside():
            progress = folder.progress(name)
            trains = [run_id for run_id, run in progress.runs.items() if run.state == "training" and run.epoch > 2]
            with_node = psutil.pid_exists(progress.pid) and psutil.Process(progress.pid).ppid() == dying
            if trains and with_node:
                killed = trains[0], progress.pid
                for pid in (progress.pid, dying):
                    os.kill(pid, signal.SIGKILL)
                break
    out, err = driver.communicate(timeout=600)
    assert killed, out + err
    assert driver.returncode == 0, out + err
    assert "Ray: 2 nodes, 2 cohorts at once" in out
    assert len(folder.recorded()) == 4
    assert folder.record(killed[0]).timing.launches >= 2, "resumed elsewhere"
    assert not folder.in_training.exists()
    assert not list(pathlib.Path(folder.path).glob("runs/*/checkpoints"))
    alone = launch(tmp_path / "local", only, EPOCHS, "--devices=1")
    out, err = alone.communicate(timeout=600)
    assert alone.returncode == 0, out + err
    assert_same(tmp_path / "ray", tmp_path / "local")


def test_a_driver_that_is_stopped_has_its_workers_save_and_the_next_one_goes_on(cluster, tmp_path):
    flags = ("network=cnn,regularizer=none", 100, "--executor=ray", f"--ray_address={cluster.address}",
             "--save_every_s=1e9")
    folder, driver = records.Folder(tmp_path, "quickstart,epochs=100"), launch(tmp_path, *flags)
    while driver.poll() is None and not any(
            run.state == "training" and run.epoch > 1 for name in folder.beside()
            for run in folder.progress(name).runs.values()):
        time.sleep(0.05)
    driver.terminate()
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 75, out + err
    saved = {path.parents[1].name for path in folder.path.glob("runs/*/checkpoints/*")}
    assert saved
    assert not folder.in_training.exists()
    again = launch(tmp_path, *flags)
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, out + err
    assert all(folder.record(run_id).timing.launches == 2 for run_id in saved)
