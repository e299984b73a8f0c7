"""Model families and the one place that maps a config to its network. Knows no training, no data set, no flag."""

from collections.abc import Callable
from typing import Any

from flax import nnx

from models import cnn, mlp
from models.cnn import CNNConfig
from models.layers import HyperParam, Mode, Network, Row, Shape
from models.mlp import MLPConfig

ModelConfig = MLPConfig | CNNConfig

FAMILIES: dict[type, Callable[..., Network]] = {MLPConfig: mlp.build, CNNConfig: cnn.build}

__all__ = ["FAMILIES", "CNNConfig", "HyperParam", "MLPConfig", "Mode", "ModelConfig", "Network", "Row", "Shape",
           "build"]


def build(config: Any, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> Network:
    """Builds the network that a config describes, with fresh parameters.

    Args:
      config: one of `FAMILIES`.
      num_classes: width of the logits.
      input_shape: (height, width, channel) of an image.
      rngs: source of the initial parameters, stream `params`.

    Raises:
      ValueError: if the config does not fit the images.
    """
    return FAMILIES[type(config)](config, num_classes, input_shape, rngs)
