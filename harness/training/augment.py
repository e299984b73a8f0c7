"""Random changes to training images, inside the compiled step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from ablations.spec import AugmentConfig

Images = Float[Array, "batch height width channel"]
Places = UInt32[Array, " batch"]  # of each example in the whole batch, of which this may be a device's share


def augment(images: Images, key: Array, places: Places, config: AugmentConfig) -> Images:
    """Applies what the config asks for, drawn anew for each image."""
    shift_key, flip_key = jax.random.split(key)
    if config.shift_px:
        images = shift(images, shift_key, places, config.shift_px)
    if config.flip:
        images = flip(images, flip_key, places)
    return images


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

    return jax.vmap(crop)(padded, _keys(key, places))


def flip(images: Images, key: Array, places: Places) -> Images:
    """Mirrors each image left to right with probability 1/2."""
    mirrored = jax.vmap(jax.random.bernoulli)(_keys(key, places))
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def mixup(key: Array, strength: Float[Array, ""], places: Places, mask: Bool[Array, " batch"],
          axis_name: str | None = None) -> Callable[[Array], Array]:
    """Draws how a batch is mixed: each example with the next one, all by one share from Beta(strength, strength).

    Args:
      key: one key per call.
      strength: above 0; small values mostly leave one of the two.
      mask: which examples are real, those first; they mix with each other alone. The batch must be in random order.
      axis_name: mesh axis over which the batch is split; the next example may be another device's.

    Returns:
      a function to apply to the images and to the targets alike, [batch, ...].

    Source: Zhang et al. 2018.
    """
    share = jax.random.beta(key, strength, strength)
    real = lax.psum(mask.sum(), axis_name) if axis_name else mask.sum()
    partner = (places + 1) % jnp.maximum(real, 1).astype(places.dtype)

    def mix(values: Array) -> Array:
        everyone = lax.all_gather(values, axis_name, tiled=True) if axis_name else values
        return share * values + (1 - share) * everyone[partner]

    return mix


def _keys(key: Array, places: Places) -> Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, places)
