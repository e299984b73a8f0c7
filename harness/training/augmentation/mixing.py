"""Examples mixed with one another, and their targets with them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from harness.training.augmentation.places import Places
from harness.training.batches import CUTMIX, MIXUP


class Mixing(NamedTuple):
    """How a batch is mixed: what to apply to its images [batch, ...], and to its targets [batch, class]."""

    images: Callable[[Array], Array]
    targets: Callable[[Array], Array]


def mixing(key: Callable[[int], Array], strengths: Mapping[str, Float[Array, ""]], places: Places,
           mask: Bool[Array, " batch"], image_size: tuple[int, ...], axis_name: str | None = None) -> Mixing:
    """Draws how a batch is mixed.

    Args:
      key: gives the step's key of a use: `batches.MIXUP`, `batches.CUTMIX`.
      strengths: of "mixup" and "cutmix" those that are wanted; with both, a batch has either with probability 1/2.
      image_size: height and width.
      places, mask, axis_name: as `mixup` has them.
    """
    mix = cut = Mixing(_as_it_is, _as_it_is)
    if "mixup" in strengths:
        mix = Mixing(*[mixup(key(MIXUP), strengths["mixup"], places, mask, axis_name)] * 2)
    if "cutmix" in strengths:
        cut = cutmix(key(CUTMIX), strengths["cutmix"], places, mask, image_size, axis_name)
    if not {"mixup", "cutmix"} <= strengths.keys():
        return mix if "mixup" in strengths else cut
    is_cut = jax.random.bernoulli(jax.random.fold_in(key(CUTMIX), 2))  # 0 and 1 are what cutmix splits its key into
    return Mixing(*(lambda values, one=one, other=other: jnp.where(is_cut, one(values), other(values))
                    for one, other in zip(cut, mix, strict=True)))


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
    next_ones = _next_ones(places, mask, axis_name)
    return lambda values: share * values + (1 - share) * next_ones(values)


def cutmix(key: Array, strength: Float[Array, ""], places: Places, mask: Bool[Array, " batch"],
           image_size: tuple[int, ...], axis_name: str | None = None) -> Mixing:
    """Draws the box in which each image is replaced by the next one, the same for the whole batch.

    Args:
      strength: above 0: the box takes up 1 - s of the image, s from Beta(strength, strength), before what sticks out
        of the image is cut off.
      image_size: height and width.
      key, places, mask, axis_name: as `mixup` has them.

    Returns:
      how to mix; a target keeps the share of its image's pixels that stay.

    Source: Yun et al. 2019, with the share of the clipped box, as in the authors' code.
    """
    share_key, middle_key = jax.random.split(key)
    side = jnp.sqrt(1 - jax.random.beta(share_key, strength, strength))
    drawn = jax.random.uniform(middle_key, (2,))
    next_ones = _next_ones(places, mask, axis_name)

    def inside(size: int, drawn: Array) -> Bool[Array, " size"]:
        middle, half, pixels = jnp.floor(drawn * size), jnp.floor(jnp.floor(side * size) / 2), jnp.arange(size)
        return (pixels >= middle - half) & (pixels < middle + half)

    rows, columns = map(inside, image_size, drawn)
    stays = 1 - rows.sum() * columns.sum() / (image_size[0] * image_size[1])
    box = rows[:, None, None] & columns[:, None]
    return Mixing(lambda images: jnp.where(box, next_ones(images), images),
                  lambda targets: stays * targets + (1 - stays) * next_ones(targets))


def _next_ones(places: Places, mask: Bool[Array, " batch"], axis_name: str | None) -> Callable[[Array], Array]:
    """Gives a function that puts the next example, of all real ones in the batch, in each example's place."""
    real = lax.psum(mask.sum(), axis_name) if axis_name else mask.sum()
    partner = (places + 1) % jnp.maximum(real, 1).astype(places.dtype)

    def next_ones(values: Array) -> Array:
        everyone = lax.all_gather(values, axis_name, tiled=True) if axis_name else values
        return everyone[partner]

    return next_ones


def _as_it_is(values: Array) -> Array:
    return values
