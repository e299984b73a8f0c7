"""Learning rates from update to update, as shares of the peak, which stays a traced value."""

import optax

from ablations.spec import RunConfig, ScheduleConfig
from harness.training import budget

# optax's one-cycle rises over int(0.3 * updates), which must not be 0.
_LEAST_UPDATES = {"onecycle": 4}


def relative(config: RunConfig, train_examples: int) -> optax.Schedule | None:
    """Gives the rate's share of the peak at each update, from 0; None where it is the peak throughout.

    Source: optax's schedules of the same names, with a peak of 1.
    """
    asked = config.schedule
    if asked == ScheduleConfig():
        return None
    total, warmup = budget.updates(config, train_examples), _warmup(config, train_examples)
    if asked.kind == "onecycle":
        return optax.schedules.cosine_onecycle_schedule(total, 1.0)
    after = _after_warmup(config, train_examples, total - warmup, warmup)
    if not warmup:
        return after
    return optax.schedules.join_schedules([optax.schedules.linear_schedule(0.0, 1.0, warmup), after], [warmup])


def _after_warmup(config: RunConfig, train_examples: int, length: int, warmup: int) -> optax.Schedule:
    asked = config.schedule
    if asked.kind == "cosine":
        return optax.schedules.cosine_decay_schedule(1.0, length, asked.end_fraction)
    if asked.kind == "linear":
        return optax.schedules.linear_schedule(1.0, asked.end_fraction, length)
    if asked.kind == "exponential":
        return optax.schedules.exponential_decay(1.0, length, asked.decay_rate)
    scales: dict[int, float] = {}
    for epoch in asked.milestones:
        boundary = budget.updates_in(config, train_examples, epoch) - warmup
        scales[boundary] = scales.get(boundary, 1.0) * asked.decay_rate
    return optax.schedules.piecewise_constant_schedule(1.0, scales)


def _warmup(config: RunConfig, train_examples: int) -> int:
    asked = config.schedule
    return asked.warmup_steps or budget.updates_in(config, train_examples, asked.warmup_epochs)


def check(config: RunConfig, train_examples: int) -> None:
    """Checks that the schedule fits into the training.

    Raises:
      ValueError: in one line, if it does not.
    """
    asked, total = config.schedule, budget.updates(config, train_examples)
    if total < (least := _LEAST_UPDATES.get(asked.kind, 1)):
        steps = config.optimizer.gradient_accumulation_steps
        each = f", each of {steps} steps by optimizer.gradient_accumulation_steps" if steps > 1 else ""
        raise ValueError(f'schedule.kind="{asked.kind}" needs at least {least} updates of the weights, and training '
                         f"has {total}{each}: give more epochs or steps")
    if (warmup := _warmup(config, train_examples)) and warmup >= total:
        field = "warmup_steps" if asked.warmup_steps else "warmup_epochs"
        raise ValueError(f"schedule.{field}={getattr(asked, field)} is a warm-up of {warmup} updates, and training has "
                         f"{total}: give a shorter one")
    if asked.kind == "step" and not asked.milestones:
        raise ValueError('schedule.kind="step" needs schedule.milestones, epochs such as (30, 60)')
    if asked.milestones and budget.updates_in(config, train_examples, asked.milestones[0]) < warmup:
        raise ValueError(f"schedule.milestones={asked.milestones} begin within the warm-up of {warmup} updates: give "
                         "later ones, or a shorter warm-up")
    if asked.milestones and (first := budget.updates_in(config, train_examples, asked.milestones[0])) >= total:
        raise ValueError(f"schedule.milestones={asked.milestones} begin after {first} updates, and training has "
                         f"{total}: give earlier ones")
