import dataclasses
import importlib.util
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

import psutil
import pytest

from ablations.spec import OptimizerConfig, RunConfig
from harness.benchmark import rounds, workloads
from harness.training import environment
from models import CNNConfig, MLPConfig, TransferConfig

TINY = workloads.Workload("tiny", RunConfig("made_up", MLPConfig(hidden=(16,), dropout=0.1, batch_norm=True),
                                            OptimizerConfig(learning_rate=0.01), 32, 15),
                          (8, 8, 1), examples=600, loss_goal=0.5, goals={}, num_classes=4, held_out=200)
TINY_CNN = dataclasses.replace(TINY, config=dataclasses.replace(
    TINY.config, model=CNNConfig(filters=(8,), padding="same", dense=(16,), dense_dropout=0.1)))
TINY_FORWARD = dataclasses.replace(
    workloads.WORKLOADS["MNV2-96"], config=RunConfig("made_up", TransferConfig(width=0.35, resolution=36)),
    image_shape=(36, 36, 3), examples=16)
FORWARD_SETTINGS = {"ours": {"batch": 16}, "keras": {"call": "tf.function", "batch": 8, "jit_compile": False},
                    "torch": {"threads": 1, "batch": 8, "channels_last": True}}
SETTINGS = {"ours": {}, "keras": {"feed": "uint8 arrays", "steps_per_execution": 4, "jit_compile": False},
            "torch": {"threads": 1, "data": "uint8", "channels_last": True, "graph": False}, "peak": {"size": 64}}


def load(*fractions):
    """A clock that counts measurements, and others' CPU time that grows by these fractions of each."""
    clock = itertools.count(0, 1)
    readings = iter([total for total in itertools.accumulate(fractions, initial=0.0) for _ in range(2)][1:])
    return {"clock": lambda: next(clock), "other": lambda: next(readings)}


def test_a_disturbed_measurement_is_repeated_and_counted():
    seconds = iter([9.0, 8.0, 1.0])
    timed = rounds.measured(lambda: next(seconds), **load(0.5, 0.2, 0.05))
    assert timed == rounds.Timed(seconds=1.0, other_cpu=0.05, repeats=2, disturbed=False)


def test_a_quiet_measurement_is_taken_as_it_is():
    timed = rounds.measured(lambda: 3.0, **load(rounds.LIMIT - 0.01))
    assert (timed.seconds, timed.repeats, timed.disturbed) == (3.0, 0, False)


def test_without_a_quiet_moment_the_quietest_counts_and_says_so():
    seconds = iter(range(1, 99))
    timed = rounds.measured(lambda: next(seconds), **load(0.9, 0.3, 0.8, 0.9, 0.9, 0.0))
    assert timed == rounds.Timed(seconds=2, other_cpu=0.3, repeats=rounds.TRIES - 1, disturbed=True)


def quiet(work):
    return lambda: rounds.Timed(work(), 0.0, 0, False)


def test_sides_take_turns():
    order = []
    sides = {name: quiet(lambda name=name: order.append(name) or 1.0) for name in ("ours", "keras", "torch")}
    timed, failed = rounds.alternate(sides, 3, lambda *_: None)
    assert order == ["ours", "keras", "torch"] * 3
    assert {name: len(found) for name, found in timed.items()} == {"ours": 3, "keras": 3, "torch": 3}
    assert failed == {}


def test_a_side_that_fails_leaves_and_the_others_go_on():
    tries = itertools.count(1)

    def fails_in_the_second_round():
        if next(tries) == 2:
            raise rounds.SideError("out of memory")
        return 1.0

    sides = {"ours": quiet(lambda: 1.0), "keras": quiet(fails_in_the_second_round)}
    timed, failed = rounds.alternate(sides, 3, lambda *_: None)
    assert failed == {"keras": "out of memory"}
    assert {name: len(found) for name, found in timed.items()} == {"ours": 3}
    assert next(tries) == 3, "a side that failed is asked no more"


BURN = "import time\nwhile time.process_time() < 0.8: pass"


def machine_cpu_s():
    return sum(getattr(psutil.cpu_times(), name, 0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


@pytest.mark.parametrize("ended", [True, False])
def test_a_side_at_work_is_no_other_load(ended):
    """Of all that the machine spent, the part left out is what a child had, whether it has ended or waits."""
    machine, others = machine_cpu_s(), rounds.other_cpu_s()
    with subprocess.Popen([sys.executable, "-c", f"{BURN}\nprint(flush=True)\ninput()"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        if ended:
            child.communicate("\n")
        left_out = (machine_cpu_s() - machine) - (rounds.other_cpu_s(child.pid) - others)
        child.kill()
    assert left_out == pytest.approx(0.85, abs=0.15)


def test_a_side_that_should_be_idle_is_other_load():
    with subprocess.Popen([sys.executable, "-c", f"input()\n{BURN}\nprint(flush=True)\ninput()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as idle:
        machine, others = machine_cpu_s(), rounds.other_cpu_s()
        print(file=idle.stdin, flush=True)
        idle.stdout.readline()
        left_out = (machine_cpu_s() - machine) - (rounds.other_cpu_s() - others)
        idle.kill()
    assert left_out < 0.4


def test_an_unrelated_process_is_other_load(tmp_path):
    """Its parent ends at once, so it belongs to nobody here, and nothing that it spends is left out."""
    machine, others = machine_cpu_s(), rounds.other_cpu_s()
    ended = tmp_path / "ended"
    subprocess.run(["sh", "-c", '"$0" -c "$1" &', sys.executable, f"{BURN}\nopen({str(ended)!r}, 'w').close()"],
                   check=True)
    deadline = time.monotonic() + 60
    while not ended.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (machine_cpu_s() - machine) - (rounds.other_cpu_s() - others) < 0.4


def installed(*packages):
    return all(importlib.util.find_spec(package) for package in packages)


PEERS = [pytest.param(name, marks=pytest.mark.skipif(
    not installed(*packages), reason=f"{' and '.join(packages)} not installed: pip install '.[bench]'"))
    for name, packages in {"keras": ("keras", "tensorflow"), "torch": ("torch",)}.items()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ours", *PEERS])
def test_a_side_times_and_learns_a_dense_net(name):
    times_and_learns(name, TINY)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_times_and_learns_a_convolutional_net(name):
    times_and_learns(name, TINY_CNN)


def times_and_learns(name, workload):
    with rounds.Side(name, workloads.job(workload, "float32", runs=3)) as side:
        prepared = side.ask("prepare", settings=SETTINGS[name])
        assert prepared["work"] == 3 * 600
        assert prepared["compile_s"] >= 0
        assert side.ask("time") > 0
        memory = side.ask("memory")
        assert 2**26 < memory["memory_bytes"] < 2**33
        learned = side.ask("learn")
        assert learned["loss"] < workload.loss_goal
        assert learned["accuracy"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ours", *PEERS])
def test_a_sides_frozen_backbone_gives_the_references_features(name):
    """At an even number of pixels halved to odd ones: both kinds of padding."""
    with rounds.Side(name, workloads.job(TINY_FORWARD, "float32", runs=1)) as side:
        assert side.ask("prepare", settings=FORWARD_SETTINGS[name])["work"] == 16
        assert side.ask("time") > 0
        assert side.ask("learn")["loss"] < TINY_FORWARD.loss_goal / 10


@pytest.mark.slow
def test_a_whole_command_is_timed_with_its_parts_from_cold_caches():
    command = dataclasses.replace(TINY, config=dataclasses.replace(TINY.config, epochs=3), task="command")
    with rounds.Side("ours", workloads.job(command, "float32", runs=2)) as side:
        assert side.ask("prepare", settings={})["work"] == 2 * 3 * 600
        seconds = side.ask("time")
        assert 2**26 < side.ask("memory")["memory_bytes"] < 2**33
        learned = side.ask("learn")
        assert learned["accuracy"] > 0.5
        assert set(learned["parts_s"]) == {"start", "loading and compiling", "training and recording", "report"}
        assert sum(learned["parts_s"].values()) == pytest.approx(seconds, rel=0.3)


def test_the_peak_counts_its_operations():
    with rounds.Side("peak", workloads.job(TINY, "float32", 1)) as side:
        prepared = side.ask("prepare", settings=SETTINGS["peak"])
        assert prepared["work"] == 2 * 64**3 * prepared["repeats"] * environment.cores()
        assert 1e8 < prepared["work"] / side.ask("time") < 1e14


def test_a_side_that_cannot_start_says_why_in_one_line(monkeypatch):
    monkeypatch.setitem(rounds.MODULES["train"], "lacking", "no_such_side")
    with pytest.raises(rounds.SideError, match=r"ModuleNotFoundError: No module named '[\w.]+\.no_such_side'"):
        rounds.Side("lacking", {"task": "train"})


def test_a_side_that_dies_says_so_and_leaves_nothing():
    with rounds.Side("peak", workloads.job(TINY, "float32", 1)) as side:
        folder = pathlib.Path(side._folder.name)
        assert folder.is_dir()
        side._process.kill()
        with pytest.raises(rounds.SideError, match="its process ended"):
            side.ask("time")
    assert not folder.exists()


class MadeUp:
    """Is `rounds.Side` without a process; keeps what it is asked."""

    def __init__(self, name, job):
        self.about, self.pid = {"versions": {}}, os.getpid()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, do, **arguments):
        self.asked.append((do, arguments))
        return {"calibrate": {"threads": 2}, "prepare": {"compile_s": 1.0, "work": 10}, "time": 2.0,
                "memory": {"memory_bytes": 1, "device_bytes": None}, "learn": {"loss": self.loss, "accuracy": 1.0}}[do]


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(MadeUp, "asked", [], raising=False)
    monkeypatch.setattr(MadeUp, "loss", 0.1, raising=False)
    monkeypatch.setattr(rounds, "Side", MadeUp)
    return MadeUp.asked


def test_a_loss_that_is_not_finite_can_be_stored(asked, monkeypatch):
    monkeypatch.setattr(MadeUp, "loss", float("nan"))
    found = rounds.compare({}, ["torch"], 1, {}, lambda line: None)
    assert found["torch"]["learned"]["loss"] is None
    json.dumps(found, allow_nan=False)


def test_settings_are_looked_for_once(asked):
    settings = {}
    for _ in range(2):
        found = rounds.compare({}, ["torch"], 2, settings, lambda line: None)
    assert settings == {"torch": {"threads": 2}}
    assert [do for do, _ in asked].count("calibrate") == 1
    assert asked[-1] == ("learn", {})
    assert {arguments["settings"]["threads"] for do, arguments in asked if do == "prepare"} == {2}
    assert [one["seconds"] for one in found["torch"]["timed"]] == [2.0, 2.0]
    assert found["torch"]["learned"]["loss"] == 0.1
