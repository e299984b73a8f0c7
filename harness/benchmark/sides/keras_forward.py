"""Keras's MobileNetV2 on TensorFlow, in inference: the call, batch size and `jit_compile` that are fastest here."""

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from harness.benchmark.sides import backbone, serve


class Side:
    """The model as a user has it, pooled, either under one `tf.function` or by `predict`."""

    def __init__(self, job: dict[str, Any]):
        tf.config.experimental.enable_tensor_float_32_execution(job["precision"] == "tf32")
        keras.config.set_dtype_policy("mixed_bfloat16" if job["precision"] == "bfloat16" else "float32")
        self.job, self.given = job, backbone.Given(job)
        images = keras.Input(self.given.shape, dtype="uint8")
        network = keras.applications.MobileNetV2(
            input_shape=self.given.shape, alpha=job["config"]["model"]["width"], include_top=False, weights=None,
            pooling="avg")
        for conv in (conv for part in self.given.parts for conv in part.convs):
            kernel, *norm = self.given.weights[conv.name]
            network.get_layer(conv.name).set_weights([kernel])
            network.get_layer(conv.norm).set_weights(norm)
        self.model = keras.Model(images, network(keras.layers.Rescaling(1 / 127.5, -1)(images), training=False))

    def start(self) -> dict[str, Any]:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
        return {"versions": versions, "platform": "gpu" if tf.config.list_physical_devices("GPU") else "cpu"}

    def calibrate(self) -> dict[str, Any]:
        def seconds(settings: dict[str, Any]) -> float:
            self.prepare(settings)
            return min(self._seconds(self.given.images[:backbone.TRIAL]) for _ in range(3))

        best = {"call": "tf.function", "batch": 32, "jit_compile": False}
        for name, values in (("batch", backbone.BATCHES), ("jit_compile", (False, True)),
                             ("call", ("tf.function", "predict"))):
            best = serve.fastest([best | {name: value} for value in values], seconds)
        return best

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.settings = settings
        started = time.perf_counter()
        self.model.compile(jit_compile=settings["jit_compile"])
        self.call = tf.function(lambda images: self.model(images, training=False), jit_compile=settings["jit_compile"])
        some = self.given.images[:settings["batch"]]
        self._features(some)
        first_s = time.perf_counter() - started
        return {"compile_s": max(0.0, first_s - self._seconds(some)), "work": len(self.given.images)}

    def time(self) -> float:
        return self._seconds(self.given.images)

    def device_bytes(self) -> None:
        return None

    def learn(self) -> dict[str, float]:
        return self.given.compare(self._features, self.settings["batch"])

    def _seconds(self, images: np.ndarray) -> float:
        started = time.perf_counter()
        self._features(images)
        return time.perf_counter() - started

    def _features(self, images: np.ndarray) -> np.ndarray:
        batch = self.settings["batch"]
        if self.settings["call"] == "predict":
            found = self.model.predict(images, batch_size=batch, verbose=0)
        else:
            found = np.concatenate([self.call(tf.constant(images[start:start + batch])).numpy()
                                    for start in range(0, len(images), batch)])
        return found.astype(np.float32)
