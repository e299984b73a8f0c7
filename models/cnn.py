"""Convolutional networks: blocks of convolutions, a dense tail, then a classifier."""

import dataclasses
import math

from flax import nnx

from models.layers import (
    Activation,
    BatchNorm,
    ConvPool,
    Dense,
    Dropout,
    Flatten,
    GlobalAverage,
    Layer,
    Network,
    Penalty,
    Shape,
)
from models.options import check_network, choice, flag, per_block, per_layer, positive, traced


@dataclasses.dataclass(frozen=True)
class CNNConfig:
    """Describes a convolutional network; the defaults are two blocks of 100 filters.

    A block is convolutions with activations, then max pooling, then dropout and batch norm where asked for, in that
    order.

    Attributes:
      filters: filters of each block's convolution, first to last; a tuple stands for a block of several convolutions,
        as in ((32, 48), (64, 64), 96).
      kernel_size: height and width of the filters, odd.
      padding: "valid" or "same".
      stride: of each block's last convolution, one for all or one per block; with pool=1 it stands in for pooling.
      pool: window and stride of the max pooling, one for all or one per block; 1 leaves it out.
      activation: after every convolution and hidden dense layer.
      batch_norm: whether blocks have batch norm: one at the end of each, or one for each convolution.
      norm_before_activation: whether batch norm stands between every convolution, which then has no bias, and its
        activation; else it ends each block. Hidden dense layers have none.
      dropout: rate in each block, one for all or one per block.
      global_average: whether the mean of each channel over the image goes to the dense layers, not every pixel.
      dense: units of the hidden dense layers between the blocks and the classifier.
      dense_dropout: rate after each hidden dense layer, one for all or one per layer.
      l1_kernel, l2_kernel, l1_bias, l2_bias: strength of the penalties on convolutions and hidden dense layers.
      initializer: of the kernels; biases start at zero.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.

    Source: strides in place of pooling as in Springenberg et al. 2015; the global average of Lin et al. 2014.
    """

    filters: tuple[int | tuple[int, ...], ...] = (100, 100)
    kernel_size: int = 3
    padding: str = "valid"
    stride: int | tuple[int, ...] = 1
    pool: int | tuple[int, ...] = 2
    activation: str = "relu"
    batch_norm: bool = False
    norm_before_activation: bool = False
    dropout: float | tuple[float, ...] = traced(0.0)
    global_average: bool = False
    dense: tuple[int, ...] = ()
    dense_dropout: float | tuple[float, ...] = traced(0.0)
    l1_kernel: float = traced(0.0)
    l2_kernel: float = traced(0.0)
    l1_bias: float = traced(0.0)
    l2_bias: float = traced(0.0)
    initializer: str = "glorot_uniform"

    def __post_init__(self) -> None:
        check_network(self)
        choice("padding", self.padding, ("valid", "same"))
        per_block("stride", self.stride, len(self.filters))
        per_block("pool", self.pool, len(self.filters))
        positive("kernel_size", self.kernel_size)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")
        flag("global_average", self.global_average)
        per_layer("dropout", self.dropout, len(self.filters))
        per_layer("dense_dropout", self.dense_dropout, len(self.dense))

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> Network:
        """Builds the network with fresh parameters.

        Raises:
          ValueError: if the images are too small for the blocks.
        """
        layers: list[Layer] = []
        shape = input_shape
        for number in range(len(self.filters)):
            for layer in self._block(number, shape[-1], len(layers), rngs):
                layers.append(layer)
                shape = ([row.output_shape for row in layer.rows(shape)] or [shape])[-1]
            if min(shape) < 1:
                raise ValueError(f"images of {input_shape[0]} x {input_shape[1]} are too small for {len(self.filters)} "
                                 f'blocks: use fewer filters, pool=1 or padding="same"')
        layers.append(GlobalAverage() if self.global_average else Flatten())
        inputs = shape[-1] if self.global_average else math.prod(shape)
        for units, rate in zip(self.dense, per_layer("dense_dropout", self.dense_dropout, len(self.dense)),
                               strict=True):
            layers.append(Dense(inputs, units, self.activation, self.initializer, rngs))
            if rate:
                layers.append(Dropout(rate, len(layers)))
            inputs = units
        layers.append(Dense(inputs, num_classes, None, self.initializer, rngs))
        return Network(layers, Penalty(self.l1_kernel, self.l2_kernel, self.l1_bias, self.l2_bias))

    def _block(self, number: int, channels: int, first: int, rngs: nnx.Rngs) -> list[Layer]:
        """Builds a block, whose first layer has the place `first` in the network."""
        blocks, layers = len(self.filters), list[Layer]()
        filters = self.filters[number]
        widths = filters if isinstance(filters, tuple) else (filters,)
        norm_first = self.batch_norm and self.norm_before_activation
        for place, width in enumerate(widths, start=1):
            is_last = place == len(widths)
            stride = per_block("stride", self.stride, blocks)[number] if is_last else 1
            window = per_block("pool", self.pool, blocks)[number] if is_last else 1
            layers.append(ConvPool(
                channels, width, self.kernel_size, self.padding, 1 if norm_first else window,
                None if norm_first else self.activation, self.initializer, rngs, stride=stride, bias=not norm_first))
            if norm_first:
                layers += [BatchNorm(width), Activation(self.activation, window)]
            channels = width
        if rate := per_layer("dropout", self.dropout, blocks)[number]:
            layers.append(Dropout(rate, first + len(layers)))
        if self.batch_norm and not norm_first:
            layers.append(BatchNorm(channels))
        return layers
