"""Builds the optimizer of a run from its config, with every rate a traced value."""

from collections.abc import Mapping
from typing import Any

import jax
import optax
from flax import nnx
from jaxtyping import Array, Float

from ablations.spec import OptimizerConfig
from models.transfer import is_backbone


def build(config: OptimizerConfig, traced: Mapping[str, Float[Array, ""]]) -> optax.GradientTransformation:
    """Builds the optimizer.

    Args:
      config: says which parts there are; a rate of 0 leaves its part out.
      traced: "learning_rate", "momentum", "weight_decay", and for a fine-tuned backbone "fine_tune", the share of the
        learning rate at which it moves; these values are used, not the config's.

    Source: Kingma and Ba 2015, algorithm 1, with epsilon 1e-7. Keras has the same number in the form of their section
    2, where it weighs 1 / sqrt(1 - 0.999 ** step) times as much: 32 times at the first step, 1 in the end.
    """
    parts = []
    if config.kind == "adam":
        parts.append(optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-7))
    elif config.momentum:
        parts.append(optax.trace(decay=traced["momentum"]))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(traced["weight_decay"]))
    parts.append(optax.scale_by_learning_rate(traced["learning_rate"]))
    if "fine_tune" in traced:
        parts.append(optax.masked(optax.scale(traced["fine_tune"]), _in_backbone))
    return optax.chain(*parts)


def _in_backbone(params: Any) -> Any:
    def inside(path: Any, leaf: Any) -> bool:
        return is_backbone(tuple(getattr(step, "key", getattr(step, "name", "")) for step in path))

    return jax.tree.map_with_path(inside, params, is_leaf=lambda node: isinstance(node, nnx.Variable))
