"""The views of an image that a network is shown when it is tested with augmentation."""

from collections.abc import Iterator

import jax.numpy as jnp

from harness.training.augmentation.places import Images

_STEPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


def views(images: Images, tta: str) -> Iterator[Images]:
    """Gives the images as they are, then moved by one pixel each way, filling with zeros, and each of these mirrored.

    Args:
      images: pixel values scaled to [0, 1].
      tta: which of these changes are made; see `ablations.augmentation.TTA`.
    """
    _, height, width, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for down, right in _STEPS if "shift" in tta else _STEPS[:1]:
        moved = padded[:, 1 - down:1 - down + height, 1 - right:1 - right + width]
        yield moved
        if "flip" in tta:
            yield moved[:, :, ::-1]
