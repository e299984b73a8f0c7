"""Convolution and its fusion with max pooling, in the form that is fastest where it runs.

The forms compute the same values. Which one is traced is said by `using`; without it, it is the one for a single run on
the platform at hand.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from models import conv_accelerator, conv_cpu, windows

# lax: XLA's convolution, of few channels an elementwise expression; for one run on an accelerator.
# patches: products of patches, for several runs at once on an accelerator.
# blocked, winograd: products of a few images' patches, for a CPU; the second in Winograd's form where that suits.
Form = Literal["lax", "patches", "blocked", "winograd"]

Images = Float[Array, "batch height width channel"]
Kernel = Float[Array, "size size channel filter"]
_FORM: contextvars.ContextVar[Form | Literal["as_written"] | None] = contextvars.ContextVar("form", default=None)


@contextlib.contextmanager
def using(form: Form | Literal["as_written"] | None) -> Iterator[None]:
    """Has convolutions traced inside take a form; None is the platform's own.

    "as_written" leaves each convolution and each pooling an operation of XLA's, so that they can be counted.
    """
    token = _FORM.set(form)
    try:
        yield
    finally:
        _FORM.reset(token)


def form() -> Form | Literal["as_written"]:
    """Tells the form that convolutions take here."""
    return _FORM.get() or ("winograd" if jax.default_backend() == "cpu" else "lax")


class Conv(nnx.Conv):
    """Is `nnx.Conv`, with the same arguments, parameters and values, in the form that is fastest where it runs.

    That is another form than Flax's for square kernels over images, without dilation or groups.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"conv_general_dilated": convolve} | kwargs)


def has_faster_form(layer: nnx.Conv) -> bool:
    """Whether `Conv` would compute this layer in another form here."""
    if form() in ("as_written", "lax"):
        return False
    strides, *dilations = (given if isinstance(given, Sequence) else [given or 1] for given in (
        layer.strides, layer.input_dilation, layer.kernel_dilation))
    return (layer.conv_general_dilated is lax.conv_general_dilated and layer.kernel.ndim == 4
            and len(set(layer.kernel_size)) == 1 and len(set(strides)) == 1 and layer.feature_group_count == 1
            and all(set(dilation) == {1} for dilation in dilations)
            and layer.padding in ("SAME", "VALID"))


def convolve(images: Array, kernel: Array, strides: Sequence[int], padding: Any, **more: Any) -> Array:
    """Computes `lax.conv_general_dilated` over images [batch, height, width, channel]."""
    plain = (padding in ("SAME", "VALID") and kernel.ndim == 4 and kernel.shape[0] == kernel.shape[1]
             and len(set(strides)) == 1 and more.get("feature_group_count", 1) == 1
             and all(set(more.get(name) or (1,)) == {1} for name in ("lhs_dilation", "rhs_dilation"))
             and not more.get("preferred_element_type"))
    if form() == "as_written" or not plain:
        return lax.conv_general_dilated(images, kernel, strides, padding, **more)
    return conv_max_pool(images, kernel, padding.lower(), strides[0])


def conv_max_pool(images: Images, kernel: Kernel, padding: str, stride: int = 1, window: int = 1
                  ) -> Float[Array, "batch pooled_height pooled_width filter"]:
    """Convolves, then takes the maximum of each window x window square, dropping an incomplete edge.

    A tie sends its gradient to the first position of the window in row order, as `lax.reduce_window` does.

    Args:
      images: the layer's input.
      kernel: square filters.
      padding: "valid" or "same" (zeros).
      stride: of the convolution, along both axes.
      window: of the pooling, and its stride; 1 leaves it out.
    """
    match form():
        case "as_written":
            convolved = lax.conv_general_dilated(images, kernel, (stride, stride), padding.upper(),
                                                 dimension_numbers=("NHWC", "HWIO", "NHWC"))
            return convolved if window == 1 else max_pool(convolved, window)
        case "lax" | "patches" as chosen:
            return conv_accelerator.conv_max_pool(images, kernel, padding, stride, window, chosen == "patches")
        case chosen:
            return conv_cpu.conv_max_pool(images, kernel, padding, stride, window, chosen == "winograd")


def max_pool(images: Images, window: int) -> Float[Array, "batch pooled_height pooled_width channel"]:
    """Takes the maximum of each window x window square with stride `window`, dropping an incomplete edge.

    A tie sends its gradient to the first position of the window in row order, as `lax.reduce_window` does.
    """
    match form():
        case "as_written" if window > 1:
            shape = (1, window, window, 1)
            return lax.reduce_window(images, -jnp.inf, lax.max, shape, shape, "VALID")
        case "blocked" | "winograd" if window > 1:
            return conv_cpu.in_chunks(functools.partial(windows.max_pool, window=window), images)
        case _:
            return windows.max_pool(images, window)
