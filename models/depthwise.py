"""The 3 x 3 depthwise convolution as nine shifted multiply-adds, on a CPU a few images at a time.

XLA's own depthwise convolution is several times slower on a CPU.
"""

import functools
import itertools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from models import conv_cpu, convolution

Images = Float[Array, "batch height width channel"]
Kernel = Float[Array, "3 3 channel 1"]
SIZE = 3


def depthwise(images: Images, kernel: Kernel, stride: int) -> Float[Array, "batch rows columns channel"]:
    """Convolves each channel with its own filter; rows and columns are height and width over the stride, rounded up.

    Zeros are added as by "SAME": at stride 2 an even side gets one row at its end, an odd one a row at either end.
    Keras Applications pads the same explicitly.

    Source: `correct_pad` in keras/src/applications/imagenet_utils.py; kernel laid out as in Keras's DepthwiseConv2D.
    """
    kernel = kernel.astype(images.dtype)
    # In bfloat16 the long sums that the kernel's gradients are would stop growing.
    summed = kernel.astype(jnp.float32)
    if convolution.form() == "as_written":
        return lax.conv_general_dilated(images, kernel.swapaxes(2, 3), (stride, stride), "SAME",
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                        feature_group_count=images.shape[3])
    if convolution.form() in ("lax", "patches"):
        return _shifted(images, summed, stride)
    return conv_cpu.in_chunks(functools.partial(_shifted, kernel=summed, stride=stride), images)


def _shifted(images, kernel, stride):
    rows, columns = (-(-side // stride) for side in images.shape[1:3])
    pads = lax.padtype_to_pads(images.shape[1:3], (SIZE, SIZE), (stride, stride), "SAME")
    # Without the barrier the padding is done anew, value by value, for each of the nine products.
    padded = lax.optimization_barrier(jnp.pad(images, ((0, 0), *pads, (0, 0))))
    return sum((padded[:, i:i + stride * (rows - 1) + 1:stride, j:j + stride * (columns - 1) + 1:stride]
                * kernel[i, j, :, 0]).astype(images.dtype) for i, j in itertools.product(range(SIZE), repeat=2))
