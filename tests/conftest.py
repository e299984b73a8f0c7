"""Settings that must precede jax's first use, and a small data set for tests that train."""

import jax
import numpy as np
import pytest

from harness.data import Dataset, Split

jax.config.update("jax_num_cpu_devices", 4)


def small_dataset(train: int = 150, validation: int = 40, test: int = 1007, shape: tuple[int, int, int] = (8, 8, 1),
                  classes: int = 4) -> Dataset:
    """Makes a learnable data set: each class lights up one quarter of the image. Sizes divide by no batch size."""
    rng = np.random.default_rng(0)

    def split(size: int) -> Split:
        labels = rng.integers(0, classes, size).astype(np.int32)
        images = rng.integers(0, 160, (size, *shape)).astype(np.uint8)
        half = shape[0] // 2
        for image, label in zip(images, labels, strict=True):
            top, left = divmod(int(label), 2)
            image[top * half:(top + 1) * half, left * half:(left + 1) * half] += 80
        return Split(images, labels)

    return Dataset(name="small", train=split(train), validation=split(validation), test=split(test),
                   class_names=tuple(map(str, range(classes))), fingerprint="f", pixels="p", official=True,
                   warnings=(), source="bundled")


@pytest.fixture
def dataset() -> Dataset:
    return small_dataset()
