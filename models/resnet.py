"""Residual networks for small images, and wide ones: three stages of blocks of two convolutions."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import (
    ACTIVATIONS,
    INITIALIZERS,
    Activation,
    BatchNorm,
    ConvPool,
    Dense,
    Dropout,
    GlobalAverage,
    Layer,
    Mode,
    Network,
    Penalty,
    Row,
    Shape,
)
from models.options import choice, flag, fraction, positive, traced

STAGES = (16, 32, 64)


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """Describes a residual network as it is built for CIFAR; the default is ResNet-20, of 0.27 million parameters.

    A convolution of 16 filters, then three stages of blocks of two 3 x 3 convolutions with 16, 32 and 64 filters, the
    second and third of which begin with stride 2, then the global average and the classifier. Convolutions have no
    bias, since batch norm follows each or, with `pre_activation`, stands before it. WRN-28-10 is depth=28, width=10,
    pre_activation=True, shortcut="projection".

    Attributes:
      depth: 6 n + 2 for n blocks a stage, as 8, 14, 20, 32, 44, 56, 110; or 6 n + 4, as 16, 22, 28, 40, which is how
        wide networks are counted.
      width: what the stages' filters are multiplied by.
      pre_activation: whether batch norm and activation stand before the convolutions, not after them.
      shortcut: where a block changes its input's shape: "pad" takes every second pixel and adds channels of zeros (He's
        option A); "projection" is a 1 x 1 convolution (option B), with batch norm behind it unless `pre_activation`.
      activation: of all blocks.
      dropout: rate between the two convolutions of each block.
      initializer: of the kernels.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.

    Source: He et al. 2016, "Deep Residual Learning", sec. 4.2; He et al. 2016, "Identity Mappings", fig. 4e; Zagoruyko
      and Komodakis 2016, table 1. Batch norm's momentum and epsilon are those of `models.layers.BatchNorm`.
    """

    depth: int = 20
    width: int = 1
    pre_activation: bool = False
    shortcut: str = "pad"
    activation: str = "relu"
    dropout: float = traced(0.0)
    initializer: str = "he_normal"

    def __post_init__(self) -> None:
        positive("depth", self.depth)
        if self.depth < 8 or self.depth % 6 not in (2, 4):
            raise ValueError("depth must be 6 n + 2 or 6 n + 4 for n blocks a stage, such as 8, 14, 20, 32, 56, 110, "
                             f"or 16, 22, 28, 40; not {self.depth}")
        positive("width", self.width)
        flag("pre_activation", self.pre_activation)
        choice("shortcut", self.shortcut, ("pad", "projection"))
        choice("activation", self.activation, ACTIVATIONS)
        fraction("dropout", self.dropout)
        choice("initializer", self.initializer, INITIALIZERS)

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> Network:
        """Builds the network with fresh parameters."""
        channels = STAGES[0]
        layers: list[Layer] = [_conv(input_shape[-1], channels, 1, self, rngs)]
        if not self.pre_activation:
            layers += [BatchNorm(channels), Activation(self.activation)]
        for stage, filters in enumerate(STAGES):
            for block in range((self.depth - 2) // 6):
                stride = 2 if stage and not block else 1
                layers.append(Block(channels, filters * self.width, stride, self, len(layers), rngs,
                                    is_first=not stage and not block))
                channels = filters * self.width
        if self.pre_activation:
            layers += [BatchNorm(channels), Activation(self.activation)]
        layers += [GlobalAverage(), Dense(channels, num_classes, None, self.initializer, rngs)]
        return Network(layers, Penalty(0, 0, 0, 0))


class Block(nnx.Module):
    """Adds what two convolutions make of the input to the input itself, in the shape that they give.

    Attributes:
      before: batch norm and activation before all else, of a block with `pre_activation`.
      branch: what is added.
      shortcut: what the input goes through meanwhile; nothing where it keeps its shape or is padded.
    """

    def __init__(self, channels: int, filters: int, stride: int, config: ResNetConfig, index: int, rngs: nnx.Rngs, *,
                 is_first: bool):
        self.stride, self.filters, self.is_first = stride, filters, is_first
        self.pre_activation, self.activation = config.pre_activation, config.activation
        first, second = _conv(channels, filters, stride, config, rngs), _conv(filters, filters, 1, config, rngs)
        between: list[Layer] = [BatchNorm(filters), Activation(config.activation)]
        if config.dropout:
            between.append(Dropout(config.dropout, index))
        self.before: Any = nnx.List(
            [BatchNorm(channels), Activation(config.activation)] if config.pre_activation else [])
        self.branch: Any = nnx.List(
            [*([Border()] if stride > 1 else []), first, *between, second,
             *([] if config.pre_activation else [BatchNorm(filters)])])
        self.changes = stride > 1 or channels != filters
        self.shortcut: Any = nnx.List([])
        if self.changes and config.shortcut == "projection":
            projection = _conv(channels, filters, stride, config, rngs, size=1)
            self.shortcut = nnx.List([projection, *([] if config.pre_activation else [BatchNorm(filters)])])

    def __call__(self, x: Float[Array, "batch height width channel"], mode: Mode
                 ) -> Float[Array, "batch out_height out_width filter"]:
        entered = _through(self.before, x, mode)
        # Where the shape changes, what comes out of the first activation is projected; the first block takes that as it
        # is, since it stands behind the first convolution; else the input passes.
        kept = _through(self.shortcut, entered, mode) if len(self.shortcut) else entered if self.is_first else x
        if self.changes and not len(self.shortcut):
            kept = kept[:, ::self.stride, ::self.stride]
            kept = jnp.pad(kept, ((0, 0), (0, 0), (0, 0), (0, self.filters - kept.shape[-1])))
        added = kept + _through(self.branch, entered, mode)
        return added if self.pre_activation else ACTIVATIONS[self.activation](added)

    def rows(self, input_shape: Shape) -> list[Row]:
        found: list[Row] = []
        for part in (self.before, self.shortcut, self.branch):
            shape = input_shape
            for layer in part:
                found += layer.rows(shape)
                shape = found[-1].output_shape if found else shape
        return [*found, Row("add", found[-1].output_shape, 0, 0)]


class Border(nnx.Module):
    """Lays a pixel of zeros around images, so that a stride of two begins where the shortcut's does: at the first."""

    def __call__(self, x: Float[Array, "batch height width channel"], mode: Mode) -> Array:
        return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def rows(self, input_shape: Shape) -> list[Row]:
        height, width, channels = input_shape
        return [Row("border", (height + 2, width + 2, channels), 0, 0)]


def _conv(channels: int, filters: int, stride: int, config: ResNetConfig, rngs: nnx.Rngs, size: int = 3) -> ConvPool:
    padding = "valid" if size > 1 and stride > 1 else "same"  # behind a `Border`
    return ConvPool(channels, filters, size, padding, 1, None, config.initializer, rngs, stride=stride, bias=False)


def _through(layers: Any, x: Array, mode: Mode) -> Array:
    for layer in layers:
        x = layer(x, mode)
    return x
