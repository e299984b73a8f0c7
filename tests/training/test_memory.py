import time

import numpy as np

from harness.training import memory


def test_a_peak_between_two_looks_at_the_process_is_seen():
    with memory.Peak(memory.resident(), is_first=True) as peak:
        held = np.ones(40 * 2**20, np.uint8)
        time.sleep(0.2)
        held = held[:1].copy()
        time.sleep(0.1)
        assert 36 * 2**20 < peak.bytes < 200 * 2**20


def test_what_the_process_held_before_is_not_counted():
    held = np.ones(40 * 2**20, np.uint8)
    with memory.Peak(memory.resident(), is_first=True) as peak:
        time.sleep(0.05)
        assert peak.bytes < 20 * 2**20
    assert held.size
