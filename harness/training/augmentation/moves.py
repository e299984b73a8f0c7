"""Shifts by whole pixels, and mirroring."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from harness.training.augmentation.places import Images, Places, keys


def shift(images: Images, key: Array, places: Places, max_px: int) -> Images:
    """Moves each image by its own random offset, filling with zeros.

    Args:
      images: pixel values scaled to [0, 1]; shifting after standardising would fill with mean grey.
      key: one key per call; an image's offset follows from it and the image's place.
      max_px: largest shift in pixels, each axis, both directions.

    Raises:
      ValueError: if max_px is negative or not below height and width.

    Source: pad-and-crop as in He et al. 2016, sec. 4.2 (4 px at 32 x 32).
    """
    _, height, width, channels = images.shape
    if not 0 <= max_px < min(height, width):
        raise ValueError(f"shift_px must be in [0, {min(height, width)}) for {height} x {width} images, not {max_px}")
    padded = jnp.pad(images, ((0, 0), (max_px, max_px), (max_px, max_px), (0, 0)))

    def crop(image, key):
        offset = jax.random.randint(key, (2,), 0, 2 * max_px + 1)
        return lax.dynamic_slice(image, (offset[0], offset[1], 0), (height, width, channels))

    return jax.vmap(crop)(padded, keys(key, places))


def flip(images: Images, key: Array, places: Places) -> Images:
    """Mirrors each image left to right with probability 1/2."""
    mirrored = jax.vmap(jax.random.bernoulli)(keys(key, places))
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def vflip(images: Images, key: Array, places: Places) -> Images:
    """Mirrors each image top to bottom with probability 1/2."""
    mirrored = jax.vmap(jax.random.bernoulli)(keys(key, places))
    return jnp.where(mirrored[:, None, None, None], images[:, ::-1], images)
