"""Chooses a cohort's layout by timing a few training steps of each form."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from harness.records.reading import FormError, structured
from harness.training.layout import Layout, rounds
from harness.training.programs import Programs, is_out_of_memory

# A cohort that the simplest layout trains within this time ends before other layouts would be compiled and timed, and
# so does one that takes less than this many times what compiling the simplest took.
WORTHWHILE_S, WORTHWHILE_COMPILES = 30.0, 10.0
# A layout must be this much faster than the best so far, each time that both are timed: a tie is not worth a change of
# the numbers' rounding.
MARGIN = 1.05
# Time to spend on each measurement, the faster of two counts; and on one of what ends long before it would be probed.
MEASURE_S, BRIEFLY_S = 0.3, 0.02


@dataclasses.dataclass(frozen=True)
class Choice:
    """The layout that a cohort trains in.

    Attributes:
      why: what was measured, or why nothing was; goes into the record.
    """

    layout: Layout
    why: str


def kept(stored: Any) -> Choice:
    """Reads a choice as `layouts.json` keeps it.

    Raises:
      FormError: if it is none.
    """
    if not isinstance(stored, Mapping):
        raise FormError("has another form: a layout is no object")
    choice = structured(Choice, stored)
    layout = choice.layout
    if not (layout.is_possible and all(0 < number < 2**31 for number in (layout.runs, layout.data, layout.members))):
        raise FormError(f"has a layout of {layout}")
    return choice


def choose(simplest: Layout, alternatives: Sequence[Sequence[Layout]],
           variants: Callable[[Layout], Sequence[Layout]], build: Callable[[Layout], Programs],
           seconds_per_step: Callable[[Programs, float], float], runs: int, epochs: int
           ) -> tuple[Choice, Programs | None]:
    """Times layouts and takes the one that trains the most steps of all runs per second, idle slots counted.

    Args:
      simplest: taken unless another is faster by `MARGIN`.
      alternatives: lines to be followed as long as each layout beats the best so far.
      variants: of the best of these, what is tried last.
      build: compiles a layout.
      seconds_per_step: measures it, briefly where it is less than so many seconds.
      runs, epochs: how many are to be trained; a budget in steps counts for itself.

    Returns:
      the choice, and its programs if they were compiled.
    """
    if not any(alternatives) and not variants(simplest):
        return Choice(simplest, "no other layout"), None
    try:
        best = build(simplest)
        steps = (best.config.steps or best.steps_per_epoch * epochs) * rounds(simplest, runs)
        worthwhile_s = max(WORTHWHILE_S, WORTHWHILE_COMPILES * best.compilation.seconds)
        step_s = seconds_per_step(best, worthwhile_s / 2 / steps)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return Choice(simplest, "not probed: the simplest layout needs too much memory"), None
    if step_s * steps < worthwhile_s:
        return Choice(simplest, f"not probed: training takes about {step_s * steps:.0f} s"), best

    def per_second(layout: Layout, step_s: float) -> float:
        return runs / (rounds(layout, runs) * step_s)

    rate = per_second(simplest, step_s)
    measured, once, failed = {simplest: rate}, set[Layout](), list[str]()
    for line in (*alternatives, None):
        for layout in variants(best.layout) if line is None else line:
            try:
                candidate = build(layout)
                rates = [per_second(layout, seconds_per_step(candidate, 0.0))]
                measured[layout] = rates[0]
                if rates[0] >= rate * MARGIN:  # unless other work ran beside: both are timed once more
                    once.add(layout)
                    rate = measured[best.layout] = max(rate, per_second(best.layout, seconds_per_step(best, 0.0)))
                    rates.append(per_second(layout, seconds_per_step(candidate, 0.0)))
                    once.remove(layout)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:  # the best so far still trains
                if not is_out_of_memory(error):
                    measured.pop(layout, None)
                    failed.append(f"; {layout} failed: {' '.join((str(error) or type(error).__name__).split())[:100]}")
                break
            measured[layout] = min(rates)
            if min(rates) < rate * MARGIN:
                break
            best, rate = candidate, max(rates)
            measured[layout] = rate
    told = "; ".join(f"{layout}: {rate:,.1f} steps/s{', too little memory to time it again' if layout in once else ''}"
                     for layout, rate in measured.items())
    return Choice(best.layout, f"probed: {told}{''.join(failed)}"), best


def seconds_per_step(programs: Programs, states: Any, traced: Any, briefly_below: float = 0.0) -> float:
    """Times a training step of all slots together. Consumes the states.

    Args:
      briefly_below: a step that takes less than so many seconds is timed for a moment only.
    """
    states, sums = programs.train(states, traced, 1)
    jax.block_until_ready(sums)
    best, steps = float("inf"), 1
    most = min(programs.steps_per_epoch, programs.config.steps or programs.steps_per_epoch)  # more are not done
    for _ in range(2):
        while True:
            started = time.perf_counter()
            states, sums = programs.train(states, traced, steps)
            jax.block_until_ready((states, sums))
            elapsed = time.perf_counter() - started
            enough_s = BRIEFLY_S if elapsed / steps < briefly_below else MEASURE_S
            if elapsed > enough_s or steps == most:
                break
            steps = min(most, max(2 * steps, int(1.2 * steps * enough_s / elapsed)))
        best = min(best, elapsed / steps)
        if best < briefly_below:
            break
    return best
