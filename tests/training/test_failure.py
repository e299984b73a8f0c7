import errno
import gc
import pickle
import weakref

import jax
import pytest

from harness.training.failure import Failure, is_a_runs_own


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(("error", "status", "message"), [
    (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no room\nfor it"), "oom", "RESOURCE_EXHAUSTED: no room"),
    (jax.errors.JaxRuntimeError('INTERNAL: callback: Traceback (most recent call last):\n  File "a.py", line 1, in f\n'
                                "RuntimeError: the sensor is off"),
     "error", "INTERNAL: callback: RuntimeError: the sensor is off"),
    (MemoryError(), "oom", "MemoryError:  (test_failure.py, line 14)"),
    (KeyError("width"), "error", "KeyError: 'width' (test_failure.py, line 14)"),
    (ValueError("x" * 9999), "error", "ValueError: " + "x" * 988),
])
def test_a_failure_is_told_in_one_line_and_kept_whole(error, status, message):
    failure = Failure.of(raised(error))
    assert (failure.status, failure.message) == (status, message)
    assert failure.traceback.startswith("Traceback (most recent call last)")


def test_a_failure_holds_on_to_nothing_that_was_at_hand_when_it_happened():
    class HeldError(ValueError):
        """May be referred to weakly, unlike the exceptions that Python has."""

    error = raised(HeldError())
    held, failure = weakref.ref(error), Failure.of(error)
    pickle.dumps(failure)
    del error
    gc.collect()
    assert held() is None


def test_failures_of_one_kind_and_place_are_alike():
    one, other = (Failure.of(raised(ValueError(text))) for text in "ab")
    assert one.place == other.place != Failure.of(raised(KeyError("a"))).place


def test_a_full_disk_is_no_failure_of_a_run():
    assert not is_a_runs_own(OSError(errno.ENOSPC, "full"))
    assert is_a_runs_own(OSError(errno.ENOENT, "not there"))
    assert is_a_runs_own(ValueError())
