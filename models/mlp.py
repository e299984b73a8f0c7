"""Dense networks: hidden layers of any number and width, then a classifier."""

import dataclasses
import math

from flax import nnx

from models.layers import Activation, BatchNorm, Dense, Dropout, Flatten, Layer, Network, Penalty, Shape
from models.options import check_network, per_layer, positive, traced


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """Describes a dense network; the defaults are 784-256-128-10 on 28 x 28 images.

    Attributes:
      hidden: units of each hidden layer, first to last; () is a linear classifier.
      repeat: how often that row of layers comes; hidden=(100,), repeat=3 is three layers of 100.
      activation: after every hidden layer.
      batch_norm: whether each hidden layer has batch norm.
      norm_before_activation: whether batch norm stands between the product, which then has no bias, and the activation
        with the dropout after it; else it follows activation and dropout.
      dropout: rate after each hidden layer, one for all or one per layer.
      l1_kernel, l2_kernel, l1_bias, l2_bias: strength of the penalties on the hidden layers.
      initializer: of the kernels; biases start at zero.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.
    """

    hidden: tuple[int, ...] = (256, 128)
    repeat: int = 1
    activation: str = "relu"
    batch_norm: bool = False
    norm_before_activation: bool = False
    dropout: float | tuple[float, ...] = traced(0.0)
    l1_kernel: float = traced(0.0)
    l2_kernel: float = traced(0.0)
    l1_bias: float = traced(0.0)
    l2_bias: float = traced(0.0)
    initializer: str = "glorot_uniform"

    def __post_init__(self) -> None:
        check_network(self)
        positive("repeat", self.repeat)
        per_layer("dropout", self.dropout, len(self.hidden) * self.repeat)

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> Network:
        """Builds the network with fresh parameters."""
        layers: list[Layer] = [Flatten()]
        inputs = math.prod(input_shape)
        hidden, norm_first = self.hidden * self.repeat, self.batch_norm and self.norm_before_activation
        for units, rate in zip(hidden, per_layer("dropout", self.dropout, len(hidden)), strict=True):
            layers.append(Dense(inputs, units, None if norm_first else self.activation, self.initializer, rngs,
                                bias=not norm_first))
            if norm_first:
                layers += [BatchNorm(units), Activation(self.activation)]
            if rate:
                layers.append(Dropout(rate, len(layers)))
            if self.batch_norm and not norm_first:
                layers.append(BatchNorm(units))
            inputs = units
        layers.append(Dense(inputs, num_classes, None, self.initializer, rngs))
        return Network(layers, Penalty(self.l1_kernel, self.l2_kernel, self.l1_bias, self.l2_bias))
