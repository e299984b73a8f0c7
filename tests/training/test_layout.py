import dataclasses

import pytest

from ablations.spec import SpecError
from harness.records.configs import as_json
from harness.records.reading import FormError
from harness.training.layout import Choices, Layout, compacted, one_by_one, parsed, rounds, smaller
from harness.training.probe import Choice, kept


@pytest.mark.parametrize(("cohort", "devices", "expected"), [
    (1, 4, Layout(1)), (3, 4, Layout(3)), (9, 4, Layout(4)), (9, 1, Layout(1))])
def test_members_go_over_devices_first(cohort, devices, expected):
    assert Choices(cohort, devices).simplest() == expected


@pytest.mark.parametrize(("cohort", "devices", "expected"), [
    (1, 1, [[], [], []]),
    (1, 4, [[Layout(1, data=4)], [], []]),
    (2, 4, [[Layout(2, data=2)], [], []]),
    (4, 4, [[], [], []]),
    (3, 4, [[Layout(1, data=4)], [Layout(1)], []]),
    (3, 2, [[Layout(1, data=2)], [Layout(1)], [Layout(2, members=2)]]),  # the last one would leave a device idle
    (6, 4, [[Layout(2, data=2)], [Layout(1)], [Layout(4, members=2)]]),
    (9, 8, [[Layout(4, data=2), Layout(2, data=4), Layout(1, data=8)], [Layout(1)], [Layout(8, members=2)]]),
    (15, 2, [[], [], [Layout(2, members=4), Layout(2, members=8)]]),  # for half a round of eight, which is little
    (25, 1, [[], [], [Layout(1, members=4), Layout(1, members=25)]]),
    (64, 2, [[], [], [Layout(2, members=4), Layout(2, members=16), Layout(2, members=32)]]),
])
def test_what_may_be_faster(cohort, devices, expected):
    assert Choices(cohort, devices).alternatives() == expected


@pytest.mark.parametrize(("cohort", "devices", "convolves", "expected", "others"), [
    (1, 1, True, Layout(1), []),
    (25, 1, False, Layout(1, members=25), []),
    (25, 1, True, Layout(1, members=25, form="patches"), [Layout(1)]),
    (6, 4, True, Layout(4, members=2, form="patches"), [Layout(4)]),
])
def test_an_accelerator_trains_all_of_its_runs_at_once(cohort, devices, convolves, expected, others):
    choices = Choices(cohort, devices, accelerator=True, convolves=convolves)
    assert choices.simplest() == expected
    assert choices.alternatives() == [[], [], others]


def test_a_pmap_has_one_axis():
    assert Choices(1, 4, "pmap").alternatives()[0] == [Layout(1, data=4, parallel="pmap")]
    assert Choices(2, 4, "pmap").alternatives()[0] == []
    for cohort, devices in ((3, 2), (6, 4), (13, 12)):
        assert Choices(cohort, devices, "pmap").alternatives()[0] == [Layout(1, data=devices, parallel="pmap")]


def test_a_layout_of_two_axes_by_pmap_is_none():
    """It would add up the gradients of different runs."""
    assert parsed("4 devices, one run on every 2, batches split").runs == 2
    with pytest.raises(SpecError, match="no layout is called"):
        parsed("4 devices, one run on every 2, batches split, by pmap")
    with pytest.raises(FormError):
        kept(as_json(Choice(Layout(2, data=2, parallel="pmap"), "given")))
    assert kept(as_json(Choice(Layout(1, data=4, parallel="pmap"), "given"))).layout.devices == 4


def test_batches_that_must_stay_whole_are_split_for_no_number_of_runs():
    assert all(Choices(cohort, 2, whole_batches=True).alternatives()[0] == [] for cohort in (1, 2, 3))
    assert Choices(3, 2, whole_batches=True).alternatives()[1] == [Layout(1)]


def test_smaller_ends_at_a_single_run_whose_data_is_streamed():
    layout, seen = Layout(2, members=5), []
    while layout is not None:
        seen.append((layout.runs, layout.members, layout.streamed))
        layout = smaller(layout)
    assert seen == [(2, 5, False), (2, 2, False), (2, 1, False), (1, 1, False), (1, 1, True)]


def test_a_run_on_several_devices_is_left_one_before_its_data_is_streamed():
    split = Layout(1, data=2)
    assert smaller(split) == Layout(1)
    assert smaller(split, one_memory=False) == dataclasses.replace(split, streamed=True), "less on none of them"


@pytest.mark.parametrize(("layout", "cohort", "expected"), [
    (Layout(2), 3, 2), (Layout(2), 4, 2), (Layout(1, data=2), 3, 3), (Layout(2, members=4), 16, 2),
    (Layout(2, members=4), 18, 2.25),  # the last two are compacted to one on each
    (Layout(2, members=4), 21, 3), (Layout(1, members=25), 25, 1)])
def test_the_last_round_counts_as_it_is_compacted(layout, cohort, expected):
    assert rounds(layout, cohort) == expected


def test_devices_with_a_memory_each_stay_in_use():
    layout, seen = Layout(4, members=2), []
    while layout is not None:
        seen.append((layout.runs, layout.members, layout.streamed))
        layout = smaller(layout, one_memory=False)
    assert seen == [(4, 2, False), (4, 1, False), (4, 1, True)]


def test_devices_with_a_memory_each_split_the_batches_of_a_run_before_its_data_is_streamed():
    layout, seen = Layout(4, members=2), []
    while layout is not None:
        seen.append((layout.runs, layout.data, layout.members, layout.streamed))
        layout = smaller(layout, one_memory=False, splits_over=4)
    assert seen == [(4, 1, 2, False), (4, 1, 1, False), (2, 2, 1, False), (1, 4, 1, False), (1, 4, 1, True)]
    assert smaller(Layout(1), one_memory=False, splits_over=3) == Layout(1, data=2)
    assert smaller(Layout(3), one_memory=False, splits_over=8) == Layout(3, data=2)


def test_a_pmap_splits_the_batches_of_one_run_over_all_devices():
    by_pmap = Layout(4, parallel="pmap")
    assert smaller(by_pmap, one_memory=False, splits_over=4) == Layout(1, data=4, parallel="pmap")


def test_what_is_streamed_stays_so():
    assert smaller(Layout(2, members=4, streamed=True)) == Layout(2, members=2, streamed=True)
    assert compacted(Layout(1, members=4, streamed=True), 1) == Layout(1, streamed=True)
    assert one_by_one(Layout(2, members=4, parallel="pmap", streamed=True)) == Layout(1, parallel="pmap", streamed=True)
    assert one_by_one(Layout(1, data=2)) is None
    assert one_by_one(Layout(2, matrices="YNNPACK")) == Layout(1, matrices="YNNPACK")
    assert one_by_one(Layout(1, members=4, form="patches")) == Layout(1)
    assert one_by_one(Layout(4, data=2)) == Layout(1, data=2), "a batch too large for one device is still split"
    assert {layout.streamed for line in Choices(16, 2, streamed=True).alternatives() for layout in line} == {True}


@pytest.mark.parametrize(("active", "members"), [(8, 4), (5, 4), (4, 2), (3, 2), (2, 1), (1, 1)])
def test_a_cohort_is_compacted_once_half_of_it_has_ended(active, members):
    assert compacted(Layout(2, members=4), active) == Layout(2, members=members)


@pytest.mark.parametrize("fewer", [smaller, lambda layout: compacted(layout, 1)])
def test_a_single_run_that_is_left_takes_the_platforms_own_convolution(fewer):
    """Patches are for several at once; what was asked for otherwise stays."""
    assert fewer(Layout(1, members=2, form="patches")) == Layout(1)
    assert fewer(Layout(1, members=2, form="blocked")) == Layout(1, form="blocked")
    assert smaller(Layout(1, members=4, form="patches")) == Layout(1, members=2, form="patches")


def test_a_layout_says_what_it_is():
    assert str(Layout(1)) == "1 device, one run"
    assert str(Layout(2, members=4)) == "2 devices, 4 runs under vmap on each"
    assert str(Layout(2, data=2)) == "4 devices, one run on every 2, batches split"
    assert str(Layout(1, members=4, form="patches")) == "1 device, 4 runs under vmap, convolutions by patches"
    assert str(Layout(1, data=2, parallel="pmap")) == "2 devices, one run on every 2, batches split, by pmap"
