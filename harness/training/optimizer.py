"""Builds the optimizer of a run from its config, with every rate a traced value."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from ablations.spec import OptimizerConfig
from models.layers import Added
from models.transfer import is_backbone

Rates = Mapping[str, Float[Array, ""]]

# b1, b2 and eps where a config does not say; rmsprop's b2 is what optax calls its decay.
_DEFAULTS: dict[str, dict[str, float]] = {
    **{kind: {"b1": 0.9, "b2": 0.999, "eps": 1e-7} for kind in ("adam", "adamw", "nadam", "nadamw")},
    "lamb": {"b1": 0.9, "b2": 0.999, "eps": 1e-6}, "lion": {"b1": 0.9, "b2": 0.99},
    "rmsprop": {"b2": 0.9, "eps": 1e-8}, "adagrad": {"eps": 1e-7}, "sgd": {}}


def build(config: OptimizerConfig, traced: Rates) -> optax.GradientTransformation:
    """Builds the optimizer.

    Args:
      config: says which parts there are; a rate of 0 leaves its part out.
      traced: "learning_rate", of this very step, "momentum", "weight_decay", "clip_norm" and "clip_value" where they
        are not 0, and for a fine-tuned backbone "fine_tune", the share of the learning rate at which it moves; these
        values are used, not the config's.

    Source: optax's optimizers of the same names; of adam Kingma and Ba 2015, algorithm 1, with epsilon 1e-7. Keras has
    the same number in the form of their section 2, where it weighs 1 / sqrt(1 - 0.999 ** step) times as much: 32 times
    at the first step, 1 in the end.
    """
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(traced["clip_norm"]))
    if config.clip_value:
        parts.append(optax.clip(traced["clip_value"]))
    parts += _direction(config, traced)
    late = config.kind == "rmsprop"  # its velocity has the learning rate in it, and is to have no decay
    if config.weight_decay and not late:
        parts.append(optax.add_decayed_weights(traced["weight_decay"], _decaying(config)))
    if config.kind == "lamb":
        parts.append(optax.scale_by_trust_ratio())
    parts.append(optax.scale_by_learning_rate(traced["learning_rate"]))
    if late and config.momentum:
        parts.append(optax.trace(decay=traced["momentum"], nesterov=config.nesterov))
    if late and config.weight_decay:
        parts.append(optax.add_decayed_weights(-traced["learning_rate"] * traced["weight_decay"], _decaying(config)))
    if "fine_tune" in traced:
        parts.append(optax.masked(optax.scale(traced["fine_tune"]), _in_backbone))
    whole = optax.chain(*parts)
    every = config.gradient_accumulation_steps
    return optax.MultiSteps(whole, every).gradient_transformation() if every > 1 else whole


def traced_values(config: OptimizerConfig) -> dict[str, float]:
    """Lists the values of a config that `build` takes as traced ones."""
    always = {name: getattr(config, name) for name in ("learning_rate", "momentum", "weight_decay")}
    return always | {name: value for name in ("clip_norm", "clip_value") if (value := getattr(config, name))}


def check(config: OptimizerConfig, *, has_statistics: bool) -> None:
    """Checks what a config alone cannot tell.

    Args:
      has_statistics: whether training brings statistics of the batches that the network sees up to date, as batch norm
        does; those of a backbone stay as they were loaded.

    Raises:
      ValueError: in one line, if the optimizer cannot be that of the network.
    """
    if config.nesterov and not config.momentum:
        raise ValueError("optimizer.nesterov looks ahead along the momentum: give optimizer.momentum above 0")
    if config.gradient_accumulation_steps > 1 and has_statistics:
        raise ValueError("optimizer.gradient_accumulation_steps would have batch norm see each batch alone, and not "
                         "all that make one update: give a larger batch_size instead, or a network without batch norm")


def survives_non_finite(config: OptimizerConfig) -> bool:
    """Whether weights may stay finite where a gradient, or its norm, is not: by clipping, or by taking signs alone."""
    return bool(config.clip_norm or config.clip_value) or config.kind == "lion"


def _direction(config: OptimizerConfig, traced: Rates) -> list[optax.GradientTransformation]:
    given = {name: default if (own := getattr(config, name)) is None else own
             for name, default in _DEFAULTS[config.kind].items()}
    if config.kind == "sgd":
        return [optax.trace(decay=traced["momentum"], nesterov=config.nesterov)] if config.momentum else []
    if config.kind == "rmsprop":
        return [optax.scale_by_rms(decay=given["b2"], eps=given["eps"])]
    if config.kind == "lion":
        return [optax.scale_by_lion(**given)]
    if config.kind == "adagrad":
        return [optax.scale_by_rss(**given)]
    if config.kind in ("nadam", "nadamw"):
        return [optax.scale_by_adam(**given, nesterov=True)]
    return [_scale_by_adam(**given)]


def _scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Is optax's of that name, with one division for each parameter where that has three, which a CPU waits for.

    Both corrections for the averages' start are of all parameters alike: what they come to is a factor and an epsilon.
    """
    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, optax.ScaleByAdamState]:
        count = optax.safe_increment(state.count)
        mean = optax.tree.update_moment(gradient, state.mu, b1, 1)
        square = optax.tree.update_moment_per_elem_norm(gradient, state.nu, b2, 2)
        root = jnp.sqrt(1 - b2 ** count)
        factor = root / (1 - b1 ** count)
        direction = jax.tree.map(lambda m, v: factor * m / (jnp.sqrt(v) + root * eps), mean, square)
        return direction, optax.ScaleByAdamState(count, mean, square)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


def _decaying(config: OptimizerConfig) -> Any:
    """Marks the parameters that decay; None where all do."""
    if config.weight_decay_on == "all":
        return None
    # Attention's biases have a row for each head.
    return lambda params: _marked(params, lambda path, one: (
        one.ndim > 1 and path[-1] != "bias" and not isinstance(one, Added)))


def _in_backbone(params: Any) -> Any:
    return _marked(params, lambda path, one: is_backbone(path))


def _marked(params: Any, marks: Callable[[tuple[Any, ...], Any], bool]) -> Any:
    """Marks parameters by their paths and what they are."""
    def mark(path: Any, leaf: Any) -> bool:
        return marks(tuple(getattr(step, "key", getattr(step, "name", "")) for step in path), leaf)

    return jax.tree.map_with_path(mark, params, is_leaf=lambda node: isinstance(node, nnx.Variable))
