"""What every side of a forward workload is given: MobileNetV2 as a list of convolutions, its weights, and a reference.

Imports numpy alone, as `harness.benchmark.sides.task` does.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from harness.benchmark.sides import task

EPSILON = 1e-3  # of batch norm, in Keras's MobileNetV2
# Images at once that a peer tries: around what fits its processor's caches, and up to what fills an accelerator.
BATCHES = (8, 32, 128)
TRIAL = 256  # images that a peer tries each of its settings on, three times: with fewer the choice is left to noise


class Conv(NamedTuple):
    """A convolution with zero padding ("SAME") and the batch norm after it.

    Attributes:
      name, norm: of the two layers in Keras.
      size: of the kernel: 1 or 3.
      depthwise: whether each channel has a filter of its own; then `filters` are the channels.
      relu6: whether ReLU6 follows.
    """

    name: str
    norm: str
    size: int
    channels: int
    filters: int
    stride: int = 1
    depthwise: bool = False
    relu6: bool = True

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """As in Keras: [row, column, channel, filter], of a depthwise kernel [row, column, channel, 1]."""
        return self.size, self.size, self.channels, 1 if self.depthwise else self.filters


class Part(NamedTuple):
    """The stem, a block or the last convolution; a residual one adds its input to its output."""

    convs: list[Conv]
    residual: bool = False


class Weights(NamedTuple):
    """The arrays of a convolution and its batch norm, float32; those of batch norm have a value per filter."""

    kernel: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Gives the kernel and the bias that do the work of both; a depthwise kernel's filters are its channels."""
        factor = self.scale / np.sqrt(self.variance + EPSILON)
        per_filter = factor[:, None] if self.kernel.shape[3] == 1 else factor
        return self.kernel * per_filter, self.bias - self.mean * factor


class Given:
    """A forward job as arrays: the network, its weights by the names of convolutions, and uint8 images."""

    def __init__(self, job: Mapping[str, Any]):
        self.shape: tuple[int, int, int] = tuple(job["image_shape"])
        self.parts = parts(job["blocks"], job["features"])
        self.weights = weights(self.parts)
        self.images, _ = task.images(job["examples"], self.shape, job["num_classes"])
        self.held_out, _ = task.images(job["held_out"], self.shape, job["num_classes"], held_out=True)

    def compare(self, compute: Callable[[np.ndarray], np.ndarray], batch: int) -> dict[str, float]:
        """Scores features of the held-out images against the reference.

        Args:
          compute: what is timed: maps images to features, so many at once.
          batch: the held-out images are repeated to fill it, so that the program that was timed is what is scored.
        """
        found = compute(np.resize(self.held_out, (batch, *self.shape)))[:len(self.held_out)]
        return {"loss": distance(found, reference(self.held_out, self.parts, self.weights))}


def parts(blocks: list[list[int]], features: int) -> list[Part]:
    """Lists the network from its images to its feature map.

    Args:
      blocks: number, channels, expanded channels, filters and stride of each: `models.mobilenet_v2.Block`.
      features: filters of the last convolution.
    """
    listed = [Part([Conv("Conv1", "bn_Conv1", 3, 3, blocks[0][1], 2)])]
    for number, channels, expanded, filters, stride in blocks:
        name = f"block_{number}" if number else "expanded_conv"
        convs = [Conv(f"{name}_expand", f"{name}_expand_BN", 1, channels, expanded)] if number else []
        convs += [Conv(f"{name}_depthwise", f"{name}_depthwise_BN", 3, expanded, expanded, stride, depthwise=True),
                  Conv(f"{name}_project", f"{name}_project_BN", 1, expanded, filters, relu6=False)]
        listed.append(Part(convs, residual=stride == 1 and channels == filters))
    return [*listed, Part([Conv("Conv_1", "Conv_1_bn", 1, blocks[-1][3], features)])]


def weights(listed: list[Part]) -> dict[str, Weights]:
    """Draws weights, always the same ones, with which features tell images apart down to the last layer."""
    rng = np.random.default_rng(0)
    drawn = {}
    for conv in (conv for part in listed for conv in part.convs):
        shape, count = conv.kernel_shape, conv.filters
        arrays = (rng.normal(0, math.sqrt(2 / math.prod(shape[:2]) / (1 if conv.depthwise else shape[2])), shape),
                  rng.uniform(0.8, 1.2, count), rng.normal(0, 0.3, count), rng.normal(0, 0.1, count),
                  rng.uniform(0.5, 2, count))
        drawn[conv.name] = Weights(*(array.astype(np.float32) for array in arrays))
    return drawn


def padding(side: int, stride: int) -> tuple[int, int]:
    """Counts the zeros before and after a side of an image that a 3 x 3 convolution needs for "SAME"."""
    total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
    return total // 2, total - total // 2


def reference(images: np.ndarray, listed: list[Part], arrays: Mapping[str, Weights]) -> np.ndarray:
    """Computes features [image, feature] of uint8 images in float64, batch norm unfolded, one image at a time."""
    features = []
    for image in images:
        x = image / 127.5 - 1
        for part in listed:
            inputs = x
            for conv in part.convs:
                x = _apply(x, conv, arrays[conv.name])
            x = inputs + x if part.residual else x
        features.append(x.mean((0, 1)))
    return np.stack(features)


def _apply(x: np.ndarray, conv: Conv, arrays: Weights) -> np.ndarray:
    kernel = arrays.kernel.astype(np.float64)
    if conv.size == 1:
        x = x @ kernel[0, 0]
    else:
        rows, columns = (-(-side // conv.stride) for side in x.shape[:2])
        x = np.pad(x, (padding(x.shape[0], conv.stride), padding(x.shape[1], conv.stride), (0, 0)))
        shifted = {(i, j): x[i:i + conv.stride * rows:conv.stride, j:j + conv.stride * columns:conv.stride]
                   for i in range(3) for j in range(3)}
        x = sum(part[:rows, :columns] * kernel[at][:, 0] if conv.depthwise else part[:rows, :columns] @ kernel[at]
                for at, part in shifted.items())
    x = (x - arrays.mean) / np.sqrt(arrays.variance + EPSILON) * arrays.scale + arrays.bias
    return np.clip(x, 0, 6) if conv.relu6 else x


def distance(features: np.ndarray, expected: np.ndarray) -> float:
    """Relates how far features are from the expected ones to how far those are from their mean over images.

    What says the same of every image is therefore no nearer than 1, however close its values are.
    """
    return float(np.linalg.norm(features - expected) / np.linalg.norm(expected - expected.mean(0)))
