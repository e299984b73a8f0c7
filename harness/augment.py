"""Random changes to training images, inside the compiled step. Called by `harness.train`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ablations.spec import AugmentConfig

Images = Float[Array, "batch height width channel"]


def augment(images: Images, key: Array, config: AugmentConfig) -> Images:
    """Applies what the config asks for, drawn anew for each image."""
    shift_key, flip_key = jax.random.split(key)
    if config.shift_px:
        images = shift(images, shift_key, config.shift_px)
    if config.flip:
        images = flip(images, flip_key)
    return images


def shift(images: Images, key: Array, max_px: int) -> Images:
    """Moves each image by its own random offset, filling with zeros.

    Args:
      images: pixel values scaled to [0, 1]; shifting after standardising would fill with mean grey.
      key: one key per call; offsets differ per image.
      max_px: largest shift in pixels, each axis, both directions.

    Raises:
      ValueError: if max_px is negative or not below height and width.

    Source: pad-and-crop as in He et al. 2016, sec. 4.2 (4 px at 32 x 32).
    """
    batch, height, width, channels = images.shape
    if not 0 <= max_px < min(height, width):
        raise ValueError(f"shift_px must be in [0, {min(height, width)}) for {height} x {width} images, not {max_px}")
    padded = jnp.pad(images, ((0, 0), (max_px, max_px), (max_px, max_px), (0, 0)))
    offsets = jax.random.randint(key, (batch, 2), 0, 2 * max_px + 1)

    def crop(image, offset):
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), (height, width, channels))

    return jax.vmap(crop)(padded, offsets)


def flip(images: Images, key: Array) -> Images:
    """Mirrors each image left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, 0.5, (images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def mixup(key: Array, strength: Float[Array, ""], mask: Bool[Array, " batch"]) -> Callable[[Array], Array]:
    """Draws how a batch is mixed: each example with the next one, all by one share from Beta(strength, strength).

    Args:
      key: one key per call.
      strength: above 0; small values mostly leave one of the two.
      mask: which examples are real, those first; they mix with each other alone. The batch must be in random order.

    Returns:
      a function to apply to the images and to the targets alike, [batch, ...].

    Source: Zhang et al. 2018.
    """
    share = jax.random.beta(key, strength, strength)
    partner = (jnp.arange(mask.size) + 1) % jnp.maximum(mask.sum(), 1)
    return lambda values: share * values + (1 - share) * values[partner]
