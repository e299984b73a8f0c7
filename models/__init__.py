"""Networks and their configs, for anyone's to stand beside them. Knows no training, no data set, no flag.

A model config is any frozen dataclass with `build(num_classes, input_shape, rngs)` that gives a Flax NNX module:
`ModelConfig`. Those exported here are the shipped ones; nothing else lists them.
"""

from typing import Protocol

from flax import nnx

from models.cnn import CNNConfig
from models.convolution import Conv
from models.layers import Mode, Network, Row, Shape, Traced
from models.mlp import MLPConfig
from models.options import traced
from models.resnet import ResNetConfig
from models.transfer import TransferConfig
from models.vit import ViTConfig

__all__ = [
    "CNNConfig",
    "Conv",
    "MLPConfig",
    "Mode",
    "ModelConfig",
    "Network",
    "ResNetConfig",
    "Row",
    "Shape",
    "Traced",
    "TransferConfig",
    "ViTConfig",
    "traced",
]


class ModelConfig(Protocol):
    """Describes a network: a frozen dataclass whose fields say all of it but its size at the ends."""

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Builds the network with fresh parameters.

        Args:
          num_classes: width of the logits.
          input_shape: (height, width, channel) of an image, or (feature,).
          rngs: its stream `params` draws the parameters, its default stream whatever else is drawn; only by keyword.
            Streams that the network keeps, as `nnx.Dropout` does, are set anew for each step.
        """
        ...
