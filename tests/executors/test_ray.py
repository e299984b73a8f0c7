"""A Ray cluster of two nodes on this machine, of which one dies."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import commands
import psutil
import pytest
from place import ROOT

from harness import records

# Read by Ray when it is imported. A node that is gone is known to be after two seconds, a busy machine is waited for.
os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "500",
               "RAY_health_check_initial_delay_ms": "0", "RAY_raylet_start_wait_time_s": "120"}
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install --editable '.[ray]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of files and sockets left open

EPOCHS = 300  # so that a dense net trains for seconds after it was saved first
LIMIT_S = 150


@contextlib.contextmanager
def bounded():
    """Fails what has not ended in time: a cluster that lacks memory or a port may wait for ever."""
    def late(*_):
        pytest.fail(f"not done within {LIMIT_S} s, where half a minute is usual: the cluster waits for something")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def cluster():
    """Two raylets on loopback, a CPU each."""
    from ray.cluster_utils import Cluster

    with bounded():
        made = Cluster(initialize_head=True, head_node_args={
            "num_cpus": 1, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True})
        made.second = made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def flags(results, only, epochs, *more):
    return ("--ablation=quickstart", "--seeds=0,1", f"--results_dir={results}", f"--only={only}", f"--epochs={epochs}",
            *more)


def launch(*asked):
    return subprocess.Popen([sys.executable, "-m", "harness.run", *flags(*asked)], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


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


def killed_while_it_trains(node, folder, driver):
    """Kills a node and its worker by SIGKILL once that has saved a run; gives the run."""
    raylet = node.all_processes["raylet"][0].process.pid
    while driver.is_alive():
        time.sleep(0.05)
        for progress in map(folder.progress, folder.beside()):
            saved = [run_id for run_id in progress.runs if any(
                path.name.isdigit() for path in folder.checkpoints(run_id).glob("*"))]
            if saved and psutil.pid_exists(progress.pid) and psutil.Process(progress.pid).ppid() == raylet:
                for pid in (progress.pid, raylet):
                    os.kill(pid, signal.SIGKILL)
                return saved[0]
    return None


def test_a_node_that_is_killed_loses_nothing_and_records_are_those_of_one_process(cluster, tmp_path):
    asked, ended = ("network=mlp,regularizer=none", EPOCHS, "--keep_weights=none"), []
    alone = flags(tmp_path / "local", *asked, "--devices=1")  # first, since workers then find its programs compiled
    spread = flags(tmp_path / "ray", *asked, "--save_every_s=0", "--executor=ray", f"--ray_address={cluster.address}")
    folder = records.Folder(tmp_path / "ray", f"quickstart,epochs={EPOCHS}")
    driver = threading.Thread(target=lambda: ended.append(commands.here().run("harness.run", *spread)), daemon=True)
    here = commands.here().run("harness.run", *alone)
    assert here.returncode == 0, here.stdout + here.stderr
    driver.start()
    try:
        with bounded():
            killed = killed_while_it_trains(cluster.second, folder, driver)
            driver.join()
    finally:
        if driver.is_alive():
            commands.here().break_off()
    [done] = ended
    assert killed, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray: 2 nodes, 2 cohorts at once" in done.stdout
    assert len(folder.recorded()) == 2
    assert folder.record(killed).timing.launches >= 2, "resumed elsewhere"
    assert not folder.in_training.exists()
    assert not list(pathlib.Path(folder.path).glob("runs/*/checkpoints"))
    assert_same(tmp_path / "ray", tmp_path / "local")


@pytest.mark.slow
def test_a_driver_that_is_stopped_has_its_workers_save_and_the_next_one_goes_on(cluster, tmp_path):
    asked = (tmp_path, "network=cnn,regularizer=none", 100, "--executor=ray", f"--ray_address={cluster.address}",
             "--save_every_s=1e9")
    folder, driver = records.Folder(tmp_path, "quickstart,epochs=100"), launch(*asked)
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
    again = launch(*asked)
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, out + err
    assert all(folder.record(run_id).timing.launches == 2 for run_id in saved)


@pytest.mark.slow
def test_what_a_driver_does_for_a_cohort_is_measured_by_the_script_that_is_shipped():
    script = "import cluster_simulation; print(cluster_simulation.schedule(20)['cohorts'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "tests")})
    assert done.stdout.splitlines()[-1] == "20", done.stderr
