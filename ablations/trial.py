"""Cuts runs short, so that all of an ablation is tried in a minute."""

import dataclasses
from collections.abc import Container
from typing import Any

from ablations.spec import RunConfig, SpecError

FIELD = "smoke"
# The fewest that every schedule can be made of.
_UPDATES = 4


def check(examples: Any) -> None:
    """Raises SpecError where this is no number of examples to try runs on."""
    if not isinstance(examples, int) or isinstance(examples, bool) or examples < 1:
        raise SpecError(f"{FIELD}={examples!r}: give the number of training examples that runs are tried on, such as "
                        f"{FIELD}=512")


def cut_short(config: RunConfig, examples: int, given: Container[str]) -> RunConfig:
    """Gives a run of one epoch on a few examples, or of as many epochs as make four updates, without warm-up.

    A rate that falls at milestones does so halfway, once.

    Args:
      examples: the most that it trains on.
      given: fields that the command sets itself: of train_size, epochs and steps these stay as they are.
    """
    size = config.train_size or examples
    if "train_size" not in given:
        size = min(size, examples)
    batch = min(config.batch_size, size)
    an_epoch = -(-size // batch)
    short = dataclasses.replace(config, train_size=size, batch_size=batch)
    if "epochs" not in given and "steps" not in given:
        needed = _UPDATES * config.optimizer.gradient_accumulation_steps
        short = dataclasses.replace(short, epochs=-(-needed // an_epoch), steps=None)
    halfway = ((short.steps / an_epoch if short.steps else short.epochs) / 2,)
    return dataclasses.replace(short, schedule=dataclasses.replace(
        config.schedule, warmup_epochs=0.0, warmup_steps=0, milestones=halfway if config.schedule.milestones else ()))
