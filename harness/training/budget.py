"""How long a run trains: its steps, epochs and examples, whether the budget is in epochs or in steps. Pure."""

from ablations.spec import RunConfig


def steps_per_epoch(config: RunConfig, train_examples: int) -> int:
    """Counts the steps in which every training example is seen once."""
    return -(-train_examples // config.batch_size)


def steps(config: RunConfig, train_examples: int) -> int:
    """Counts the steps of the whole training."""
    return config.steps or config.epochs * steps_per_epoch(config, train_examples)


def epochs(config: RunConfig, train_examples: int | None = None) -> int:
    """Counts the epochs of the whole training, a last one that is broken off included.

    Args:
      train_examples: needed where the budget is in steps.
    """
    if config.steps is None:
        return config.epochs
    assert train_examples is not None, "how long an epoch is follows from the data"
    return -(-config.steps // steps_per_epoch(config, train_examples))


def examples(config: RunConfig, train_examples: int, epoch: int) -> int:
    """Counts the examples that an epoch, from 1, trains on; the last one may be broken off."""
    before = (epoch - 1) * steps_per_epoch(config, train_examples)
    return min(train_examples, (steps(config, train_examples) - before) * config.batch_size)


def updates(config: RunConfig, train_examples: int) -> int:
    """Counts the updates of the whole training; fewer than steps where gradients are accumulated."""
    return steps(config, train_examples) // config.optimizer.gradient_accumulation_steps


def updates_in(config: RunConfig, train_examples: int, epochs: float) -> int:
    """Counts the updates in a number of epochs, rounded."""
    per_update = config.optimizer.gradient_accumulation_steps
    return round(epochs * steps_per_epoch(config, train_examples) / per_update)
