"""What a network computes, written down: so two networks are compared without training either."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from models import plain
from models.layers import Mode, Shape


def abstract(build: Callable[[], nnx.Module]) -> nnx.Module:
    """Builds a network of shapes and types, allocating nothing.

    Its structure passes jax by: that compares structures, which arrays and numpy's numbers among them do not stand.
    """
    graphs = []

    def state() -> Any:
        graph, state = nnx.split(build())
        graphs.append(graph)
        return state

    described = jax.eval_shape(state)
    return nnx.merge(graphs[0], described)


def text(network: nnx.Module, input_shape: Shape) -> str:
    """Writes down what a network computes in training, with its gradient, and in evaluation.

    It is equal for two networks that can share a compiled program: every number that is not in a variable is a part of
    it, also where it is in an array, or is read in the backward pass or in evaluation alone.
    """
    graph, params, *rest = plain.split(network)

    def objective(params: Any, rest: Any, images: Array) -> tuple[Array, Any]:
        network = nnx.merge(graph, params, *rest, copy=True)
        logits = plain.forward(network, images, Mode(True, jax.random.key(0)))
        return jnp.sum(logits ** 2) + plain.penalty(network), plain.statistics(network)

    def run(params: Any, rest: Any, images: Array) -> Any:
        evaluated = plain.forward(nnx.merge(graph, params, *rest, copy=True), images, Mode())
        return jax.value_and_grad(objective, has_aux=True)(params, rest, images), evaluated

    traced = jax.make_jaxpr(run)(params, rest, jax.ShapeDtypeStruct((2, *input_shape), jnp.float32))
    return "\n".join([re.sub(r"0x[0-9a-f]+", "", str(traced)), *map(_digest, _constants(traced))])  # no addresses


def _constants(program: Any) -> Iterator[Any]:
    """Lists the arrays that a program has in it, which its text gives a name and no values."""
    yield from getattr(program, "consts", ())
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in equation.params.values():
            for item in value if isinstance(value, list | tuple) else [value]:
                if hasattr(getattr(item, "jaxpr", item), "eqns"):
                    yield from _constants(item)


def _digest(constant: Any) -> str:
    is_key = jnp.issubdtype(constant.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(constant) if is_key else constant)
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
