"""Do batch norm and dropout help a residual network of one's own, written in plain Flax, on small handwritten digits?

Run, in its folder: python -m harness.run --ablation=residual_network.py      Cost: 12 runs, minutes on two cores
"""

import dataclasses

import jax
from flax import nnx

from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig


class Block(nnx.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, filters: int, stride: int, batch_norm: bool, rngs: nnx.Rngs):
        self.first = nnx.Conv(channels, filters, (3, 3), strides=stride, rngs=rngs)
        self.second = nnx.Conv(filters, filters, (3, 3), rngs=rngs)
        self.shortcut = nnx.Conv(channels, filters, (1, 1), strides=stride, rngs=rngs)
        self.norms = nnx.List([nnx.BatchNorm(filters, momentum=0.9, rngs=rngs) for _ in range(2)] if batch_norm else [])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images to images of `filters` channels, half as high and wide where the stride is 2."""
        inner = x
        for number, conv in enumerate((self.first, self.second)):
            inner = conv(nnx.relu(inner) if number else inner)
            inner = self.norms[number](inner) if self.norms else inner
        return nnx.relu(self.shortcut(x) + inner)


class ResidualNetwork(nnx.Module):
    """Blocks, the mean over all pixels, dropout, and a dense layer."""

    def __init__(self, widths: tuple[int, ...], batch_norm: bool, dropout: float, channels: int, classes: int,
                 rngs: nnx.Rngs):
        inputs = (channels, *widths[:-1])
        self.blocks = nnx.List([Block(*ends, 2 if number else 1, batch_norm, rngs)
                                for number, ends in enumerate(zip(inputs, widths, strict=True))])
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.classifier = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps images, scaled to [0, 1], to a score for each class."""
        for block in self.blocks:
            images = block(images)
        return self.classifier(self.dropout(images.mean((1, 2))))


@dataclasses.dataclass(frozen=True)
class ResidualConfig:
    """Says all of a residual network but its number of channels and classes, which the data decides.

    Attributes:
      widths: filters of each block.
      batch_norm: whether one follows each convolution of the blocks.
      dropout: rate before the last layer.
    """

    widths: tuple[int, ...] = (16, 32)
    batch_norm: bool = True
    dropout: float = 0.0

    def build(self, num_classes: int, input_shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """Builds the network with fresh parameters."""
        return ResidualNetwork(self.widths, self.batch_norm, self.dropout, input_shape[-1], num_classes, rngs)


ABLATION = Ablation(
    question="Do batch norm and dropout help a small residual network on handwritten digits?",
    base=RunConfig(dataset="digits", model=ResidualConfig(batch_norm=False), batch_size=32, epochs=5,
                   optimizer=OptimizerConfig("adam", learning_rate=3e-3), validation_size=200),
    factors={
        "batch norm": Factor("model.batch_norm", {"without": False, "with": True}),
        "dropout": Factor("model.dropout", {"0": 0.0, "0.3": 0.3}),
    },
    seeds=(0, 1, 2),
)
