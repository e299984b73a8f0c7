"""What an example of each class counts in the training loss."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ablations.spec import RunConfig


def of(config: RunConfig, labels: Int[Array, " example"], num_classes: int) -> Float[Array, " class"] | None:
    """Gives the weight of each class; None where all count the same.

    Args:
      labels: of all examples that are trained on, which "balanced" weighs by.

    Source: scikit-learn's `class_weight="balanced"`, of the classes that have an example.
    """
    if config.class_weight is None:
        return None
    if config.class_weight == "balanced":
        counts = jnp.bincount(labels, length=num_classes)
        return labels.size / (jnp.sum(counts > 0) * jnp.maximum(counts, 1))
    return jnp.asarray(config.class_weight, jnp.float32)


def check(config: RunConfig, num_classes: int) -> None:
    """Checks that there is a weight for each class.

    Raises:
      ValueError: in one line, if there is not.
    """
    if isinstance(config.class_weight, tuple) and len(config.class_weight) != num_classes:
        raise ValueError(f"class_weight has {len(config.class_weight)} weights, and there are {num_classes} classes")
