"""Rotation, shear, scale, shift and elastic bending: one displacement of each pixel, and one interpolation.

Written here since the libraries for it do not serve: dm-pix 0.4.5 takes 1,400 us for affine and elastic of a 28 x 28
image under `vmap` in a loop on one core of an AMD EPYC, and augmax 0.4.1 takes 49 us for rotation and elastic alone and
has its strengths compiled in; this takes 15 us for all five.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from harness.training.augmentation.places import Images, Places, keys, uniform

AFFINE = ("rotation", "shear", "scale", "translate_px")
STRENGTHS = (*AFFINE, "elastic_px")
# Points along each axis between which the bending is linear.
GRID = 5

Matrices = Float[Array, "batch to_yx from_yx"]
Vectors = Float[Array, "batch yx"]
Bends = Float[Array, "batch yx point"]


def warp(images: Images, key: Array, places: Places, strengths: Mapping[str, Float[Array, ""]]) -> Images:
    """Moves each image's pixels by its own rotation, shear, scale, shift and bending.

    Args:
      key: one key per call.
      strengths: of `STRENGTHS` those that are wanted, as `ablations.augmentation.AugmentConfig` describes them.
    """
    given = dict.fromkeys(AFFINE, jnp.float32(0)) | dict(strengths)
    angle, shear, *more = 2 * uniform(jax.random.fold_in(key, 0), places, 6) - 1
    matrices = linear(jnp.deg2rad(given["rotation"]) * angle, given["shear"] * shear,
                      given["scale"] * jnp.stack(more[:2], 1))
    bends = None
    if "elastic_px" in given:
        noise = jax.vmap(lambda own: jax.random.normal(own, (2, GRID * GRID)))(keys(jax.random.fold_in(key, 1), places))
        bends = given["elastic_px"] * noise
    return resample(images, matrices, given["translate_px"] * jnp.stack(more[2:], 1), bends)


def linear(angle: Float[Array, " batch"], shear: Float[Array, " batch"], log_scale: Vectors) -> Matrices:
    """Gives the matrices that rotate by an angle in radians, then shear along x, then scale y and x."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows = jnp.stack([cos, sin], 1), jnp.stack([shear * cos - sin, cos + shear * sin], 1)
    return jnp.exp(log_scale)[..., None] * jnp.stack(rows, 1)


def resample(images: Images, matrices: Matrices, shifts: Vectors, bends: Bends | None = None) -> Images:
    """Takes each pixel p from matrix (p - middle) + middle + shift + bend(p), linearly between pixels, 0 outside.

    Args:
      bends: of each point of the grid, in pixels; None bends nothing.
    """
    height, width = images.shape[1:3]
    middle = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32)
    parts = [matrices, (shifts + middle)[..., None]] + ([] if bends is None else [bends])
    whole = _positions(height, width) if bends is None else np.concatenate(
        [_positions(height, width), _between(height, width)])
    # One product for all positions. It also keeps XLA from working them out again for each of the pixels they lie in.
    where = jnp.matmul(jnp.concatenate(parts, 2), whole, precision=lax.Precision.HIGHEST)
    if jax.default_backend() == "cpu":  # a batch at once leaves the cache: three times as long for three channels
        return lax.map(lambda one: _interpolate(*one), (images, where))
    return jax.vmap(_interpolate)(images, where)


def _interpolate(image: Float[Array, "height width channel"], where: Float[Array, "yx pixel"]
                 ) -> Float[Array, "height width channel"]:
    """Reads an image at positions between its pixels."""
    height, width, channels = image.shape
    pixels = image.reshape(-1, channels)
    (above, top, bottom), (before, left, right) = _neighbours(where[0], height), _neighbours(where[1], width)

    def read(down: int, along: int) -> Float[Array, "pixel channel"]:
        rows, columns = (jnp.clip(first + more, 0, size - 1) for first, more, size in (
            (above, down, height), (before, along, width)))
        return pixels.at[rows * width + columns].get(mode="promise_in_bounds")

    return (top * (left * read(0, 0) + right * read(0, 1))
            + bottom * (left * read(1, 0) + right * read(1, 1))).reshape(image.shape)


def _neighbours(where: Float[Array, " pixel"], size: int) -> tuple[Array, Array, Array]:
    """Gives the last pixel at or before each position, its weight and the next one's; 0 for those outside."""
    where = jnp.clip(where, -1, size)  # whole numbers far outside would not fit
    first = jnp.floor(where)
    share = where - first
    own, following = jnp.where((first >= 0) & (first < size), 1 - share, 0), jnp.where(first < size - 1, share, 0)
    return first.astype(jnp.int32), own[:, None], following[:, None]


def _positions(height: int, width: int) -> np.ndarray:
    """Gives y and x of each pixel from the middle, and ones: what matrices and shifts multiply."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([y - (height - 1) / 2, x - (width - 1) / 2, np.ones_like(y)]).reshape(3, -1)


def _between(height: int, width: int) -> np.ndarray:
    """Gives the weight of each point of the grid for each pixel, [point, pixel]."""
    down, along = (np.maximum(0, 1 - np.abs(np.linspace(0, GRID - 1, size)[:, None] - np.arange(GRID)))
                   for size in (height, width))
    return np.einsum("yi,xj->ijyx", down, along).reshape(GRID * GRID, -1).astype(np.float32)
