"""The layers that the families are built from: what Flax lacks, and each layer's row in the layer table.

Every layer maps `(x, mode) -> x`, so a network is a list of layers.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from models import convolution
from models.convolution import max_pool
from models.precision import biased
from models.product import product
from models.random_bits import bits16

Shape = tuple[int, ...]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "elu": jax.nn.elu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False)}  # exact, as in Keras and PyTorch
# A maximum may be taken before these: they never fall, so the order changes no value, and fewer values pass through.
_MONOTONE = ("relu", "tanh", "sigmoid", "elu")
INITIALIZERS = {
    "glorot_uniform": jax.nn.initializers.glorot_uniform, "glorot_normal": jax.nn.initializers.glorot_normal,
    "he_uniform": jax.nn.initializers.he_uniform, "he_normal": jax.nn.initializers.he_normal,
    "lecun_normal": jax.nn.initializers.lecun_normal}


class Row(NamedTuple):
    """One line of a model's layer table; shapes and counts are per example.

    Attributes:
      kind: "dense", "conv", "max_pool" and so on.
      macs: multiply-accumulate operations of the forward pass.
      frozen: whether training leaves it as it is.
      beforehand: whether its outputs are computed before training, so that no training program has it.
      name: its own in the network, which gives it.
    """

    kind: str
    output_shape: Shape
    parameters: int
    macs: int
    frozen: bool = False
    beforehand: bool = False
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Mode:
    """How a forward pass runs.

    Attributes:
      train: whether dropout drops and batch norm uses and updates batch statistics.
      key: randomness for dropout; needed when training a model that has any.
      mask: which examples are real, [batch]; the rest are padding and enter no statistics. None: all are.
      axis_name: mesh axis that the batch is split over; statistics cover the whole of it.
      places: where in the whole batch each example stands, [batch]: what is drawn for it follows from that, and not
        from how the batch is split. None: from 0 on.
    """

    train: bool = False
    key: Array | None = None
    mask: Bool[Array, " batch"] | None = None
    axis_name: str | None = None
    places: UInt32[Array, " batch"] | None = None


class Traced(nnx.Variable):
    """A hyperparameter inside the model that is traced: changing its value compiles nothing anew."""


class Added(nnx.Param):
    """A parameter that is added and multiplies nothing, whatever its dimensions; decay of matrices leaves it alone."""


class Layer(Protocol):
    """What a family may put into its list of layers."""

    def __call__(self, x: Array, mode: Mode) -> Array: ...

    def rows(self, input_shape: Shape) -> list[Row]:
        """Describes the layer for an input of this shape, without the batch."""
        ...


class Flatten(nnx.Module):
    """Lays each example's values out in one row."""

    def __call__(self, x: Array, mode: Mode) -> Array:
        return x.reshape(x.shape[0], -1)

    def rows(self, input_shape: Shape) -> list[Row]:
        return []  # moves nothing and stores nothing


class Dense(nnx.Module):
    """Fully connected layer and its activation; None leaves the scores as they are.

    It has no bias where batch norm follows at once, which has its own. Scores are float32 whatever the layers before
    compute in: with the eight bits of bfloat16, classes would tie.
    """

    def __init__(self, inputs: int, units: int, activation: str | None, initializer: str, rngs: nnx.Rngs, *,
                 bias: bool = True):
        self.kernel = nnx.Param(INITIALIZERS[initializer]()(rngs.params(), (inputs, units)))
        self.bias = nnx.Param(jnp.zeros(units)) if bias else None
        self.activation = activation

    def __call__(self, x: Array, mode: Mode) -> Array:
        if self.activation is None and self.bias is not None:
            x = x.astype(jnp.float32)
        x = product(x, self.kernel[...].astype(x.dtype))
        x = x if self.bias is None else biased(x, self.bias[...])
        return x if self.activation is None else ACTIVATIONS[self.activation](x)

    def rows(self, input_shape: Shape) -> list[Row]:
        inputs, units = self.kernel.shape
        return [Row("dense", (units,), parameter_count(self), inputs * units)]


class ConvPool(nnx.Module):
    """Convolution, activation (None: none), and max pooling over `window` x `window` (1: none).

    It has no bias where batch norm follows at once, which has its own.
    """

    def __init__(self, channels: int, filters: int, size: int, padding: str, window: int, activation: str | None,
                 initializer: str, rngs: nnx.Rngs, *, stride: int = 1, bias: bool = True):
        self.kernel = nnx.Param(INITIALIZERS[initializer]()(rngs.params(), (size, size, channels, filters)))
        self.bias = nnx.Param(jnp.zeros(filters)) if bias else None
        self.padding, self.window, self.activation, self.stride = padding, window, activation, stride

    def __call__(self, x: Array, mode: Mode) -> Array:
        last = self.activation not in (None, *_MONOTONE)  # whether pooling must wait for the activation
        x = convolution.conv_max_pool(x, self.kernel[...], self.padding, self.stride, 1 if last else self.window)
        x = x if self.bias is None else biased(x, self.bias[...])
        x = x if self.activation is None else ACTIVATIONS[self.activation](x)
        return max_pool(x, self.window) if last else x

    def rows(self, input_shape: Shape) -> list[Row]:
        size, _, _, filters = self.kernel.shape
        height, width = (along(side, size, self.padding, self.stride) for side in input_shape[:2])
        convolved = Row("conv", (height, width, filters), parameter_count(self),
                        height * width * math.prod(self.kernel.shape))
        return [convolved, *_pooled(self.window, convolved.output_shape)]


def along(side: int, size: int, padding: str, stride: int) -> int:
    """Counts the outputs of a convolution along one side of its input."""
    return -(-(side if padding == "same" else side - size + 1) // stride)


def _pooled(window: int, shape: Shape) -> list[Row]:
    if window == 1:
        return []
    height, width, channels = shape
    return [Row("max_pool", (height // window, width // window, channels), 0, 0)]


class Activation(nnx.Module):
    """An activation by itself, as after batch norm, then max pooling over `window` x `window` (1: none)."""

    def __init__(self, name: str, window: int = 1):
        self.name, self.window = name, window

    def __call__(self, x: Array, mode: Mode) -> Array:
        first, then = ACTIVATIONS[self.name], functools.partial(max_pool, window=self.window)
        return first(then(x)) if self.name in _MONOTONE else then(first(x))

    def rows(self, input_shape: Shape) -> list[Row]:
        return _pooled(self.window, input_shape)


class GlobalAverage(nnx.Module):
    """Takes the mean of each channel over the image."""

    def __call__(self, x: Array, mode: Mode) -> Array:
        return x.mean((1, 2))

    def rows(self, input_shape: Shape) -> list[Row]:
        return [Row("global_average", input_shape[-1:], 0, 0)]


class BatchNorm(nnx.Module):
    """Batch normalisation over all but the channel axis, exact under padding and over devices.

    `nnx.BatchNorm` averages the devices' means, which is wrong when padding leaves them unequal numbers of examples.
    The running statistics keep `momentum` of themselves at each step; epsilon is 1e-3.

    Source: Ioffe and Szegedy 2015, alg. 1; momentum and epsilon as in Keras's BatchNormalization.
    """

    def __init__(self, channels: int, momentum: float = 0.99):
        self.momentum = momentum
        self.scale, self.bias = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))
        self.mean, self.variance = nnx.BatchStat(jnp.zeros(channels)), nnx.BatchStat(jnp.ones(channels))

    def __call__(self, x: Array, mode: Mode) -> Array:
        mean, variance = self.mean[...], self.variance[...]
        if mode.train:
            mean, variance = _moments(x.astype(jnp.float32), mode)
            for running, batch in ((self.mean, mean), (self.variance, variance)):
                running[...] = self.momentum * running[...] + (1 - self.momentum) * lax.stop_gradient(batch)
        factor, offset = self.affine(mean, variance)
        return (x * factor + offset).astype(x.dtype)

    def affine(self, mean: Float[Array, " channel"], variance: Float[Array, " channel"]) -> tuple[Array, Array]:
        """Gives the factor and offset per channel that normalising by these statistics amounts to."""
        factor = self.scale[...] * lax.rsqrt(variance + 1e-3)
        return factor, self.bias[...] - mean * factor

    def rows(self, input_shape: Shape) -> list[Row]:
        return [Row("batch_norm", input_shape, parameter_count(self), 0)]


def _moments(x: Float[Array, "batch *space channel"], mode: Mode) -> tuple[Array, Array]:
    """Takes the mean and biased variance per channel over the real examples of all devices."""
    mask = jnp.ones(x.shape[0]) if mode.mask is None else mode.mask.astype(x.dtype)

    def over_devices(sums: Any) -> Any:
        return lax.psum(sums, mode.axis_name) if mode.axis_name else sums

    def summed(values: Float[Array, "batch *space channel"]) -> Float[Array, " channel"]:
        # Over space first: of the mask, as large as the values, a CPU would write copies.
        return (values.sum(tuple(range(1, x.ndim - 1))) * mask[:, None]).sum(0)

    total, examples = over_devices((summed(x), mask.sum()))
    count = examples * math.prod(x.shape[1:-1])
    mean = total / count
    # Around the mean itself: a mean of squares less a squared mean loses all digits where the mean is large. The mean
    # is held constant here, since the variance's derivative by it is zero.
    spread = over_devices(summed(jnp.square(x - lax.stop_gradient(mean))))
    return mean, spread / count


class Dropout(nnx.Module):
    """Zeroes each value with probability `rate` and scales the rest by 1 / (1 - rate); the rate is traced.

    The draw compares 16 random bits with the rate, so the rate used is within 2**-17 of the one asked for.

    Source: Srivastava et al. 2014, in its inverted form.
    """

    def __init__(self, rate: float, index: int):
        self.rate = Traced(jnp.float32(rate))
        self.index = index  # its place in the network: every dropout draws from a key of its own

    def __call__(self, x: Array, mode: Mode) -> Array:
        if not mode.train:
            return x
        if mode.key is None:
            raise ValueError("a model with dropout needs Mode(key=...) in training")
        places = jnp.arange(len(x), dtype=jnp.uint32) if mode.places is None else mode.places
        bits = bits16(jax.random.fold_in(mode.key, self.index), places, math.prod(x.shape[1:])).reshape(x.shape)
        threshold = jnp.round(self.rate[...] * 2**16).clip(max=2**16 - 1).astype(jnp.uint32)
        kept = 1 - threshold / 2**16  # the keep rate the draw really has, so the expectation is exact
        return jnp.where(bits >= threshold, x * (1 / kept), 0).astype(x.dtype)

    def rows(self, input_shape: Shape) -> list[Row]:
        return [Row("dropout", input_shape, 0, 0)]


class Penalty(nnx.Module):
    """Sums strength * |w| and strength * w**2 over kernels and biases; an absent strength costs nothing.

    Added to the loss as it stands, so L2 0.01 means 0.01 * sum(w**2), as in Keras's regularizers.
    """

    def __init__(self, l1_kernel: float, l2_kernel: float, l1_bias: float, l2_bias: float):
        strengths = {"l1_kernel": l1_kernel, "l2_kernel": l2_kernel, "l1_bias": l1_bias, "l2_bias": l2_bias}
        self.strengths = nnx.data({name: Traced(jnp.float32(value)) for name, value in strengths.items() if value})

    def __call__(self, layers: Sequence[nnx.Module]) -> Float[Array, ""]:
        total = jnp.zeros(())
        for name, strength in self.strengths.items():
            kind, target = name.split("_")
            size = jnp.abs if kind == "l1" else jnp.square
            for layer in layers:
                weights = nnx.to_flat_state(nnx.state(layer, nnx.Param))
                total += strength[...] * sum(size(leaf[...]).sum() for path, leaf in weights if path[-1] == target)
        return total


def parameter_count(module: nnx.Module) -> int:
    """Counts trainable parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


class Network(nnx.Module):
    """A list of layers with its penalty: what every family builds.

    Attributes:
      layers: applied in order; the last gives the logits.
    """

    def __init__(self, layers: Sequence[Layer], penalty: Penalty):
        self.layers = nnx.List(layers)
        self.penalty_terms = penalty

    def __call__(self, images: Float[Array, "batch height width channel"], mode: Mode = Mode()
                 ) -> Float[Array, "batch class"]:
        """Maps images, scaled to [0, 1], to logits."""
        for layer in self.layers:
            images = layer(images, mode)
        return images

    def penalty(self) -> Float[Array, ""]:
        """Sums the penalties of the hidden dense and convolution layers; the classifier has none."""
        return self.penalty_terms([layer for layer in self.layers[:-1] if isinstance(layer, Dense | ConvPool)])

    def rows(self, input_shape: Shape) -> list[Row]:
        """Describes each layer in order, with names made unique by their number."""
        rows: list[Row] = []
        for layer in self.layers:
            rows += layer.rows(rows[-1].output_shape if rows else input_shape)
        return [row._replace(name=f"{row.name or row.kind}_{number}") for number, row in enumerate(rows, start=1)]
