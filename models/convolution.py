"""Convolution and its fusion with max pooling, in the form each platform runs fastest.

Called by `models.layers`. XLA's own convolution trains these networks at a small fraction of a CPU's speed inside a
loop, so on a CPU a convolution is patches times matrix, a few images at a time; elsewhere it is `lax.conv`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Images per chunk on a CPU: few enough that their patches stay in the second-level cache.
CHUNK = 8

Images = Float[Array, "batch height width channel"]
Kernel = Float[Array, "size size channel filter"]


def conv(images: Images, kernel: Kernel, padding: str) -> Float[Array, "batch out_height out_width filter"]:
    """Convolves with stride 1.

    Args:
      images: the layer's input.
      kernel: square filters of odd size.
      padding: "valid" or "same" (zeros).
    """
    if jax.default_backend() == "cpu":
        return _chunked_conv_pool(_pad(images, kernel.shape[0], padding), kernel, 1)
    return _lax_conv(images, kernel, padding)


def conv_max_pool(images: Images, kernel: Kernel, padding: str, window: int
                  ) -> Float[Array, "batch pooled_height pooled_width filter"]:
    """Convolves with stride 1, then takes the maximum of each window x window square, dropping an incomplete edge.

    A tie sends its gradient to the first position of the window in row order, as `lax.reduce_window` does.
    """
    if jax.default_backend() == "cpu":
        return _chunked_conv_pool(_pad(images, kernel.shape[0], padding), kernel, window)
    return max_pool(_lax_conv(images, kernel, padding), window)


def max_pool(images: Images, window: int) -> Float[Array, "batch pooled_height pooled_width channel"]:
    """Takes the maximum of each window x window square with stride `window`, dropping an incomplete edge."""
    shape = (1, window, window, 1)
    return lax.reduce_window(images, -jnp.inf, lax.max, shape, shape, "VALID")


def _lax_conv(images, kernel, padding):
    return lax.conv_general_dilated(images, kernel, (1, 1), padding.upper(), dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _pad(images, size, padding):
    before = (size - 1) // 2
    return images if padding == "valid" else jnp.pad(images, ((0, 0), (before, size - 1 - before),
                                                              (before, size - 1 - before), (0, 0)))


def _patches(images, size, height, width):
    """Lays the size x size neighbourhood of each output pixel side by side on the channel axis."""
    shifts = itertools.product(range(size), repeat=2)
    return jnp.concatenate([images[:, i:i + height, j:j + width] for i, j in shifts], -1)


def _in_chunks(array):
    """Splits the batch into the largest equal chunks of at most CHUNK images."""
    chunk = max(n for n in range(1, CHUNK + 1) if array.shape[0] % n == 0)
    return array.reshape(-1, chunk, *array.shape[1:])


def _joined(chunks):
    return chunks.reshape(-1, *chunks.shape[2:])


def _used_size(images, kernel, window):
    """Height and width of the convolution's output that whole pooling windows cover."""
    return tuple((n - kernel.shape[0] + 1) // window * window for n in images.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _chunked_conv_pool(images, kernel, window):
    return _forward(images, kernel, window)[0]


def _forward(images, kernel, window):
    height, width = _used_size(images, kernel, window)
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def one_chunk(chunk):
        scores = _patches(chunk, kernel.shape[0], height, width) @ matrix
        if window == 1:
            return scores, jnp.zeros((), jnp.uint8)
        corners = [scores[:, i::window, j::window] for i, j in itertools.product(range(window), repeat=2)]
        highest = functools.reduce(jnp.maximum, corners)
        # Which corner won takes a byte; keeping the scores for the backward pass would take window**2 floats.
        winner = jnp.full(highest.shape, len(corners) - 1, jnp.uint8)
        for position in reversed(range(len(corners) - 1)):
            winner = jnp.where(corners[position] == highest, jnp.uint8(position), winner)
        return highest, winner

    pooled, winner = lax.map(one_chunk, _in_chunks(images))
    return _joined(pooled), (images, kernel, winner)


def _backward(window, residuals, gradient):
    images, kernel, winner = residuals
    size, _, channels, filters = kernel.shape
    height, width = _used_size(images, kernel, window)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3).reshape(-1, channels)

    def one_chunk(kernel_gradient, inputs):
        chunk, winner, gradient = inputs
        if window > 1:
            position = jnp.arange(window ** 2, dtype=jnp.uint8).reshape(1, 1, window, 1, window, 1)
            won = winner[:, :, None, :, None] == position
            gradient = jnp.where(won, gradient[:, :, None, :, None], 0).reshape(-1, height, width, filters)
        patches = _patches(chunk, size, height, width)
        kernel_gradient += jnp.tensordot(patches, gradient, ((0, 1, 2), (0, 1, 2)))
        edge = size - 1
        spread = jnp.pad(gradient, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        image_gradient = _patches(spread, size, height + edge, width + edge) @ flipped
        unused = [(0, whole - part) for whole, part in zip(chunk.shape, image_gradient.shape, strict=True)]
        return kernel_gradient, jnp.pad(image_gradient, unused)

    # Zeros like the kernel, so that inside shard_map the sum varies over devices from its start, as the kernel does.
    start = jnp.zeros_like(kernel.reshape(-1, filters))
    chunks = (_in_chunks(images), winner, _in_chunks(gradient))
    kernel_gradient, image_gradient = lax.scan(one_chunk, start, chunks)
    return _joined(image_gradient), kernel_gradient.reshape(kernel.shape)


_chunked_conv_pool.defvjp(_forward, _backward)
