"""What a precision means: the type of the numbers, and with how many of their bits float32 is multiplied."""

import contextlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# float32: multiplied with all its bits. tf32: float32, multiplied on an NVIDIA GPU's tensor cores with 10 bits after
# the point and added up with all. bfloat16: forward and backward passes with 7 bits, over float32 parameters.
PRECISIONS = ("float32", "tf32", "bfloat16")


def number_type(precision: str) -> jnp.dtype:
    """Gives the type of the numbers that pass through a network."""
    return jnp.dtype("bfloat16" if precision == "bfloat16" else "float32")


def multiplied(precision: str) -> contextlib.AbstractContextManager[object]:
    """Has products traced inside be multiplied as the precision says."""
    return jax.default_matmul_precision("default" if precision == "tf32" else "float32")


def biased(x: Float[Array, "*batch unit"], bias: Float[Array, "*unit"]) -> Float[Array, "*batch unit"]:
    """Adds a bias to every example of a batch.

    Its gradient, a sum over all of them, is summed in float32: a long sum in bfloat16 stops growing.
    """
    return (x.astype(jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)
