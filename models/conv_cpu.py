"""Convolution with max pooling as matrix products of a few images at a time: the forms for a CPU.

XLA's own convolution trains small networks at a small fraction of a CPU's speed inside a loop. Here it is products of
patches with the kernel, or, for 3 x 3 filters over many channels, Winograd's form, which multiplies less than half as
often. Both compute the scores of each pooling window corner by corner, so what is not a maximum is never stored.

Source of Winograd's form: Lavin and Gray 2016, F(2 x 2, 3 x 3).
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from models.windows import highest, score_gradient, taps

# Images per chunk: few enough that their patches stay in the second-level cache.
CHUNK = 8
# Below this many channels or filters the products of Winograd's form are too thin to pay for its transforms.
WINOGRAD_CHANNELS = 16

Images = Float[Array, "batch height width channel"]


def conv_max_pool(images: Images, kernel: Float[Array, "size size channel filter"], padding: str, stride: int,
                  window: int, winograd: bool = True) -> Float[Array, "batch pooled_height pooled_width filter"]:
    """Computes `models.convolution.conv_max_pool`.

    Args:
      winograd: whether Winograd's form is used where it suits.
    """
    size, _, channels, filters = kernel.shape
    pads = lax.padtype_to_pads(images.shape[1:3], (size, size), (stride, stride), padding.upper())
    padded = jnp.pad(images, ((0, 0), *pads, (0, 0)))
    height, width = (((n - size) // stride + 1) // window * window for n in padded.shape[1:3])
    suits = (size == 3 and stride == 1 and min(channels, filters) >= WINOGRAD_CHANNELS
             and images.dtype == jnp.float32)  # its sums and differences cost bfloat16 what precision it has
    return _conv_max_pool(padded, kernel, _Geometry(size, stride, window, height, width, winograd and suits))


def in_chunks(function: Callable[[Array], Array], images: Images, most: int = CHUNK) -> Array:
    """Applies a function, which treats every image by itself, to chunks of at most so many images."""
    return function(images) if images.shape[0] <= most else _joined(lax.map(function, _in_chunks(images, most)))


class _Geometry(NamedTuple):
    """What a convolution computes: height and width are those of its output that whole windows cover."""

    size: int
    stride: int
    window: int
    height: int
    width: int
    winograd: bool


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_max_pool(images, kernel, geometry):
    return _forward(images, kernel, geometry)[0]


def _forward(images, kernel, geometry):
    matrix = _prepared(kernel, geometry)

    def one_chunk(chunk):
        corners = (_winograd_corners if geometry.winograd else _patch_corners)(chunk, matrix, geometry)
        return highest(corners)

    pooled, winner = lax.map(one_chunk, _in_chunks(images))
    return _joined(pooled), (images, kernel, winner)


def _backward(geometry, residuals, gradient):
    images, kernel, winner = residuals
    # What the kernel goes through is linear, so its gradient comes back through the transpose.
    matrix, restore = jax.vjp(lambda kernel: _prepared(kernel, geometry), kernel)

    def one_chunk(matrix_gradient, inputs):
        chunk, winner, gradient = inputs
        gradients = _winograd_gradients if geometry.winograd else _patch_gradients
        change, image_gradient = gradients(chunk, matrix, winner, gradient, geometry)
        return matrix_gradient + change.astype(jnp.float32), image_gradient

    # Zeros like the matrix, so that inside shard_map the sum varies over devices from its start, as the kernel does;
    # summed in float32, since a long sum of bfloat16 stops growing.
    matrix_gradient, image_gradient = lax.scan(
        one_chunk, jnp.zeros_like(matrix, jnp.float32), (_in_chunks(images), winner, _in_chunks(gradient)))
    return _joined(image_gradient), *restore(matrix_gradient.astype(matrix.dtype))


_conv_max_pool.defvjp(_forward, _backward)


def _prepared(kernel, geometry):
    """Lays the kernel out as [size * size * channel, filter], or transforms it to [16, channel, filter]."""
    if not geometry.winograd:
        return kernel.reshape(-1, kernel.shape[-1])
    return jnp.einsum("ui,vj,ijcf->uvcf", _KERNEL, _KERNEL, kernel).reshape(16, *kernel.shape[2:])


def _in_chunks(array, most=CHUNK):
    """Splits the batch into the largest equal chunks of at most so many images."""
    chunk = max(n for n in range(1, most + 1) if array.shape[0] % n == 0)
    return array.reshape(-1, chunk, *array.shape[1:])


def _joined(chunks):
    return chunks.reshape(-1, *chunks.shape[2:])


def _split(grid, window):
    """Lists, for each corner of a window, that corner of every window: [batch, row, column, filter] each."""
    return [grid[:, i::window, j::window] for i, j in itertools.product(range(window), repeat=2)]


def _interleaved(quarters):
    """Puts together again what `_split` by 2 took apart."""
    batch, height, width, filters = quarters[0].shape
    squares = jnp.stack(quarters, 3).reshape(batch, height, width, 2, 2, filters)
    return squares.swapaxes(2, 3).reshape(batch, 2 * height, 2 * width, filters)


# Patches times matrix.

def _patch_corners(chunk, matrix, geometry):
    """Convolves at one corner of every window at a time."""
    size, stride, window, height, width, _ = geometry
    step = stride * window
    return [jnp.concatenate([
        chunk[:, i:i + step * (height // window - 1) + 1:step, j:j + step * (width // window - 1) + 1:step]
        for i, j in taps(size, a * stride, b * stride)], -1) @ matrix
        for a, b in itertools.product(range(window), repeat=2)]


def _patch_gradients(chunk, matrix, winner, gradient, geometry):
    size, stride, window, height, width, _ = geometry
    grid = score_gradient(winner, gradient, window).reshape(-1, matrix.shape[-1])
    # Pixels innermost: their rows are copied whole, however few channels there are.
    planes = jnp.moveaxis(chunk, -1, 0)
    down, right = stride * (height - 1) + 1, stride * (width - 1) + 1
    patches = jnp.stack([planes[:, :, i:i + down:stride, j:j + right:stride] for i, j in taps(size)])
    matrix_gradient = patches.reshape(matrix.shape[0], -1) @ grid
    batch, rows, columns, channels = chunk.shape
    spread = (grid @ matrix.T).reshape(batch, height, width, -1, channels)
    zero = jnp.zeros((), chunk.dtype)
    image_gradient = sum(
        lax.pad(spread[:, :, :, tap], zero, ((0, 0, 0), (i, rows - i - down, stride - 1),
                                            (j, columns - j - right, stride - 1), (0, 0, 0)))
        for tap, (i, j) in enumerate(taps(size)))
    return matrix_gradient, image_gradient


# Winograd's form: outputs in tiles of 2 x 2, each from 4 x 4 inputs; along one axis, out = OUTPUT (KERNEL k * INPUT d).

_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def _on_both_axes(matrix, tile):
    """Applies a small constant matrix along both axes of a square of arrays, skipping what it zeroes."""
    def along(arrays):
        return [functools.reduce(jnp.add, (weight * array for weight, array in zip(row, arrays, strict=True) if weight))
                for row in matrix]

    return [along(row) for row in zip(*(along(column) for column in zip(*tile, strict=True)), strict=True)]


def _stacked(tile):
    """Stacks a square of arrays [batch, row, column, channel] to [position, batch * row * column, channel]."""
    arrays = list(itertools.chain.from_iterable(tile))
    return jnp.stack(arrays).reshape(len(arrays), -1, arrays[0].shape[-1])


def _winograd_input(chunk, tiles):
    """Transforms the 4 x 4 pixels that each tile sees: [16, batch * tile, channel]."""
    down, right = tiles
    even = [max(2 * n + 2, have + have % 2) for n, have in zip(tiles, chunk.shape[1:3], strict=True)]
    chunk = jnp.pad(chunk, ((0, 0), (0, even[0] - chunk.shape[1]), (0, even[1] - chunk.shape[2]), (0, 0)))
    # Even and odd pixels apart, each tile's pixels are whole slices.
    halves = chunk.reshape(-1, even[0] // 2, 2, even[1] // 2, 2, chunk.shape[3])
    pixels = [[halves[:, u // 2:u // 2 + down, u % 2, v // 2:v // 2 + right, v % 2] for v in range(4)]
              for u in range(4)]
    return _stacked(_on_both_axes(_INPUT, pixels))


def _tiles(geometry):
    return -(-geometry.height // 2), -(-geometry.width // 2)


def _winograd_corners(chunk, matrix, geometry):
    tiles = _tiles(geometry)
    products = lax.dot_general(_winograd_input(chunk, tiles), matrix, (((2,), (1,)), ((0,), (0,))))
    outputs = _on_both_axes(_OUTPUT, products.reshape(4, 4, chunk.shape[0], *tiles, -1))
    corners = list(itertools.chain.from_iterable(outputs))
    if geometry.window == 2:  # the tiles are the windows
        return corners
    return _split(_interleaved(corners)[:, :geometry.height, :geometry.width], geometry.window)


def _winograd_gradients(chunk, matrix, winner, gradient, geometry):
    tiles = _tiles(geometry)
    if geometry.window == 2:
        corners = [jnp.where(winner == position, gradient, 0) for position in range(4)]
    else:
        odd = [(0, n % 2) for n in (geometry.height, geometry.width)]
        corners = _split(jnp.pad(score_gradient(winner, gradient, geometry.window), ((0, 0), *odd, (0, 0))), 2)
    spread = _stacked(_on_both_axes(_OUTPUT.T, (corners[:2], corners[2:])))
    matrix_gradient = lax.dot_general(_winograd_input(chunk, tiles), spread, (((1,), (1,)), ((0,), (0,))))
    products = lax.dot_general(spread, matrix, (((2,), (2,)), ((0,), (0,))))
    pixels = _on_both_axes(_INPUT.T, products.reshape(4, 4, chunk.shape[0], *tiles, -1))
    # Neighbouring tiles share pixels: the last two of one are the first two of the next.
    halves = [sum(jnp.pad(pixels[2 * below + u][2 * beside + v],
                          ((0, 0), (below, 1 - below), (beside, 1 - beside), (0, 0)))
                  for below, beside in itertools.product(range(2), repeat=2))
              for u, v in itertools.product(range(2), repeat=2)]
    whole = _interleaved(halves)[:, :chunk.shape[1], :chunk.shape[2]]
    unseen = [(0, have - seen) for have, seen in zip(chunk.shape, whole.shape, strict=True)]
    return matrix_gradient, jnp.pad(whole, unseen)
