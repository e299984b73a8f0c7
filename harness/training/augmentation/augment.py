"""The changes that a config asks for, one after another."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ablations.augmentation import AugmentConfig
from harness.training.augmentation import colour, erasing, trivial, warping
from harness.training.augmentation.moves import flip, shift, vflip
from harness.training.augmentation.places import Images, Places

# The streams of randomness below a step's key; `shift` and `flip` have the two that splitting the key gives, 0 and 1.
_VFLIP, _WARP, _TRIVIAL, _COLOUR, _ERASE, _CUTOUT = range(2, 8)


def strengths(config: AugmentConfig) -> dict[str, Float[Array, ""]]:
    """Lists the strengths that are not zero, to be passed to a compiled program; mixup's is passed by itself."""
    return {field.name: jnp.float32(value) for field in dataclasses.fields(config)
            if field.metadata.get("traced") and field.name != "mixup" and (value := getattr(config, field.name))}


def augment(images: Images, key: Array, places: Places, config: AugmentConfig,
            strengths: Mapping[str, Float[Array, ""]]) -> Images:
    """Applies what the config asks for, drawn anew for each image.

    Args:
      images: pixel values in [0, 1], and so is what comes back.
      key: one key per call.
      strengths: as `strengths` lists them; these values are used, not the config's.
    """
    shift_key, flip_key = jax.random.split(key) if config.shift_px or config.flip else (key, key)

    def stream(number: int) -> Array:
        return jax.random.fold_in(key, number)

    if config.shift_px:
        images = shift(images, shift_key, places, config.shift_px)
    if config.flip:
        images = flip(images, flip_key, places)
    if config.vflip:
        images = vflip(images, stream(_VFLIP), places)
    if strengths.keys() & set(warping.STRENGTHS):
        images = warping.warp(images, stream(_WARP), places, strengths)
    if config.trivialaugment:
        images = trivial.trivial(images, stream(_TRIVIAL), places)
    if strengths.keys() & set(colour.STRENGTHS):
        images = colour.jitter(images, stream(_COLOUR), places, strengths)
    if "erase_prob" in strengths:
        images = erasing.erase(images, stream(_ERASE), places, strengths["erase_prob"], config.erase_area)
    if "cutout_px" in strengths:
        images = erasing.cutout(images, stream(_CUTOUT), places, strengths["cutout_px"])
    return images
