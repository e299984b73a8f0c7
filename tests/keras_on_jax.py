"""Keras with its JAX backend, the reference that the port is compared with, and files of its random weights."""

import warnings
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

# The variable is set for this import alone: processes that tests start choose their own backend.
with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
    patched.setenv("KERAS_BACKEND", "jax")
    warnings.simplefilter("ignore")
    import keras
    from keras.src.legacy.saving import legacy_h5_format

assert keras.backend.backend() == "jax", "Keras was imported with another backend in this process"


def build(width: float, shape: tuple[int, int, int] | None = None, top: bool = False, classes: int = 1000):
    """Builds Keras's model with kernels of zeros; drawing each of them would compile a program for its shape."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras.src.backend.random, "uniform", lambda shape, *_, **__: np.zeros(shape, np.float32))
        return keras.applications.MobileNetV2(input_shape=shape, alpha=width, include_top=top, weights=None,
                                              classes=classes, classifier_activation=None)


def reference(width: float, size: tuple[int, int] | None = None, top: bool = False, classes: int = 1000, seed: int = 0):
    """Builds Keras's model; every array is random, also the statistics and the scale and offset of batch norm."""
    model = build(width, None if size is None else (*size, 3), top, classes)
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        shape, name = variable.shape, variable.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif name in ("beta", "moving_mean", "bias"):
            variable.assign(rng.normal(0, 0.3, shape))
        elif name == "kernel":
            depthwise = "depthwise" in variable.path
            inputs = 9 if depthwise else np.prod(shape[:-1])
            # A larger scale makes a network of this depth amplify the rounding of its first layers.
            variable.assign(rng.normal(0, inputs ** -0.5, shape))
        else:
            raise AssertionError(f"{variable.path} was not expected")
    return model


def write(model, path: Path) -> Path:
    """Writes a model's weights in the layout of Keras Applications' files."""
    with h5py.File(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about a variable of Keras
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def outputs(model, names, images, training=False):
    """Runs the model; returns the outputs of the layers named, then its updated non-trainable arrays by path."""
    several = keras.Model(model.inputs, {name: model.get_layer(name).output for name in names})
    trainable = [variable.value for variable in several.trainable_variables]
    other = [variable.value for variable in several.non_trainable_variables]

    @jax.jit
    def run(trainable, other, images):
        return several.stateless_call(trainable, other, images, training=training)

    found, updated = run(trainable, other, images)
    paths = [variable.path for variable in several.non_trainable_variables]
    return found, dict(zip(paths, updated, strict=True))
