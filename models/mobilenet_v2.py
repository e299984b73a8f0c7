"""MobileNetV2: config, stage table, network, and the folding of its batch norm for frozen use.

Its layers bear Keras's names; these are the address book between weight files, parameters and tests.

Stages at width 1.0 and 224 x 224 pixels: n blocks with expansion t and c output channels, the first with stride s.

| layer             | blocks | t | c    | n | s | output (height x width x channel) |
|-------------------|--------|---|------|---|---|-----------------------------------|
| Conv1, 3 x 3      | stem   |   | 32   | 1 | 2 | 112 x 112 x 32                    |
| inverted residual | 0      | 1 | 16   | 1 | 1 | 112 x 112 x 16                    |
| inverted residual | 1-2    | 6 | 24   | 2 | 2 | 56 x 56 x 24                      |
| inverted residual | 3-5    | 6 | 32   | 3 | 2 | 28 x 28 x 32                      |
| inverted residual | 6-9    | 6 | 64   | 4 | 2 | 14 x 14 x 64                      |
| inverted residual | 10-12  | 6 | 96   | 3 | 1 | 14 x 14 x 96                      |
| inverted residual | 13-15  | 6 | 160  | 3 | 2 | 7 x 7 x 160                       |
| inverted residual | 16     | 6 | 320  | 1 | 1 | 7 x 7 x 320                       |
| Conv_1, 1 x 1     | last   |   | 1280 | 1 | 1 | 7 x 7 x 1280                      |

Source: Sandler et al. 2018, table 2; names, rounding of widths, padding, batch norm and ReLU6 as in
keras/src/applications/mobilenet_v2.py (Keras 3). Every side of length n becomes ceil(n / 2) at stride 2.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models import conv_cpu, convolution
from models.depthwise import SIZE, depthwise
from models.layers import INITIALIZERS, BatchNorm, Dense, Layer, Mode, Row, Shape, parameter_count
from models.options import choice, flag, positive

WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
SMALLEST_PX = 32
MOMENTUM = 0.999
# On a CPU a step takes as many images at a time as keep its widest array in a core's second cache, 2**18 values being a
# megabyte, and at most 16. That took 0.8 of the time of eight images through all steps at 96 x 96.
CHUNK, CHUNK_VALUES = 16, 2**18
STEM, BLOCKS, LAST, TOP = -1, range(17), 17, 18
# Expansion, channels at width 1, blocks, stride of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

Images = Float[Array, "batch height width channel"]


@dataclasses.dataclass(frozen=True)
class MobileNetV2Config:
    """Describes a MobileNetV2.

    Attributes:
      width: multiplier of the channels, one of `WIDTHS`.
      top: whether it ends in global average pooling and a dense layer, `predictions`.
      classes: of the top.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.
    """

    width: float = 1.0
    top: bool = False
    classes: int = 1000

    def __post_init__(self) -> None:
        choice("width", self.width if isinstance(self.width, float) else repr(self.width), WIDTHS)
        flag("top", self.top)
        positive("classes", self.classes)


class Block(NamedTuple):
    """An inverted residual block: a 1 x 1 convolution to `expanded` channels, depthwise 3 x 3, 1 x 1 to `filters`."""

    number: int
    channels: int
    expanded: int
    filters: int
    stride: int

    @property
    def name(self) -> str:
        return f"block_{self.number}" if self.number else "expanded_conv"

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.channels == self.filters


def blocks(width: float) -> list[Block]:
    """Lists the 17 blocks at this width."""
    found: list[Block] = []
    channels = _divisible(32 * width)
    for expansion, filters, count, first_stride in _STAGES:
        for stride in (first_stride, *(1,) * (count - 1)):
            found.append(Block(len(found), channels, expansion * channels, _divisible(int(filters * width)), stride))
            channels = found[-1].filters
    return found


def last_filters(width: float) -> int:
    """Counts the channels of the feature map; widths below 1 leave them at 1280."""
    return _divisible(1280 * max(width, 1.0))


def _divisible(channels: float) -> int:
    """Rounds to a multiple of 8, at least 8, without losing more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def block_of(path: Sequence[Any]) -> int:
    """Says which block a parameter belongs to: `STEM`, 0 to 16, `LAST` or `TOP`, which is their order.

    Args:
      path: to the parameter, the name of its Keras layer among the parts: ("layers", "block_3_expand", "kernel").

    Raises:
      ValueError: if no part names a layer.
    """
    outside = {"Conv1": STEM, "bn_Conv1": STEM, "Conv_1": LAST, "Conv_1_bn": LAST, "predictions": TOP}
    for part in map(str, path):
        if part in outside:
            return outside[part]
        if found := re.fullmatch(r"(?:expanded_conv|block_(\d+))_(?:expand|depthwise|project)(?:_BN)?", part):
            return int(found[1] or 0)
    raise ValueError(f"no part of {'/'.join(map(str, path))} names a layer of MobileNetV2")


class Conv(nnx.Module):
    """Convolution with zero padding ("SAME"), 1 x 1 or, in the stem, 3 x 3; a bias only where batch norm is folded.

    Attributes:
      kernel: [size, size, channel, filter].
    """

    def __init__(self, kernel: Array, bias: Array | None = None, stride: int = 1):
        self.kernel, self.stride = nnx.Param(kernel), stride
        self.bias = nnx.data(None if bias is None else nnx.Param(bias))

    def __call__(self, x: Array, mode: Mode) -> Array:
        kernel = self.kernel[...].astype(x.dtype)
        x = x @ kernel[0, 0] if len(kernel) == 1 else convolution.conv_max_pool(x, kernel, "same", self.stride)
        return x if self.bias is None else x + self.bias[...].astype(x.dtype)

    def rows(self, input_shape: Shape) -> list[Row]:
        height, width = (-(-side // self.stride) for side in input_shape[:2])
        filters = self.kernel.shape[3]
        return [Row("conv", (height, width, filters), parameter_count(self),
                    height * width * math.prod(self.kernel.shape))]


class Depthwise(nnx.Module):
    """Depthwise 3 x 3 convolution with zero padding ("SAME"); a bias only where batch norm is folded.

    Attributes:
      kernel: [3, 3, channel, 1].
    """

    def __init__(self, kernel: Array, bias: Array | None = None, stride: int = 1):
        self.kernel, self.stride = nnx.Param(kernel), stride
        self.bias = nnx.data(None if bias is None else nnx.Param(bias))

    def __call__(self, x: Array, mode: Mode) -> Array:
        x = depthwise(x, self.kernel[...], self.stride)
        return x if self.bias is None else x + self.bias[...].astype(x.dtype)

    def rows(self, input_shape: Shape) -> list[Row]:
        height, width = (-(-side // self.stride) for side in input_shape[:2])
        return [Row("depthwise", (height, width, input_shape[2]), parameter_count(self),
                    height * width * self.kernel.size)]


class Step(NamedTuple):
    """A part of the network between two points where nothing runs beside it.

    Attributes:
      block: what `block_of` gives for its parameters.
      output: name of the Keras layer that has the same output.
      layers: names of its layers, in order.
      channels: of its widest array.
      stride: of the first layer that has one.
      apply: maps (x, mode) to the output.
    """

    block: int
    output: str
    layers: tuple[str, ...]
    channels: int
    stride: int
    apply: Callable[[Array, Mode], Array]


class Backbone(nnx.Module):
    """MobileNetV2 up to its feature map, and the top's classifier if the config has one.

    Attributes:
      layers: the layers that have weights, by Keras's names; batch norm is absent where it is folded.
      names: of the layers, in order, which Flax does not keep.
    """

    def __init__(self, config: MobileNetV2Config, layers: Mapping[str, Layer]):
        self.config = config
        self.layers, self.names = nnx.data(dict(layers)), tuple(layers)

    def __call__(self, images: Images, mode: Mode, train_from: int = STEM) -> Images:
        """Maps images, scaled to [-1, 1], to the feature map: height and width are the images' over 32, rounded up.

        Args:
          images: at least 32 pixels high and wide.
          mode: how to run the blocks that are trained.
          train_from: blocks before this one run as in inference, whatever the mode: their batch norm uses the running
            statistics and leaves them alone.

        Raises:
          ValueError: if the images are too small.
        """
        _check_size(images.shape[1:])
        first = train_from if mode.train else TOP
        steps = self.steps()
        x = through([step for step in steps if step.block < first], images)
        for step in steps:
            if step.block >= first:
                x = step.apply(x, mode)
        return x

    def logits(self, images: Images, mode: Mode) -> Float[Array, "batch class"]:
        """Maps images, scaled to [-1, 1], to the top's unnormalised scores."""
        return self.layers["predictions"](pooled(self(images, mode)), mode)

    def steps(self) -> list[Step]:
        """Lists the stem, the blocks and the last convolution in order."""
        table = blocks(self.config.width)
        return [Step(STEM, "Conv1_relu", ("Conv1",), table[0].channels, 2, self._stem),
                *(Step(block.number, f"{block.name}_{'add' if block.residual else 'project_BN'}",
                       tuple(f"{block.name}_{part}" for part in ("expand", "depthwise", "project")[not block.number:]),
                       block.expanded, block.stride, functools.partial(self._block, block)) for block in table),
                Step(LAST, "out_relu", ("Conv_1",), last_filters(self.config.width), 1, self._last)]

    def _normalised(self, name: str, x: Array, mode: Mode) -> Array:
        x = self.layers[name](x, mode)
        return self.layers[norm_of(name)](x, mode) if norm_of(name) in self.layers else x

    def _stem(self, x: Array, mode: Mode) -> Array:
        return jax.nn.relu6(self._normalised("Conv1", x, mode))

    def _block(self, block: Block, x: Array, mode: Mode) -> Array:
        inputs = x
        if block.number:
            x = jax.nn.relu6(self._normalised(f"{block.name}_expand", x, mode))
        x = jax.nn.relu6(self._normalised(f"{block.name}_depthwise", x, mode))
        x = self._normalised(f"{block.name}_project", x, mode)
        return inputs + x if block.residual else x

    def _last(self, x: Array, mode: Mode) -> Array:
        return jax.nn.relu6(self._normalised("Conv_1", x, mode))

    def rows(self, input_shape: Shape) -> list[Row]:
        """Describes each layer that has weights, under its Keras name.

        Raises:
          ValueError: if the images are too small.
        """
        _check_size(input_shape)
        rows: list[Row] = []
        for name in self.names:
            shape = rows[-1].output_shape if rows else input_shape
            rows += [row._replace(name=name) for row in self.layers[name].rows(shape)]
        return rows


def _check_size(shape: Shape) -> None:
    if min(shape[:2]) < SMALLEST_PX:
        raise ValueError(f"images of {shape[0]} x {shape[1]} are too small for MobileNetV2: it needs "
                         f"{SMALLEST_PX} x {SMALLEST_PX} pixels or more")


def through(steps: Sequence[Step], images: Images) -> Images:
    """Applies steps in order, as in inference: batch norm uses its running statistics."""
    def apply(steps: Sequence[Step], x: Array) -> Array:
        return functools.reduce(lambda x, step: step.apply(x, Mode()), steps, x)

    if jax.default_backend() != "cpu":
        return apply(steps, images)
    # Without batch statistics images do not meet, so each step may take as few at a time as suit it.
    groups = _by_images_at_once(steps, images.shape)

    def in_groups(x: Array) -> Array:
        for most, together in groups:
            x = conv_cpu.in_chunks(functools.partial(apply, together), x, most)
        return x

    return conv_cpu.in_chunks(in_groups, images, CHUNK)


def _by_images_at_once(steps: Sequence[Step], shape: Shape) -> list[tuple[int, list[Step]]]:
    """Groups neighbouring steps by how many images each takes at a time."""
    height, width = shape[1:3]
    groups: list[tuple[int, list[Step]]] = []
    for step in steps:
        after = -(-height // step.stride), -(-width // step.stride)
        # A block expands before its stride; the stem has nothing before it.
        pixels = math.prod(after) if step.block == STEM else height * width
        most = max(1, min(CHUNK, CHUNK_VALUES // (pixels * step.channels)))
        most = 2 ** int(math.log2(most))  # a divisor of the images that come in
        if groups and groups[-1][0] == most:
            groups[-1][1].append(step)
        else:
            groups.append((most, [step]))
        height, width = after
    return groups


def norm_of(name: str) -> str:
    """Names the batch norm after this convolution."""
    return {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(name, f"{name}_BN")


def pooled(features: Images) -> Float[Array, "batch channel"]:
    """Averages a feature map over height and width."""
    return features.astype(jnp.float32).mean((1, 2)).astype(features.dtype)


def build(config: MobileNetV2Config, rngs: nnx.Rngs) -> Backbone:
    """Builds the network with fresh parameters, drawn as Keras draws them (Glorot, uniform)."""
    layers: dict[str, Any] = {}

    def add(make: Callable[..., Conv | Depthwise], name: str, shape: Shape, stride: int = 1) -> None:
        layers[name] = make(INITIALIZERS["glorot_uniform"]()(rngs.params(), shape), stride=stride)
        layers[norm_of(name)] = BatchNorm(shape[2] if make is Depthwise else shape[3], MOMENTUM)

    table = blocks(config.width)
    add(Conv, "Conv1", (SIZE, SIZE, 3, table[0].channels), stride=2)
    for block in table:
        if block.number:
            add(Conv, f"{block.name}_expand", (1, 1, block.channels, block.expanded))
        add(Depthwise, f"{block.name}_depthwise", (SIZE, SIZE, block.expanded, 1), block.stride)
        add(Conv, f"{block.name}_project", (1, 1, block.expanded, block.filters))
    features = last_filters(config.width)
    add(Conv, "Conv_1", (1, 1, table[-1].filters, features))
    if config.top:
        layers["predictions"] = Dense(features, config.classes, None, "glorot_uniform", rngs)
    return Backbone(config, layers)


def fold(backbone: Backbone) -> Backbone:
    """Gives a backbone that computes the same in inference, with batch norm folded into the convolutions before it."""
    folded: dict[str, Any] = {}
    for name in backbone.names:
        layer: Any = backbone.layers[name]
        norm = backbone.layers.get(norm_of(name))
        if isinstance(layer, Conv | Depthwise) and isinstance(norm, BatchNorm):
            factor, bias = norm.affine(norm.mean[...], norm.variance[...])
            per_filter = factor[:, None] if isinstance(layer, Depthwise) else factor
            layer = type(layer)(layer.kernel[...] * per_filter, bias, layer.stride)
        if not isinstance(layer, BatchNorm):
            folded[name] = layer
    return Backbone(backbone.config, folded)
