"""Transfer learning: a MobileNetV2 backbone, frozen or fine-tuned, and a head that is trained on its pooled features.

A frozen backbone gives an image the same features in every step, so the head may also be built alone, on vectors:
`harness.data.features` computes those once and for all heads.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models import mobilenet_v2
from models.layers import (
    ACTIVATIONS,
    INITIALIZERS,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    Mode,
    Network,
    Penalty,
    Row,
    Shape,
    Traced,
)
from models.mobilenet_v2 import Backbone, MobileNetV2Config
from models.options import choice, flag, fraction, positive, traced

FINE_TUNE = ("none", *(f"block_{number}" for number in range(1, len(mobilenet_v2.BLOCKS))), "last", "all")


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """Describes a backbone and its head; the defaults are a linear classifier on frozen features.

    Attributes:
      width: the backbone's width multiplier.
      resolution: height and width in pixels to which images are resized, bilinearly. The weights are those that were
        trained at 224 pixels, whatever it is; Keras Applications has others for 96, 128, 160 and 192.
      fine_tune: "none" (frozen), the first block to be trained, such as "block_13", "last" (the last convolution) or
        "all". Batch norm keeps the statistics that it was loaded with.
      fine_tune_rate: learning rate of what is fine-tuned, as a share of the optimizer's.
      batch_norm: whether the pooled features are normalised first.
      hidden: units of the head's hidden layers; the classifier comes after them.
      dropout: rate before the classifier.
      activation, initializer: of the head.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.
    """

    width: float = 1.0
    resolution: int = 96
    fine_tune: str = "none"
    fine_tune_rate: float = traced(0.1)
    batch_norm: bool = False
    hidden: tuple[int, ...] = ()
    dropout: float = traced(0.0)
    activation: str = "relu"
    initializer: str = "glorot_uniform"

    def __post_init__(self) -> None:
        choice("width", self.width, mobilenet_v2.WIDTHS)
        object.__setattr__(self, "width", float(self.width))  # 1 is 1.0, also in the name of its weight file
        positive("resolution", self.resolution)
        if self.resolution < mobilenet_v2.SMALLEST_PX:
            raise ValueError(f"resolution must be at least {mobilenet_v2.SMALLEST_PX}, not {self.resolution}")
        choice("fine_tune", self.fine_tune, FINE_TUNE)
        if not isinstance(self.fine_tune_rate, int | float) or not 0 < self.fine_tune_rate < math.inf:
            raise ValueError(f"fine_tune_rate must be a finite number above 0, not {self.fine_tune_rate!r}")
        flag("batch_norm", self.batch_norm)
        if not isinstance(self.hidden, tuple):
            raise ValueError(f"hidden must be a tuple such as (256, 128), not {self.hidden!r}")
        for units in self.hidden:
            positive("hidden", units)
        fraction("dropout", self.dropout)
        choice("activation", self.activation, ACTIVATIONS)
        choice("initializer", self.initializer, INITIALIZERS)

    @property
    def is_frozen(self) -> bool:
        """Whether no part of the backbone is trained."""
        return self.fine_tune == "none"

    @property
    def features(self) -> int:
        """Length of the vector that the backbone gives for an image."""
        return mobilenet_v2.last_filters(self.width)

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs, backbone: Backbone | None = None
              ) -> Network:
        """Builds backbone and head, or the head alone where the input is a vector of features.

        Args:
          backbone: with its weights; None draws them at random.

        Raises:
          ValueError: if the input is a vector of another length than the backbone's features.
        """
        layers: list[Layer]
        if len(input_shape) == 1:
            if input_shape != (self.features,):
                raise ValueError(f"{input_shape[0]} features were given where the backbone has {self.features}")
            layers = [GivenFeatures(self)]
        else:
            layers = [Features(backbone or _random(self, rngs), self.resolution, self.fine_tune)]
        inputs = self.features
        if self.batch_norm:
            layers.append(BatchNorm(inputs))
        for units in self.hidden:
            layers.append(Dense(inputs, units, self.activation, self.initializer, rngs))
            inputs = units
        if self.dropout:
            layers.append(Dropout(self.dropout, len(layers)))
        layers.append(Dense(inputs, num_classes, None, self.initializer, rngs))
        return Network(layers, Penalty(0, 0, 0, 0))


class Frozen(Traced):
    """A weight that is loaded and never updated: no gradient is taken, and no optimizer state kept."""


class Features(nnx.Module):
    """Maps images, scaled to [0, 1], to the pooled features of a backbone.

    Attributes:
      backbone: what it was, folded where it is frozen as a whole.
      first: the first block that is trained; see `mobilenet_v2.block_of`.
      resolution: height and width in pixels that the backbone sees.
    """

    def __init__(self, backbone: Backbone, resolution: int, fine_tune: str = "none"):
        self.first = _first(fine_tune)
        self.backbone = mobilenet_v2.fold(backbone) if fine_tune == "none" else nnx.clone(backbone)
        self.resolution = resolution
        for name, layer in self.backbone.layers.items():
            if mobilenet_v2.block_of((name,)) < self.first:
                _freeze(layer)

    def __call__(self, x: Float[Array, "batch height width channel"], mode: Mode) -> Float[Array, "batch feature"]:
        x = _as_the_backbone_sees_them(x, self.resolution)
        steps = self.backbone.steps()
        frozen = [step for step in steps if step.block < self.first]
        x = mobilenet_v2.through(frozen, x)
        for step in steps[len(frozen):]:
            # As in inference: batch statistics of a few thousand pictures would replace those of a million.
            x = step.apply(x, Mode())
        return mobilenet_v2.pooled(x)

    def rows(self, input_shape: Shape) -> list[Row]:
        return _rows(self.backbone.config, self.resolution, self.first)


class GivenFeatures(nnx.Module):
    """Stands where the features are computed beforehand: passes vectors on."""

    def __init__(self, config: TransferConfig):
        self.config = config

    def __call__(self, x: Array, mode: Mode) -> Array:
        return x

    def rows(self, input_shape: Shape) -> list[Row]:
        rows = _rows(MobileNetV2Config(self.config.width), self.config.resolution, mobilenet_v2.TOP)
        return [row._replace(beforehand=True) for row in rows]


def is_backbone(path: tuple[Any, ...]) -> bool:
    """Whether the path of a parameter leads into the backbone."""
    return "backbone" in path


def _random(config: TransferConfig, rngs: nnx.Rngs) -> Backbone:
    return mobilenet_v2.build(MobileNetV2Config(config.width), rngs)


def _rows(config: MobileNetV2Config, resolution: int, first: int) -> list[Row]:
    """Describes a backbone as it was loaded, with its batch norm, and what is frozen of it."""
    rows = nnx.eval_shape(lambda: mobilenet_v2.build(config, nnx.Rngs(0))).rows((resolution, resolution, 3))
    return [row._replace(frozen=mobilenet_v2.block_of((row.name,)) < first) for row in rows] + [
        Row("features", (rows[-1].output_shape[-1],), 0, 0)]


def _first(fine_tune: str) -> int:
    if fine_tune in ("none", "all"):
        return mobilenet_v2.TOP if fine_tune == "none" else mobilenet_v2.STEM
    return mobilenet_v2.LAST if fine_tune == "last" else int(fine_tune.removeprefix("block_"))


def _freeze(layer: Any) -> None:
    for name, value in list(vars(layer).items()):
        if isinstance(value, nnx.Variable):
            setattr(layer, name, Frozen(value[...]))


def _as_the_backbone_sees_them(images: Float[Array, "batch height width channel"], resolution: int) -> Array:
    """Resizes, gives grey images three channels, and scales to [-1, 1]."""
    shape = (images.shape[0], resolution, resolution, images.shape[3])
    images = jax.image.resize(images, shape, "bilinear", antialias=False)
    return jnp.broadcast_to(images, (*shape[:3], 3)) * 2 - 1
