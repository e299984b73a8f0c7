"""Max pooling that no convolution comes directly before.

XLA looks for each window's winner anew in the backward pass. On a CPU that took six times as long as to keep in a byte
which it was: 1.13 s against 0.19 s, forward and backward, for 256 images of 28 x 28 x 48 and windows of 2 x 2.
"""

from jaxtyping import Array, Float

from models import conv_accelerator, convolution


def max_pool(images: Float[Array, "batch height width channel"], window: int
             ) -> Float[Array, "batch pooled_height pooled_width channel"]:
    """Takes the maximum of each window x window square with stride `window`, dropping an incomplete edge.

    A tie sends its gradient to the first position of the window in row order, as `lax.reduce_window` does.
    """
    if window == 1:
        return images
    if convolution.form() == "as_written":
        return convolution.max_pool(images, window)
    return conv_accelerator.max_pool(images, window)
