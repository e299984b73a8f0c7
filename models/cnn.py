"""Convolutional networks: convolution blocks, a dense tail, then a classifier."""

import dataclasses
import math

from flax import nnx

from models.layers import BatchNorm, ConvPool, Dense, Dropout, Flatten, Layer, Network, Penalty, Shape
from models.options import check_network, choice, per_layer, positive, traced


@dataclasses.dataclass(frozen=True)
class CNNConfig:
    """Describes a convolutional network; the defaults are two blocks of 100 filters.

    A block is convolution, activation, max pooling, then dropout and batch norm where asked for, in that order.

    Attributes:
      filters: filters of each block's convolution, first to last.
      kernel_size: height and width of the filters, odd.
      padding: "valid" or "same".
      pool: window and stride of the max pooling; 1 leaves it out.
      activation: after every convolution and hidden dense layer.
      batch_norm: whether each block ends in batch norm.
      dropout: rate in each block, one for all or one per block.
      dense: units of the hidden dense layers between the blocks and the classifier.
      dense_dropout: rate after each hidden dense layer, one for all or one per layer.
      l1_kernel, l2_kernel, l1_bias, l2_bias: strength of the penalties on convolutions and hidden dense layers.
      initializer: of the kernels; biases start at zero.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.
    """

    filters: tuple[int, ...] = (100, 100)
    kernel_size: int = 3
    padding: str = "valid"
    pool: int = 2
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float | tuple[float, ...] = traced(0.0)
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
        positive("pool", self.pool)
        positive("kernel_size", self.kernel_size)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")
        per_layer("dropout", self.dropout, len(self.filters))
        per_layer("dense_dropout", self.dense_dropout, len(self.dense))

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> Network:
        """Builds the network with fresh parameters.

        Raises:
          ValueError: if the images are too small for the blocks.
        """
        layers: list[Layer] = []
        height, width, channels = input_shape
        lost = self.kernel_size - 1 if self.padding == "valid" else 0
        for filters, rate in zip(self.filters, per_layer("dropout", self.dropout, len(self.filters)), strict=True):
            layers.append(ConvPool(channels, filters, self.kernel_size, self.padding, self.pool,
                                   self.activation, self.initializer, rngs))
            if rate:
                layers.append(Dropout(rate, len(layers)))
            if self.batch_norm:
                layers.append(BatchNorm(filters))
            height, width, channels = (height - lost) // self.pool, (width - lost) // self.pool, filters
            if height < 1 or width < 1:
                raise ValueError(f"images of {input_shape[0]} x {input_shape[1]} are too small for {len(self.filters)} "
                                 f'blocks: use fewer filters, pool=1 or padding="same"')
        layers.append(Flatten())
        inputs = math.prod((height, width, channels))
        for units, rate in zip(self.dense, per_layer("dense_dropout", self.dense_dropout, len(self.dense)),
                               strict=True):
            layers.append(Dense(inputs, units, self.activation, self.initializer, rngs))
            if rate:
                layers.append(Dropout(rate, len(layers)))
            inputs = units
        layers.append(Dense(inputs, num_classes, None, self.initializer, rngs))
        return Network(layers, Penalty(self.l1_kernel, self.l2_kernel, self.l1_bias, self.l2_bias))
