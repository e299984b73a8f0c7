"""Vision transformers: patches of an image as tokens, attention between them, and a class token that is read out."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import ACTIVATIONS, Added, Dropout, Mode, Shape
from models.options import fraction, positive, traced
from models.precision import biased

_EVALUATION = Mode()
_SMALL = nnx.initializers.truncated_normal(0.02)


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Describes a vision transformer; the default is a small one, of 1.2 million parameters, for 28 x 28 or 32 x 32.

    ViT-Ti/16, of 5.7 million at 224 x 224, is patch=16, dim=192, depth=12, heads=3.

    Attributes:
      patch: height and width of the squares that an image is cut into; the image's sides are multiples of it.
      dim: numbers that a token has.
      depth: blocks of attention and a dense network of one hidden layer, each added to its normalised input.
      heads: that attention has; they share the token's numbers out among them.
      mlp_ratio: units of that hidden layer, in multiples of `dim`.
      dropout: rate after the positions are added, after attention, and after both dense layers of a block.
      drop_path: rate at which the last block is left out for an example; earlier ones less, along a line from 0 for
        the first.

    Raises:
      ValueError: if a value is not among the valid ones, naming the field.

    Source: Dosovitskiy et al. 2021, sec. 3.1 and appendix B.1; ViT-Ti of Touvron et al. 2021, table 1; dropped
      paths of Huang et al. 2016, sec. 3, at timm's rates, whose line begins at 0.
    """

    patch: int = 4
    dim: int = 128
    depth: int = 6
    heads: int = 4
    mlp_ratio: int = 4
    dropout: float = traced(0.0)
    drop_path: float = traced(0.0)

    def __post_init__(self) -> None:
        for field in ("patch", "dim", "depth", "heads", "mlp_ratio"):
            positive(field, getattr(self, field))
        if self.dim % self.heads:
            raise ValueError(f"heads must divide dim={self.dim}, and {self.heads} does not")
        fraction("dropout", self.dropout)
        fraction("drop_path", self.drop_path)
        if self.drop_path and self.depth == 1:
            raise ValueError("drop_path needs a depth of at least 2: the first block is never left out")

    def build(self, num_classes: int, input_shape: Shape, rngs: nnx.Rngs) -> "VisionTransformer":
        """Builds the network with fresh parameters.

        Raises:
          ValueError: if the patches do not cut the images up without a rest.
        """
        height, width = input_shape[:2]
        if height % self.patch or width % self.patch:
            raise ValueError(f"patch={self.patch} does not divide images of {height} x {width}")
        return VisionTransformer(self, num_classes, input_shape, rngs)


class VisionTransformer(nnx.Module):
    """Maps images, scaled to [0, 1], to logits."""

    def __init__(self, config: ViTConfig, num_classes: int, input_shape: Shape, rngs: nnx.Rngs):
        height, width, channels = input_shape
        tokens = 1 + height * width // config.patch ** 2
        self.patches = Patches(config.patch, channels, config.dim, rngs)
        self.token = Added(jnp.zeros((1, 1, config.dim)))
        self.positions = Added(_SMALL(rngs.params(), (1, tokens, config.dim)))
        self.dropout = Dropout(config.dropout, 0) if config.dropout else None
        self.blocks = nnx.List([Block(config, number, rngs) for number in range(config.depth)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)
        self.classifier = _linear(config.dim, num_classes, rngs)

    def __call__(self, images: Float[Array, "batch height width channel"], mode: Mode = _EVALUATION
                 ) -> Float[Array, "batch class"]:
        """Maps images, scaled to [0, 1], to logits."""
        x = self.patches(images)
        first = jnp.broadcast_to(self.token[...], (len(x), 1, x.shape[-1])).astype(x.dtype)
        x = biased(jnp.concatenate([first, x], 1), self.positions[...])
        x = x if self.dropout is None else self.dropout(x, mode)
        for block in self.blocks:
            x = block(x, mode)
        return self.classifier(self.norm(x)[:, 0].astype(jnp.float32))  # as all scores are


class Patches(nnx.Module):
    """Cuts images into squares, row by row, and multiplies each by one kernel."""

    def __init__(self, size: int, channels: int, dim: int, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (size, size, channels, dim)))
        self.bias = nnx.Param(jnp.zeros(dim))

    def __call__(self, images: Float[Array, "batch height width channel"]) -> Float[Array, "batch token dim"]:
        size, _, channels, dim = self.kernel.shape
        batch, height, width, _ = images.shape
        squares = images.reshape(batch, height // size, size, width // size, size, channels).swapaxes(2, 3)
        return biased(squares.reshape(batch, -1, size * size * channels) @ self.kernel[...].reshape(-1, dim),
                      self.bias[...])


class Block(nnx.Module):
    """Adds attention between tokens, then what a dense network makes of each; their inputs are normalised first."""

    def __init__(self, config: ViTConfig, number: int, rngs: nnx.Rngs):
        dim, hidden = config.dim, config.mlp_ratio * config.dim
        self.norm, self.attention = nnx.LayerNorm(dim, rngs=rngs), Attention(dim, config.heads, rngs)
        self.hidden_norm = nnx.LayerNorm(dim, rngs=rngs)
        self.hidden, self.out = _linear(dim, hidden, rngs), _linear(hidden, dim, rngs)
        draws = 5 * number + 1  # every layer that draws does so from a number of its own
        self.dropouts = nnx.List([Dropout(config.dropout, draws + use) for use in range(3)] if config.dropout else [])
        rate = config.drop_path * number / max(config.depth - 1, 1)
        self.paths = nnx.List([DropPath(rate, draws + 3 + use) for use in range(2)] if rate else [])

    def __call__(self, x: Float[Array, "batch token dim"], mode: Mode) -> Float[Array, "batch token dim"]:
        def dropped(layers: nnx.List, use: int, x: Array) -> Array:
            return layers[use](x, mode) if len(layers) else x

        attended = dropped(self.dropouts, 0, self.attention(self.norm(x)))
        x = x + dropped(self.paths, 0, attended)
        inner = dropped(self.dropouts, 1, ACTIVATIONS["gelu"](self.hidden(self.hidden_norm(x))))
        return x + dropped(self.paths, 1, dropped(self.dropouts, 2, self.out(inner)))


class Attention(nnx.Module):
    """Mixes tokens, each head by weights of its own."""

    def __init__(self, dim: int, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.inputs, self.weights, self.out = _linear(dim, 3 * dim, rngs), AttentionWeights(), _linear(dim, dim, rngs)

    def __call__(self, x: Float[Array, "batch token dim"]) -> Float[Array, "batch token dim"]:
        parts = self.inputs(x).reshape(*x.shape[:2], 3, self.heads, -1)
        query, key, value = (parts[:, :, part] for part in range(3))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", self.weights(query, key), value)
        return self.out(mixed.reshape(x.shape))


class AttentionWeights(nnx.Module):
    """Tells how much of each token every token takes: the softmax of their scaled products."""

    def __call__(self, query: Float[Array, "batch token head number"], key: Float[Array, "batch token head number"]
                 ) -> Float[Array, "batch head token token"]:
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
        return jax.nn.softmax(scores.astype(jnp.float32)).astype(query.dtype)


class DropPath(nnx.Module):
    """Zeroes all values of an example with probability `rate`, else scales them by 1 / (1 - rate); the rate is traced.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", drawn for each example, in its inverted form.
    """

    def __init__(self, rate: float, index: int):
        self.dropout = Dropout(rate, index)

    def __call__(self, x: Float[Array, "batch token dim"], mode: Mode) -> Float[Array, "batch token dim"]:
        if not mode.train:
            return x
        scale = self.dropout(jnp.ones((len(x), 1), jnp.float32), mode)[:, None]
        return (x * scale).astype(x.dtype)  # in float32: 1 / (1 - rate) has more digits than bfloat16


class _Linear(nnx.Linear):
    """Is `nnx.Linear`, but for the sum that its bias's gradient is."""

    def __call__(self, inputs: Array) -> Array:  # type: ignore[override]
        assert self.bias is not None, "it is made with one"
        return biased(inputs @ self.kernel[...], self.bias[...])


def _linear(inputs: int, units: int, rngs: nnx.Rngs) -> Any:
    return _Linear(inputs, units, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)
