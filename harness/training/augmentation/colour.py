"""Brightness, contrast and saturation, as torchvision and Pillow change them."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from harness.training.augmentation.places import Images, Places, uniform

STRENGTHS = ("brightness", "contrast", "saturation")
# Of red, green and blue. Source: ITU-R BT.601, as Pillow's convert("L").
LUMA = 0.299, 0.587, 0.114

PerImage = Float[Array, " batch"]


def jitter(images: Images, key: Array, places: Places, strengths: Mapping[str, Float[Array, ""]]) -> Images:
    """Changes each image's brightness, then contrast, then saturation by factors of its own.

    Args:
      key: one key per call.
      strengths: of `STRENGTHS` those that are wanted; a factor is uniform in [max(0, 1 - strength), 1 + strength].

    Source: torchvision's ColorJitter, which draws the order too.
    """
    drawn = uniform(key, places, len(STRENGTHS))
    for name, share, plain in zip(STRENGTHS, drawn, (black, mean_grey, grey), strict=True):
        if name in strengths:
            least, most = jnp.maximum(0, 1 - strengths[name]), 1 + strengths[name]
            images = blend(images, plain(images), least + (most - least) * share)
    return images


def blend(images: Images, plain: Array, factors: PerImage) -> Images:
    """Goes from what is plain (factor 0) to the images (1) and beyond, staying in [0, 1]."""
    factors = factors[:, None, None, None]
    return jnp.clip(factors * images + (1 - factors) * plain, 0, 1)


def black(images: Images) -> Array:
    """Gives what an image without brightness is."""
    return jnp.zeros_like(images)


def grey(images: Images) -> Float[Array, "batch height width 1"]:
    """Gives what an image without colour is: its luma, and of other than three channels their mean."""
    if images.shape[-1] != len(LUMA):
        return images.mean(-1, keepdims=True)
    return (images * jnp.array(LUMA)).sum(-1, keepdims=True)


def mean_grey(images: Images) -> Float[Array, "batch 1 1 1"]:
    """Gives what an image without contrast is: its mean luma."""
    return grey(images).mean((1, 2), keepdims=True)
