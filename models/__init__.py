"""Model families and the one place that maps a config to its network. Knows no training, no data set, no flag."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from models import cnn, mlp, transfer
from models.cnn import CNNConfig
from models.layers import Mode, Network, Row, Shape, Traced
from models.mlp import MLPConfig
from models.transfer import TransferConfig

ModelConfig = MLPConfig | CNNConfig | TransferConfig

FAMILIES: dict[type, Callable[..., Network]] = {
    MLPConfig: mlp.build, CNNConfig: cnn.build, TransferConfig: transfer.build}

__all__ = [
    "FAMILIES",
    "CNNConfig",
    "MLPConfig",
    "Mode",
    "ModelConfig",
    "Network",
    "Row",
    "Shape",
    "Traced",
    "TransferConfig",
    "build",
]


def build(config: Any, num_classes: int, input_shape: Shape, rngs: nnx.Rngs, backbone: Any = None) -> Network:
    """Builds the network that a config describes, with fresh parameters.

    Args:
      config: one of `FAMILIES`.
      num_classes: width of the logits.
      input_shape: (height, width, channel) of an image, or (feature,).
      rngs: source of the initial parameters, stream `params`.
      backbone: what a transfer network starts from; None draws it at random.

    Raises:
      ValueError: if the config does not fit the images.
    """
    given = {"backbone": backbone} if isinstance(config, TransferConfig) else {}
    return FAMILIES[type(config)](config, num_classes, input_shape, rngs, **given)
