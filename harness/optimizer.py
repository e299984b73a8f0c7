"""Builds the optimizer of a run from its config, with every rate a traced value. Called by `harness.train`."""

from collections.abc import Mapping

import optax
from jaxtyping import Array, Float

from ablations.spec import OptimizerConfig


def build(config: OptimizerConfig, rates: Mapping[str, Float[Array, ""]]) -> optax.GradientTransformation:
    """Builds the optimizer.

    Args:
      config: says which parts there are; a rate of 0 leaves its part out.
      rates: "learning_rate", "momentum" and "weight_decay"; these values are used, not the config's.

    Source: Adam's epsilon is Keras's default, 1e-7.
    """
    parts = []
    if config.kind == "adam":
        parts.append(optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-7))
    elif config.momentum:
        parts.append(optax.trace(decay=rates["momentum"]))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(rates["weight_decay"]))
    return optax.chain(*parts, optax.scale_by_learning_rate(rates["learning_rate"]))
