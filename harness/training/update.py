"""What a gradient does to a run: new weights, their moving average, and a count of gradients that are not finite."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ablations.spec import RunConfig
from harness.training import optimizer
from harness.training.state import TrainState, Weights

_LARGEST = float(jnp.finfo(jnp.float32).max)


def advance(state: TrainState, gradient: Any, statistics: Any, config: RunConfig, traced: Any,
            relative_rate: optax.Schedule | None = None) -> TrainState:
    """Gives the state after one more batch.

    Args:
      gradient: of the batch's mean loss.
      statistics: that the batch's forward pass left.
      relative_rate: share of the peak learning rate at each update; None is 1.
    """
    every = config.optimizer.gradient_accumulation_steps
    rates = traced if relative_rate is None else traced | {
        "learning_rate": traced["learning_rate"] * relative_rate(state.step // every)}
    # Of several gradients the mean is clipped, from which a number that was infinite would never go again.
    kept = gradient if every == 1 or state.non_finite is None else jax.tree.map(
        lambda leaf: jnp.clip(leaf, -_LARGEST / every, _LARGEST / every), gradient)
    updates, opt_state = optimizer.build(config.optimizer, rates).update(
        kept, state.opt_state, state.weights.params)
    params = optax.apply_updates(state.weights.params, updates)
    state = state._replace(weights=Weights(params, statistics), opt_state=opt_state, step=state.step + 1)
    if config.ema_decay:
        average = averaged(state.average, state.weights, traced["ema_decay"], state.step // every)
        is_update = state.step % every == 0
        state = state._replace(average=average if every == 1 else jax.tree.map(
            lambda new, old: jnp.where(is_update, new, old), average, state.average))
    if state.non_finite is not None:
        finite = jnp.isfinite(optax.tree.norm(gradient))
        state = state._replace(non_finite=state.non_finite + (~finite).astype(jnp.int32))
    return state


def averaged(average: Any, weights: Any, decay: Float[Array, ""], count: Int[Array, ""]) -> Any:
    """Brings an exponential moving average up to date, corrected for its start so that it has no share of zeros.

    Args:
      average: after one update less; of no account at the first.
      count: updates so far, this one included.

    Returns:
      the mean of the weights after each update, the latest counting 1, those before it decay, decay**2, ...; of what
      is not of a floating type, the latest.

    Source: Kingma and Ba 2015, sec. 3, as a step towards the latest by (1 - decay) / (1 - decay**count).
    """
    # expm1 and log: 1 - decay**count would lose most of its digits in the first updates.
    share = (1 - decay) / -jnp.expm1(jnp.maximum(count, 1) * jnp.log(decay))

    def mixed(latest: Array, before: Array) -> Array:
        if not jnp.issubdtype(latest.dtype, jnp.floating):
            return latest
        # At the first update the share is 1 up to rounding, and what was before must have no part at all.
        return jnp.where(count <= 1, latest, share * latest + (1 - share) * before)

    return jax.tree.map(mixed, weights, average)
