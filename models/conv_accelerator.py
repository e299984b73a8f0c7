"""Convolution and max pooling in the forms that are fast on an accelerator, where nothing waits in a cache.

XLA's own convolution is the fastest for one run. Of several runs at once, under `vmap`, it makes a grouped convolution,
which gains nothing over one run after another: there a product of patches with the kernel is faster, in which the run
is one more batch dimension. Pooling by XLA's `reduce_window` took a third of such a step: here it is a maximum of
slices, which is computed along with what comes before and after it. A first convolution with few taps is so too, and
its full-size result, 17 MB of a batch of Fashion-MNIST, is never written.

Winograd's form, a product for each row of the kernel, and sums over pixels in place of the first kernel's thin products
were tried on an H200 at 25 runs, and all were slower.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from models.windows import corners, highest, max_pool, score_gradient, taps

# With at most so many values per patch a convolution is computed elementwise; more would be faster as a product.
FEW_TAPS = 9

Images = Float[Array, "batch height width channel"]


def conv_max_pool(images: Images, kernel: Float[Array, "size size channel filter"], padding: str, stride: int,
                  window: int, as_patches: bool) -> Float[Array, "batch pooled_height pooled_width filter"]:
    """Computes `models.convolution.conv_max_pool`.

    Args:
      as_patches: whether products of patches take the place of XLA's convolution.
    """
    size, _, channels, _ = kernel.shape
    pads = lax.padtype_to_pads(images.shape[1:3], (size, size), (stride, stride), padding.upper())
    padded = jnp.pad(images, ((0, 0), *pads, (0, 0)))
    if size * size * channels <= FEW_TAPS:
        return _elementwise(padded, kernel, stride, window)
    if as_patches:
        return _by_patches(padded, kernel, stride, window)
    convolved = lax.conv_general_dilated(padded, kernel, (stride, stride), "VALID",
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return max_pool(convolved, window)


def _slices(padded: Array, size: int, step: int, rows: int, columns: int, top: int = 0, left: int = 0) -> list[Array]:
    """Lists the pixels under each tap of a kernel that stands at every `step`-th place from a corner on."""
    return [padded[:, i:i + step * (rows - 1) + 1:step, j:j + step * (columns - 1) + 1:step]
            for i, j in taps(size, top, left)]


def _places(padded: Array, size: int, stride: int, window: int) -> tuple[int, int]:
    """Counts the rows and columns of windows."""
    rows, columns = (((n - size) // stride + 1) // window for n in padded.shape[1:3])
    return rows, columns


# Patches times matrix.

@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_patches(padded, kernel, stride, window):
    return _patch_forward(padded, kernel, stride, window)[0]


def _patch_forward(padded, kernel, stride, window):
    size = len(kernel)
    rows, columns = _places(padded, size, stride, window)
    patches = _patches(padded, size, stride, rows * window, columns * window)
    top, winner = highest(corners(patches @ kernel.reshape(-1, kernel.shape[-1]), window))
    return top, (padded, kernel, winner)


def _patch_backward(stride, window, residuals, gradient):
    padded, kernel, winner = residuals
    size, (batch, _, _, channels) = len(kernel), padded.shape
    matrix, grid = kernel.reshape(-1, kernel.shape[-1]), score_gradient(winner, gradient, window)
    height, width = grid.shape[1:3]
    # Made anew, since reading the images again takes no longer than reading patches that were kept.
    patches = _patches(padded, size, stride, height, width)
    kernel_gradient = _gradient_of(matrix, [patches], [grid])
    spread = (grid @ matrix.T).reshape(batch, height, width, -1, channels)
    return _gathered(spread, padded, size, stride), kernel_gradient.reshape(kernel.shape)


_by_patches.defvjp(_patch_forward, _patch_backward)


def _patches(padded, size, stride, rows, columns):
    return jnp.concatenate(_slices(padded, size, stride, rows, columns), -1)


def _gradient_of(matrix: Array, inputs: Sequence[Array], gradients: Sequence[Array]) -> Array:
    """Sums what each pair adds to the gradient of the matrix that the inputs were multiplied by."""
    parts = [lax.dot_general(one.reshape(-1, len(matrix)), gradient.reshape(-1, matrix.shape[1]),
                             (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)
             for one, gradient in zip(inputs, gradients, strict=True)]
    return functools.reduce(jnp.add, parts).astype(matrix.dtype)


def _gathered(spread, padded, size, stride):
    """Adds up for every pixel what each tap that saw it sends back: [batch, row, column, tap, channel] to images."""
    height, width = spread.shape[1:3]
    down, right = stride * (height - 1) + 1, stride * (width - 1) + 1
    zero = jnp.zeros((), spread.dtype)
    return sum(lax.pad(spread[:, :, :, tap], zero,
                       ((0, 0, 0), (i, padded.shape[1] - i - down, stride - 1),
                        (j, padded.shape[2] - j - right, stride - 1), (0, 0, 0)))
               for tap, (i, j) in enumerate(taps(size)))


# Few taps: one elementwise expression.

@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _elementwise(padded, kernel, stride, window):
    return _elementwise_forward(padded, kernel, stride, window)[0]


def _elementwise_forward(padded, kernel, stride, window):
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
    top, winner = highest([
        sum(pixel * weights for pixel, weights in zip(_pixels(corner), matrix, strict=True))
        for corner in _corner_slices(padded, len(kernel), stride, window)])
    # Without the barrier a GPU computes all of this again in the backward pass, so as not to keep a byte per result.
    return top.astype(kernel.dtype), (padded, kernel, lax.optimization_barrier(winner))


def _elementwise_backward(stride, window, residuals, gradient):
    padded, kernel, winner = residuals
    size, channels, matrix = len(kernel), padded.shape[3], kernel.reshape(-1, kernel.shape[-1])
    patches = [jnp.concatenate(corner, -1) for corner in _corner_slices(padded, size, stride, window)]
    won = [gradient if window == 1 else jnp.where(winner == place, gradient, 0) for place in range(window ** 2)]
    kernel_gradient = _gradient_of(matrix, patches, won)
    grid = score_gradient(winner, gradient, window)
    spread = (grid @ matrix.T).reshape(*grid.shape[:3], -1, channels)
    return _gathered(spread, padded, size, stride), kernel_gradient.reshape(kernel.shape)


_elementwise.defvjp(_elementwise_forward, _elementwise_backward)


def _corner_slices(padded, size, stride, window):
    """Lists, for each position in a window, the pixels under each tap: [batch, row, column, channel] each."""
    rows, columns = _places(padded, size, stride, window)
    return [_slices(padded, size, stride * window, rows, columns, i * stride, j * stride) for i, j in taps(window)]


def _pixels(slices):
    """Lists values that each weight of a filter multiplies, in the kernel's order: [batch, row, column, 1] each."""
    return [one[..., channel:channel + 1].astype(jnp.float32) for one in slices for channel in range(one.shape[-1])]
