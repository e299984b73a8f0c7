"""What stands for a batch of images here, and the keys that its images draw by."""

import jax
from jaxtyping import Array, Float, UInt32

Images = Float[Array, "batch height width channel"]
Places = UInt32[Array, " batch"]  # of each example in the whole batch, of which this may be a device's share


def keys(key: Array, places: Places) -> Array:
    """Gives each image a key that follows from its place."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, places)


def uniform(key: Array, places: Places, size: int) -> Float[Array, "draw batch"]:
    """Draws so many numbers in [0, 1) for each image."""
    return jax.vmap(lambda own: jax.random.uniform(own, (size,)))(keys(key, places)).T
