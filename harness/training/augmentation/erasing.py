"""Parts of images taken out."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from harness.training.augmentation.places import Images, Places, uniform

# Height over width of a rectangle. Source: Zhong et al. 2020, sec. 4.1; torchvision's RandomErasing.
ASPECT = 0.3, 3.3

PerImage = Float[Array, " batch"]


def erase(images: Images, key: Array, places: Places, probability: Float[Array, ""], area: tuple[float, float]
          ) -> Images:
    """Sets a rectangle inside each image to 0, with a probability.

    Args:
      area: smallest and largest share of the image that it takes up; less where a long one would not fit.

    Source: Zhong et al. 2020.
    """
    _, height, width, _ = images.shape
    happens, share, aspect, top, left = uniform(key, places, 5)
    pixels = (area[0] + (area[1] - area[0]) * share) * (height * width)
    ratio = jnp.exp(jnp.log(ASPECT[0]) + (jnp.log(ASPECT[1]) - jnp.log(ASPECT[0])) * aspect)
    high = jnp.clip(jnp.round(jnp.sqrt(pixels * ratio)), 1, height)
    wide = jnp.clip(jnp.round(jnp.sqrt(pixels / ratio)), 1, width)
    inside = box(images, jnp.floor(top * (height - high + 1)), jnp.floor(left * (width - wide + 1)), high, wide)
    return jnp.where(inside & (happens < probability)[:, None, None, None], 0, images)


def cutout(images: Images, key: Array, places: Places, side: Float[Array, ""]) -> Images:
    """Sets a square around a random pixel of each image to the image's mean, channel by channel.

    Args:
      side: whole pixels; what sticks out of the image changes nothing.

    Source: DeVries and Taylor 2017, who set it to the mean of the data set.
    """
    _, height, width, _ = images.shape
    y, x = uniform(key, places, 2)
    inside = box(images, jnp.floor(y * height) - side // 2, jnp.floor(x * width) - side // 2, side, side)
    return jnp.where(inside, images.mean((1, 2), keepdims=True), images)


def box(images: Images, top: PerImage, left: PerImage, high: PerImage, wide: PerImage
        ) -> Bool[Array, "batch height width 1"]:
    """Tells which pixels are inside each image's rectangle."""
    def inside(size: int, first: Array, length: Array) -> Array:
        pixels, first = jnp.arange(size), first[:, None]
        return (pixels >= first) & (pixels < first + jnp.reshape(length, (-1, 1)))

    rows, columns = inside(images.shape[1], top, high), inside(images.shape[2], left, wide)
    return rows[:, :, None, None] & columns[:, None, :, None]
