import gc
import time

import numpy as np

from harness.training import memory

HELD = 200 * 2**20  # far above what the tests before this one may give back meanwhile


def test_a_peak_between_two_looks_at_the_process_is_seen():
    gc.collect()
    with memory.Peak(memory.resident(), is_first=True) as peak:
        held = np.ones(HELD, np.uint8)
        time.sleep(0.5)
        held = held[:1].copy()
        time.sleep(0.1)
        assert 0.7 * HELD < peak.bytes < 2 * HELD
    assert held.size == 1


def test_what_the_process_held_before_is_not_counted():
    held = np.ones(HELD, np.uint8)
    with memory.Peak(memory.resident(), is_first=True) as peak:
        time.sleep(0.05)
        assert (peak.bytes or 0) < 0.5 * HELD
    assert held.size == HELD


def test_a_process_that_gave_back_more_than_it_took_tells_no_peak():
    with memory.Peak(memory.resident() + HELD, is_first=True) as peak:
        assert peak.bytes is None
