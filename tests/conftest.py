"""Settings that must precede jax's first use, and a small data set for tests that train."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from harness import environment
from harness.data import Dataset, Split
from models import mobilenet_v2

jax.config.update("jax_num_cpu_devices", 4)
# The same programs are compiled by many tests. Keeping the small ones too would take longer than compiling them.
environment.keep_compiled_programs()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


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


def random_backbone(width: float = 0.35) -> mobilenet_v2.Backbone:
    """Makes a backbone whose features tell images apart, with running statistics unlike those of a new network."""
    rng = np.random.default_rng(0)
    made = nnx.eval_shape(lambda: mobilenet_v2.build(mobilenet_v2.MobileNetV2Config(width), nnx.Rngs(0)))
    draw = {"scale": lambda shape: rng.uniform(0.8, 1.2, shape), "bias": lambda shape: rng.normal(0, 0.3, shape),
            "mean": lambda shape: rng.normal(0, 0.1, shape), "variance": lambda shape: rng.uniform(0.5, 2, shape),
            "kernel": lambda shape: rng.normal(0, 1, shape) * np.sqrt(8 / np.prod(shape[:3]))}
    for path, leaf in nnx.to_flat_state(nnx.state(made)):
        leaf.set_value(jnp.asarray(draw[path[-1]](leaf.shape), jnp.float32))
    return made


@pytest.fixture
def dataset() -> Dataset:
    return small_dataset()
