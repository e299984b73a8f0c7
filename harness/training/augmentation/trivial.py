"""TrivialAugment: one change per image, drawn from a list, at a random strength.

Of the fourteen changes of the paper's wide space Equalize is left out: its histogram would cost more than all others
together, which are computed for every image, since a batch has no branches. Interpolation is linear, and shears leave
the middle where it is, as rotations do; torchvision's leave the top left corner.

Source: Müller and Hutter 2021; ranges as in torchvision's TrivialAugmentWide.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from harness.training.augmentation import colour, warping
from harness.training.augmentation.places import Images, Places, uniform

CHANGES = ("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
           "sharpness", "posterize", "solarize", "autocontrast")
STEPS = 30  # from no strength to all of it
SHEAR, TRANSLATE_PX, ROTATE, ENHANCE, BITS = 0.99, 32.0, 135.0, 0.99, 6

Changes = Int[Array, " batch"]
PerImage = Float[Array, " batch"]


def trivial(images: Images, key: Array, places: Places) -> Images:
    """Makes a random change to each image."""
    which, steps, sign = uniform(key, places, 3)
    return change(images, jnp.floor(which * len(CHANGES)).astype(int), jnp.floor(steps * (STEPS + 1)) / STEPS,
                  jnp.where(sign < 0.5, -1.0, 1.0))


def change(images: Images, which: Changes, strength: PerImage, sign: PerImage) -> Images:
    """Makes a given change to each image.

    Args:
      which: places in `CHANGES`.
      strength: from 0 to 1.
      sign: -1 or 1, for those that have a direction.
    """
    images = _moved(images, which, sign * strength)
    images = colour.blend(images, _plain(images, which), 1 + ENHANCE * sign * strength * _is(
        which, "brightness", "color", "contrast", "sharpness"))
    for name, changed in (("posterize", posterized(images, strength)), ("solarize", solarized(images, strength)),
                          ("autocontrast", autocontrasted(images))):
        images = jnp.where(_is(which, name)[:, None, None, None], changed, images)
    return images


def posterized(images: Images, strength: PerImage) -> Images:
    """Keeps the highest 8 to 2 of 8 bits."""
    step = jnp.exp2(jnp.round(BITS * strength))[:, None, None, None]
    return jnp.floor(jnp.round(images * 255) / step) * step / 255


def solarized(images: Images, strength: PerImage) -> Images:
    """Inverts what is at least as bright as a threshold that falls from 1 to 0."""
    return jnp.where(images >= (1 - strength)[:, None, None, None], 1 - images, images)


def autocontrasted(images: Images) -> Images:
    """Spreads each channel over [0, 1], unless all of it is equal."""
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    return jnp.where(high > low, (images - low) / jnp.where(high > low, high - low, 1), images)


def smoothed(images: Images) -> Images:
    """Averages each pixel with its eight neighbours, with a weight of 5 for itself; the rim stays, as in Pillow."""
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images
    around = sum(images[:, y:height - 2 + y, x:width - 2 + x] for y in range(3) for x in range(3))
    inner = (around + 4 * images[:, 1:-1, 1:-1]) / 13
    rows, columns = ((jnp.arange(size) > 0) & (jnp.arange(size) < size - 1) for size in (height, width))
    return jnp.where((rows[:, None] & columns)[..., None], jnp.pad(inner, ((0, 0), (1, 1), (1, 1), (0, 0))), images)


def _moved(images: Images, which: Changes, signed: PerImage) -> Images:
    zero = jnp.zeros_like(signed)
    matrices = warping.linear(jnp.deg2rad(ROTATE) * signed * _is(which, "rotate"),
                              SHEAR * signed * _is(which, "shear_x"), jnp.stack([zero, zero], 1))
    matrices += (SHEAR * signed * _is(which, "shear_y"))[:, None, None] * jnp.array([[0, 1], [0, 0]])
    shifts = TRANSLATE_PX * signed[:, None] * jnp.stack([_is(which, "translate_y"), _is(which, "translate_x")], 1)
    return warping.resample(images, matrices, shifts)


def _plain(images: Images, which: Changes) -> Images:
    plain = colour.black(images)
    for name, given in (("color", colour.grey(images)), ("contrast", colour.mean_grey(images)),
                        ("sharpness", smoothed(images))):
        plain = jnp.where(_is(which, name)[:, None, None, None], given, plain)
    return plain


def _is(which: Changes, *names: str) -> Array:
    return jnp.isin(which, jnp.array([CHANGES.index(name) for name in names]))
