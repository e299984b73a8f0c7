import dataclasses
import types

import jax
import pytest

from harness.training import probe
from harness.training.layout import Choices, Layout
from harness.training.programs import Compilation, OutOfMemoryError


def choose(step_s, cohort=16, devices=2, epochs=1000, compile_s=0.0, matrices=None, steps=None):
    """Chooses among layouts whose seconds per step are given; what is not given runs out of memory."""
    built = []

    def build(layout):
        if layout not in step_s:
            raise OutOfMemoryError(str(layout))
        built.append(layout)
        return types.SimpleNamespace(layout=layout, steps_per_epoch=100, compilation=Compilation(compile_s),
                                     config=types.SimpleNamespace(steps=steps))

    choices = Choices(cohort, devices, matrices=matrices)
    choice, programs = probe.choose(choices.simplest(), choices.alternatives(), choices.variants, build,
                                    lambda programs, _: step_s[programs.layout], cohort, epochs)
    assert programs is None or programs.layout == choice.layout
    return choice, built


ONE, FOUR, EIGHT = (Layout(2, members=number) for number in (1, 4, 8))


@pytest.mark.parametrize(("step_s", "expected"), [
    ({ONE: 0.01, FOUR: 0.02, EIGHT: 0.03}, EIGHT),  # each does more runs per second than the one before
    ({ONE: 0.01, FOUR: 0.02, EIGHT: 0.05}, FOUR),
    ({ONE: 0.01, FOUR: 0.05, EIGHT: 0.01}, ONE),
    ({ONE: 0.01, FOUR: 0.0385, EIGHT: 0.07}, ONE),  # 4 % faster is a tie
    ({ONE: 0.01, FOUR: 0.0377, EIGHT: 0.08}, FOUR),  # 6 % is none
    ({ONE: 0.01, FOUR: 0.02}, FOUR),  # the last has too little memory
    ({ONE: 0.01}, ONE),
])
def test_the_fastest_layout_wins(step_s, expected):
    choice, _ = choose(step_s)
    assert choice.layout == expected
    assert choice.why.startswith("probed: 2 devices, one run on each: 200.0 steps/s")


class Noisy(dict):
    """Gives one time after another."""

    def __getitem__(self, layout):
        found = next(super().__getitem__(layout))
        if isinstance(found, Exception):
            raise found
        return found


@pytest.mark.parametrize(("one", "four", "told"), [
    ([0.03, 0.01], [0.04, 0.04], 200.0),  # other work slowed the first in its first turn
    ([0.03, 0.03], [0.03, 0.125], 64.0),  # and in both turns
])
def test_a_layout_that_other_work_slowed_while_it_was_timed_is_not_left_for_that(one, four, told):
    choice, built = choose(Noisy({ONE: iter(one), FOUR: iter(four)}))
    assert (choice.layout, built) == (ONE, [ONE, FOUR])
    assert choice.why.endswith(f"; 2 devices, 4 runs under vmap on each: {told:,.1f} steps/s")


def test_a_layout_that_cannot_be_timed_again_is_not_taken_and_said():
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
    choice, _ = choose(Noisy({ONE: iter([0.01, full]), FOUR: iter([0.02])}))
    assert choice.layout == ONE
    assert choice.why == ("probed: 2 devices, one run on each: 200.0 steps/s; 2 devices, 4 runs under vmap on each: "
                          "400.0 steps/s, too little memory to time it again")


def test_a_layout_that_fails_is_not_taken_and_said():
    broken = jax.errors.JaxRuntimeError("INTERNAL: no kernel\nmore of it")
    choice, built = choose(Noisy({ONE: iter([0.01]), FOUR: iter([broken])}))
    assert (choice.layout, built) == (ONE, [ONE, FOUR])
    assert choice.why == ("probed: 2 devices, one run on each: 200.0 steps/s; 2 devices, 4 runs under vmap on each "
                          "failed: INTERNAL: no kernel more of it")
    again = choose(Noisy({ONE: iter([0.01, 0.01]), FOUR: iter([0.02, jax.errors.JaxRuntimeError("")])}))[0]
    assert again.why == ("probed: 2 devices, one run on each: 200.0 steps/s; 2 devices, 4 runs under vmap on each "
                         "failed: JaxRuntimeError")
    with pytest.raises(jax.errors.JaxRuntimeError, match="no kernel"):
        choose(Noisy({ONE: iter([broken])}))


def test_a_line_is_followed_only_as_long_as_it_gets_faster():
    _, built = choose({ONE: 0.01, FOUR: 0.05, EIGHT: 0.01})
    assert built == [ONE, FOUR]


def test_a_single_run_may_split_its_batches():
    split = Layout(1, data=2)
    assert choose({Layout(1): 0.02, split: 0.01}, cohort=1)[0].layout == split
    assert choose({Layout(1): 0.02, split: 0.03}, cohort=1)[0].layout == Layout(1)


def test_a_last_round_of_few_runs_is_compacted_and_costs_less():
    """18 runs: nine rounds of two, 90 ms a step of all; two of eight and one of two at a quarter of that, 67.5 ms."""
    assert choose({ONE: 0.01, FOUR: 0.03}, cohort=18)[0].layout == FOUR


@pytest.mark.parametrize(("split_s", "splits"), [(0.011, True), (0.013, False)])
def test_what_three_runs_take_on_two_devices_counts_the_idle_one(split_s, splits):
    """Two at once for 20 ms a step, then one; or each on both devices: 40 against 33 or 39 ms, which is a tie."""
    choice, _ = choose({Layout(2): 0.02, Layout(1, data=2): split_s}, cohort=3)
    assert choice.layout == (Layout(1, data=2) if splits else Layout(2))
    assert "2 devices, one run on each: 75.0 steps/s" in choice.why


def test_of_the_fastest_layout_the_other_library_is_tried_last():
    other = dataclasses.replace(FOUR, matrices="YNNPACK")
    choice, built = choose({ONE: 0.01, FOUR: 0.02, EIGHT: 0.05, other: 0.015}, matrices="XLA")
    assert (choice.layout, built) == (other, [ONE, FOUR, EIGHT, other])
    assert "2 devices, 4 runs under vmap on each, matrices by YNNPACK: 533.3 steps/s" in choice.why
    assert choose({ONE: 0.01, FOUR: 0.02, EIGHT: 0.05, other: 0.0195}, matrices="XLA")[0].layout == FOUR, "a tie"
    assert choose({Layout(2): 0.02, Layout(2, matrices="XLA"): 0.01}, cohort=2, matrices="YNNPACK")[0].layout == Layout(
        2, matrices="XLA"), "a choice also where runs can lie in one way alone"


def test_a_short_training_is_not_probed():
    """8 rounds of 2 runs, 100 steps each of 10 ms: 8 s an epoch."""
    choice, built = choose({ONE: 0.01, FOUR: 0.001}, epochs=3)
    assert (choice.layout, built) == (ONE, [ONE])
    assert choice.why == "not probed: training takes about 24 s"
    assert choose({ONE: 0.01, FOUR: 0.001}, epochs=4)[0].layout == FOUR


def test_a_budget_in_steps_says_how_long_training_takes():
    """8 rounds of 10 ms a step; the last epoch is broken off."""
    assert choose({ONE: 0.01, FOUR: 0.001}, epochs=4, steps=301)[0].why == "not probed: training takes about 24 s"
    assert choose({ONE: 0.01, FOUR: 0.001}, epochs=4, steps=399)[0].layout == FOUR


@pytest.mark.parametrize(("steps", "longest"), [(None, 100), (7, 7), (250, 100)])
def test_a_step_is_timed_by_the_steps_that_are_done(monkeypatch, steps, longest):
    """Programs do no more than a budget in steps allows, whatever they are asked for."""
    clock, asked = [0.0], []

    def train(states, traced, number):
        asked.append(number)
        clock[0] += 0.001 * min(number, steps or number)
        return states, ()

    monkeypatch.setattr(probe, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    programs = types.SimpleNamespace(train=train, steps_per_epoch=100, config=types.SimpleNamespace(steps=steps))
    assert probe.seconds_per_step(programs, (), ()) == pytest.approx(0.001)
    assert max(asked) == longest


@pytest.mark.parametrize(("step_s", "most"), [(0.001, 24), (0.01, 4), (0.1, 6)])
def test_what_ends_soon_is_timed_for_a_moment(monkeypatch, step_s, most):
    """A tenth of a second a step is no moment: below 0.05 s it is one."""
    clock, asked = [0.0], []

    def train(states, traced, number):
        asked.append(number)
        clock[0] += step_s * number
        return states, ()

    monkeypatch.setattr(probe, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    programs = types.SimpleNamespace(train=train, steps_per_epoch=10_000, config=types.SimpleNamespace(steps=None))
    assert probe.seconds_per_step(programs, (), (), 0.05) == pytest.approx(step_s)
    assert max(asked) == most
    assert (clock[0] < 0.1) == (step_s < 0.05)


def test_what_would_be_probed_soon_is_not_timed_for_a_moment_alone():
    """8 rounds of 100 steps: below 15 s of training a moment will do, and other layouts are always timed in full."""
    limits = []
    choices = Choices(16, 2)

    def seconds_per_step(programs, briefly_below):
        limits.append(briefly_below)
        return 0.01

    probe.choose(choices.simplest(), choices.alternatives(), choices.variants, lambda layout: types.SimpleNamespace(
        layout=layout, steps_per_epoch=100, compilation=Compilation(0.0), config=types.SimpleNamespace(steps=None)),
        seconds_per_step, 16, 1000)
    assert limits[0] == pytest.approx(15 / 800_000)
    assert set(limits[1:]) == {0.0}


def test_what_takes_long_to_compile_is_probed_for_a_long_training_alone():
    """8 s an epoch."""
    assert choose({ONE: 0.01, FOUR: 0.001}, epochs=6, compile_s=5)[0].layout == ONE
    assert choose({ONE: 0.01, FOUR: 0.001}, epochs=7, compile_s=5)[0].layout == FOUR


def test_nothing_is_compiled_where_there_is_no_choice():
    choice, built = choose({ONE: 0.01}, cohort=2)
    assert (choice.layout, built) == (ONE, [])


def test_where_even_the_simplest_does_not_fit_it_is_left_to_be_split():
    choice, built = choose({})
    assert (choice.layout, built) == (ONE, [])
