import pytest

from harness.progress.left import Pace, estimate


def test_nothing_is_estimated_before_the_first_epoch():
    assert estimate([Pace(10.0, epochs_left=5, compile_s=3.0), Pace(10.0, epochs_left=5)]) is None


def test_a_cohort_goes_on_at_its_own_speed():
    """Two runs side by side: four epochs of runs took 10 s, six are left."""
    assert estimate([Pace(1.0, epochs_left=6, epochs=4, seconds=10.0, compile_s=3.0)]) == pytest.approx(15)


def test_a_cohort_not_yet_begun_is_estimated_by_its_work_and_compiles_as_long_as_others():
    """Twelve times the work for an epoch takes twelve times as long: the small network says little of all."""
    dense = Pace(1e6, epochs_left=0, epochs=100, seconds=20.0, compile_s=4.0)
    convolutional = Pace(12e6, epochs_left=100)
    assert estimate([dense, convolutional]) == pytest.approx(4 + 12 * 20)


def test_speeds_of_several_cohorts_count_by_the_work_they_did():
    """The first does 1 unit in 10 s, the second 9 in 10 s: 20 s for 10."""
    begun = [Pace(1.0, epochs=1, seconds=10.0), Pace(9.0, epochs=1, seconds=10.0)]
    assert estimate([*begun, Pace(5.0, epochs_left=1)]) == pytest.approx(10)


def test_what_is_over_leaves_nothing():
    assert estimate([Pace(1.0, epochs=5, seconds=10.0, compile_s=1.0)]) == 0
