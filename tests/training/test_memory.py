import gc
import time

import jax
import numpy as np

from harness.training import environment, memory, processes

HELD = 200 * 2**20  # far above what the tests before this one may give back meanwhile


def test_a_peak_between_two_looks_at_the_process_is_seen():
    gc.collect()
    with memory.Peak(memory.resident()) as peak:
        held = np.ones(HELD, np.uint8)
        time.sleep(0.5)
        held = held[:1].copy()
        time.sleep(0.1)
        assert 0.7 * HELD < peak.bytes < 2 * HELD
    assert held.size == 1


def test_what_the_process_held_before_is_not_counted():
    held = np.ones(HELD, np.uint8)
    with memory.Peak(memory.resident()) as peak:
        time.sleep(0.05)
        assert (peak.bytes or 0) < 0.5 * HELD
    assert held.size == HELD


def test_a_process_that_gave_back_more_than_it_took_tells_no_peak():
    with memory.Peak(memory.resident() + HELD) as peak:
        assert peak.bytes is None


def test_of_a_device_that_keeps_the_most_of_all_before_what_is_less_tells_nothing(monkeypatch):
    most = iter([700, 700, 900])
    monkeypatch.setattr(memory.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(memory, "_of_device", lambda: next(most))
    with memory.Peak(0) as peak:
        assert [peak.bytes, peak.bytes] == [None, 900]


def test_processes_of_one_launch_decide_by_the_least_that_one_of_them_sees_free(monkeypatch):
    """Each has four devices here, which share its own memory and nobody else's."""
    monkeypatch.setattr(environment.memory, "available_bytes", lambda: 8 * 2**30)
    assert environment.device_memory_bytes(2) == 4 * 2**30
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(processes, "_gathered", lambda free: np.asarray([free, 2**30], np.float32))
    assert environment.device_memory_bytes(8) == 2**30
    monkeypatch.setattr(processes, "_gathered", lambda free: np.asarray([free, free], np.float32))
    assert environment.device_memory_bytes(8) == 8 * 2**30 // jax.local_device_count()
