"""What the first run of a cell keeps to be looked at: some test images, and the weights of its first layer.

The report draws them, since it reads nothing but what runs leave behind.
"""

import math
from typing import Any

import jax
import numpy as np
from flax import nnx

FIRST_IMAGES = 25  # a grid of five by five
CONFIDENT_ERRORS = 25
CONFUSED_PAIRS, OF_EACH_PAIR = 8, 3
STORED_WEIGHTS = 2**15


def images_to_show(predicted: np.ndarray, probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Chooses test examples: the first ones, the most confident errors, and some of each most confused pair of classes.

    Args:
      predicted, labels: int [example].
      probability: float [example], that of the predicted class.

    Returns:
      their positions, int32, each once.
    """
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-probability[wrong].astype(float), kind="stable")]
    pairs, number = np.unique(np.stack([labels[wrong], predicted[wrong]]), axis=1, return_counts=True)
    confused = pairs.T[np.argsort(-number, kind="stable")][:CONFUSED_PAIRS]
    examples = [wrong[(labels[wrong] == true) & (predicted[wrong] == taken_for)][:OF_EACH_PAIR]
                for true, taken_for in confused]
    chosen = np.concatenate([np.arange(min(FIRST_IMAGES, len(labels))), wrong[:CONFIDENT_ERRORS], *examples])
    return np.fromiter(dict.fromkeys(chosen.tolist()), np.int32)


def first_layer(initial: Any, trained: Any, example_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Takes the kernel of the first layer that has one, before and after training.

    Args:
      initial, trained: parameters of one network.
      example_shape: of what it reads.

    Returns:
      nothing if no kernel that is trained fits what the network reads, else
      "initial" and "trained", float16 [input, unit] or [height, width, channel, filter], cut to the first units so that
      at most `STORED_WEIGHTS` values are kept; "units", how many there are; "layer", its path.
    """
    if len(example_shape) == 1:  # features of a frozen backbone
        return {}
    # Flax sorts by name: of a backbone's kernels only the first convolution's is known to be the first, and of others
    # one that fits what the network reads. A convolution's comes first: tokens may be as long as an image has pixels.
    kernels = [(path, leaf) for path, leaf in nnx.to_flat_state(initial) if path[-1] == "kernel" and (
        "Conv1" in path if "backbone" in path else _reads(leaf.shape, example_shape))]
    if not kernels:
        return {}
    path, before = max(kernels, key=lambda kernel: len(kernel[1].shape))
    after = dict(nnx.to_flat_state(trained))[path]
    before, after = (np.asarray(jax.device_get(leaf[...])) for leaf in (before, after))
    units = before.shape[-1]
    kept = max(1, min(units, STORED_WEIGHTS // (before.size // units)))
    return {"initial": before[..., :kept].astype(np.float16), "trained": after[..., :kept].astype(np.float16),
            "units": np.array(units, np.int32), "layer": np.array(".".join(map(str, path[:-1])))}


def _reads(kernel: tuple[int, ...], example: tuple[int, ...]) -> bool:
    """Whether a kernel is as large as a layer's on the network's inputs."""
    return kernel[:-1] == (math.prod(example),) or (len(kernel) == 4 and kernel[2:3] == example[2:])
