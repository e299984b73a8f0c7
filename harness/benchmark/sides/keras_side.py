"""Keras on TensorFlow: `fit` with the data feed, `steps_per_execution` and `jit_compile` that are fastest here."""

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from harness.benchmark.sides import serve, task

FEEDS = ("float32 arrays", "uint8 arrays", "tf.data")


class Side:
    """One network; a grid is its `fit` again and again, which spares Keras the building and tracing of each run."""

    def __init__(self, job: dict[str, Any]):
        keras.utils.set_random_seed(0)
        tf.config.experimental.enable_tensor_float_32_execution(job["precision"] == "tf32")
        keras.config.set_dtype_policy("mixed_bfloat16" if job["precision"] == "bfloat16" else "float32")
        self.job = job
        self.shape = tuple(job["image_shape"])
        self.images, self.labels = task.images(job["examples"], self.shape, job["num_classes"])

    def start(self) -> dict[str, Any]:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
        return {"versions": versions, "platform": "gpu" if tf.config.list_physical_devices("GPU") else "cpu"}

    def calibrate(self) -> dict[str, Any]:
        """Chooses one setting after the other: a network that XLA compiles badly may take minutes for an epoch."""
        def seconds(settings: dict[str, Any]) -> float:
            return min(self._seconds(settings), self._epoch(), self._epoch())

        best = {"feed": FEEDS[0], "steps_per_execution": 8, "jit_compile": False}
        for name, values in (("feed", FEEDS), ("jit_compile", (False, True)), ("steps_per_execution", (8, 1, 32))):
            best = serve.fastest([best | {name: value} for value in values], seconds)
        return best

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        epoch_s, first_s = self._seconds(settings), self.first_s
        return {"compile_s": max(0.0, first_s - epoch_s), "work": self.job["runs"] * len(self.labels)}

    def _seconds(self, settings: dict[str, Any]) -> float:
        """Builds the network and times its second epoch; keeps the time of all up to the end of the first."""
        keras.backend.clear_session()
        self.settings = settings
        started = time.perf_counter()
        self.model = self._build()
        self.data = self._feed()
        self._epoch()
        self.first_s = time.perf_counter() - started
        return self._epoch()

    def time(self) -> float:
        return sum(self._epoch() for _ in range(self.job["runs"]))

    def device_bytes(self) -> None:
        return None

    def learn(self) -> dict[str, float]:
        self.model = self._build()
        for _ in range(self.job["config"]["epochs"]):
            self._epoch()
        images, labels = task.images(self.job["held_out"], self.shape, self.job["num_classes"], held_out=True)
        if self.settings["feed"] == "float32 arrays":
            images = images.astype(np.float32) / 255
        return task.score(self.model.predict(images, batch_size=500, verbose=0), labels)

    def _epoch(self) -> float:
        started = time.perf_counter()
        self.model.fit(**self.data, epochs=1, verbose=0)
        return time.perf_counter() - started

    def _build(self) -> Any:
        scaled = self.settings["feed"] == "float32 arrays"
        model = keras.Sequential([keras.Input(self.shape, dtype="float32" if scaled else "uint8")])
        if not scaled:
            model.add(keras.layers.Rescaling(1 / 255))
        for layer in task.layers(self.job["config"], self.job["num_classes"]):
            model.add(_layer(layer))
        if self.job["precision"] == "bfloat16":
            model.add(keras.layers.Activation("linear", dtype="float32"))  # the loss is taken of float32 logits
        rate = self.job["config"]["optimizer"]["learning_rate"]
        model.compile(
            optimizer=keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=self.settings["jit_compile"],
            steps_per_execution=self.settings["steps_per_execution"])
        return model

    def _feed(self) -> dict[str, Any]:
        batch = self.job["config"]["batch_size"]
        if self.settings["feed"] != "tf.data":
            scaled = self.settings["feed"] == "float32 arrays"
            return {"x": self.images.astype(np.float32) / 255 if scaled else self.images, "y": self.labels,
                    "batch_size": batch, "shuffle": True}
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        order = tf.data.Dataset.range(len(self.labels)).shuffle(len(self.labels)).batch(batch)
        return {"x": order.map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen)),
                               num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)}


def _layer(layer: task.Layer) -> Any:
    """Glorot uniform kernels, zero biases, momentum 0.99 and epsilon 1e-3 are Keras's defaults."""
    match layer.kind:
        case "conv":
            return keras.layers.Conv2D(layer.units, layer.size, padding=layer.padding, activation=layer.activation)
        case "max_pool":
            return keras.layers.MaxPooling2D(layer.size)
        case "dropout":
            return keras.layers.Dropout(layer.rate)
        case "batch_norm":
            return keras.layers.BatchNormalization()
        case "flatten":
            return keras.layers.Flatten()
        case _:
            return keras.layers.Dense(layer.units, layer.activation)
