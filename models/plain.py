"""Networks as they are run, whoever wrote them: plain Flax NNX modules, and those that take a `Mode`.

A plain module is called as `network(images)`, in the state that its `train()` and `eval()` set, with its streams of
randomness set anew for each call. A `Mode` is given to a network whose `__call__` has a parameter of that name.
"""

import inspect
import pathlib
import traceback
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models import convolution
from models.layers import Mode, Shape, Traced
from models.precision import number_type

# What is neither trained, nor traced, nor random: batch statistics, counters, constants.
_STATISTICS = nnx.All(*(nnx.Not(kind) for kind in (nnx.Param, Traced, nnx.RngState, nnx.Intermediate)))


def built(config: Any, num_classes: int, input_shape: Shape, rngs: nnx.Rngs, **given: Any) -> nnx.Module:
    """Builds the network of a config.

    Args:
      num_classes: width of the logits.
      input_shape: (height, width, channel) of an image, or (feature,).
      rngs: its stream `params` draws the parameters, its default stream whatever else is drawn.
      given: what else the config's `build` takes, such as a backbone.

    Raises:
      ValueError: in one line, if `build` refuses the images, fails, or returns something else than a network.
    """
    name = type(config).__name__
    try:
        network = config.build(num_classes, input_shape, rngs=rngs, **given)
    except ValueError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise ValueError(f"{name}.build fails with {told(error)}") from error
    if not isinstance(network, nnx.Module):
        hint = "; write the class as an nnx.Module" if "flax.linen" in str(type(network).__mro__) else ""
        raise ValueError(f"{name}.build must return its network, an nnx.Module of flax.nnx, not "
                         f"{' '.join(repr(network).split()):.100}{hint}")
    nnx.pop(network, nnx.Intermediate)
    return network


def split(network: nnx.Module) -> tuple[Any, Any, Any, Any, Any]:
    """Takes a network apart: structure, parameters, statistics, traced values, streams of randomness."""
    parts: Any = nnx.split(network, nnx.Param, Traced, nnx.RngState, ...)
    graph, params, traced, streams, statistics = parts
    return graph, params, statistics, traced, streams


def statistics(network: nnx.Module) -> Any:
    """Takes what a forward pass in training leaves behind, beside the parameters."""
    return nnx.state(network, _STATISTICS)


def takes_mode(network: nnx.Module) -> bool:
    """Whether the network is told how to run by a `Mode`, with which examples are padding."""
    return "mode" in inspect.signature(type(network).__call__).parameters


def needs_whole_batches(network: nnx.Module) -> bool:
    """Whether examples may be neither padded nor split over devices: that would change statistics, or what is drawn.

    Flax's own batch norm does not ask which examples are real, nor what draws from its streams where each stands.
    """
    return not takes_mode(network) or bool(jax.tree.leaves(nnx.state(network, nnx.RngState))) or any(
        isinstance(module, nnx.BatchNorm) for _, module in nnx.iter_modules(network))


def forward(network: nnx.Module, images: Float[Array, "batch height width channel"], mode: Mode
            ) -> Float[Array, "batch class"]:
    """Maps images, scaled to [0, 1], to logits; in training, the network's statistics are brought up to date.

    Raises:
      ValueError: if a network that draws at random is to train without a key.
    """
    _reseed(network, mode)
    if mode.train:
        network.train()
    else:
        network.eval()
    apply: Any = network
    return apply(images, mode) if takes_mode(network) else apply(images)


def penalty(network: Any) -> Float[Array, ""]:
    """Gives what the network adds to the loss by its method `penalty`; zero if it has none."""
    return network.penalty() if callable(getattr(network, "penalty", None)) else jnp.zeros(())


def check(network: nnx.Module, num_classes: int, input_shape: Shape, precision: str = "float32") -> None:
    """Runs the network on shapes alone, in training and in evaluation, allocating nothing.

    Raises:
      ValueError: in one line, if it fails, gives no logits, or changes the form of its own state.
    """
    name = type(network).__name__
    _check_arguments(network)
    graph, state = nnx.split(network)
    images = jax.ShapeDtypeStruct((2, *input_shape), number_type(precision))
    kept: list[Any] = []

    def run(state: Any, images: Array, train: bool) -> Any:
        network = nnx.merge(graph, state, copy=True)
        kept.append(_forms(statistics(network)))
        logits = forward(network, images, Mode(train, jax.random.key(0)))
        kept.append(_forms(statistics(network)))
        return logits

    for train in (True, False):
        try:
            logits = jax.eval_shape(lambda state, images, train=train: run(state, images, train), state, images)
        except Exception as error:  # a stranger's code may raise anything
            shape = " x ".join(map(str, input_shape))
            raise ValueError(f"{name} fails on inputs of {shape} in {'training' if train else 'evaluation'} with "
                             f"{told(error)}") from error
        found = getattr(logits, "shape", None)
        if found != (2, num_classes) or not jnp.issubdtype(logits.dtype, jnp.floating):
            raise ValueError(f"{name} must give logits of shape (batch, {num_classes}) for {num_classes} classes; for "
                             f"a batch of 2 it gives {_form(logits)}")
    if kept[0] != kept[1]:
        raise ValueError(f"{name} adds to its state, or changes its shapes or types, when it is called in training: "
                         "make all of it in __init__")


# What Linen and Keras have a caller say of each call, and Flax NNX keeps in the modules.
_TRAINING = ("train", "training", "is_training", "deterministic", "use_running_average")


def _check_arguments(network: nnx.Module) -> None:
    """Refuses a network whose call waits to be told of training: by its default it would always run in one way."""
    called = type(network.to_nnx__module if isinstance(network, nnx.bridge.ToNNX) else network)
    for name, parameter in inspect.signature(called.__call__).parameters.items():
        if name in _TRAINING and parameter.default is not None:
            raise ValueError(f"{called.__name__} takes {name}, which nobody gives it: leave it out; network.train() "
                             "and network.eval() are called, which nnx.Dropout and nnx.BatchNorm go by")


def faster_convolutions(network: nnx.Module) -> list[str]:
    """Names the layers that `models.Conv` would compute faster on this platform."""
    return [".".join(map(str, path)) for path, module in nnx.iter_modules(network)
            if isinstance(module, nnx.Conv) and convolution.has_faster_form(module)]


def told(error: Exception) -> str:
    """Says an error in one line, with the last place outside of installed packages that it comes from."""
    lines = str(error).strip().splitlines() or [""]
    packages = pathlib.Path(flax.__file__).parents[1]
    places = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not pathlib.Path(frame.filename).is_relative_to(packages) and frame.filename != __file__]
    where = f" ({pathlib.Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {lines[0]}{where}"


def _reseed(network: nnx.Module, mode: Mode) -> None:
    """Starts every stream from a key of its own: what is drawn follows from the mode's key and the stream's place."""
    streams = nnx.state(network, nnx.RngState)
    flat = nnx.to_flat_state(streams)
    if not flat:
        return
    if mode.train and mode.key is None:
        raise ValueError("a network that draws at random needs Mode(key=...) in training")
    key = jax.random.key(0, impl="threefry2x32") if mode.key is None else mode.key
    fresh = []
    for number, (path, variable) in enumerate(flat):
        value = jnp.zeros(variable.shape, jnp.uint32)
        if isinstance(variable, nnx.RngKey):
            own = jax.random.fold_in(key, number)
            value = jax.random.split(own, variable.shape) if variable.shape else own
        fresh.append((path, variable.replace(value)))
    nnx.update(network, nnx.from_flat_state(fresh))


def _forms(tree: Any) -> Any:
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in map(jnp.asarray, jax.tree.leaves(tree))]


def _form(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
