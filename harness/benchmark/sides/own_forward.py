"""The harness's own frozen backbone: the program that `harness.data.features` computes a data set's features with."""

import os
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from harness.benchmark.sides import backbone
from harness.data import features
from harness.records.configs import as_json
from harness.training import environment
from models import mobilenet_v2, transfer


class Side:
    """Batch norm folded, each batch split over the devices."""

    def __init__(self, job: dict[str, Any]):
        self.folder = tempfile.TemporaryDirectory(prefix="harness_bench_")
        os.environ["XDG_CACHE_HOME"] = self.folder.name  # compile time is with an empty compilation cache
        self.devices = environment.configure()
        environment.pin()
        self.job, self.given = job, backbone.Given(job)

    def start(self) -> dict[str, Any]:
        machine = environment.describe()
        return {"versions": machine.packages, "platform": machine.platform, "machine": as_json(machine)}

    def calibrate(self) -> dict[str, Any]:
        return {"batch": self.devices * max(1, features.BATCH // self.devices)}

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.batch = settings["batch"]
        started = time.perf_counter()
        whole = transfer.Features(self._network(), self.given.shape[0])
        self.program = features.compiled(whole, self.job["precision"], self.devices)
        some = self.given.images[:self.batch]
        self._features(some)
        first_s = time.perf_counter() - started
        return {"compile_s": max(0.0, first_s - self._seconds(some)), "work": len(self.given.images)}

    def time(self) -> float:
        return self._seconds(self.given.images)

    def device_bytes(self) -> int | None:
        stats = jax.devices()[0].memory_stats()
        return None if stats is None else stats.get("peak_bytes_in_use")

    def learn(self) -> dict[str, float]:
        return self.given.compare(self._features, self.batch)

    def _seconds(self, images: np.ndarray) -> float:
        started = time.perf_counter()
        self._features(images)
        return time.perf_counter() - started

    def _features(self, images: np.ndarray) -> np.ndarray:
        """Fills the last batch up, which would not divide among the devices otherwise, as the harness does."""
        found = []
        for start in range(0, len(images), self.batch):
            some = images[start:start + self.batch]
            padded = np.pad(some, ((0, self.batch - len(some)), (0, 0), (0, 0), (0, 0)))
            found.append(np.asarray(self.program(padded))[:len(some)])
        return np.concatenate(found)

    def _network(self) -> mobilenet_v2.Backbone:
        config = mobilenet_v2.MobileNetV2Config(self.job["config"]["model"]["width"])
        network = nnx.eval_shape(lambda: mobilenet_v2.build(config, nnx.Rngs(0)))
        convs = [conv for part in self.given.parts for conv in part.convs]
        owners = {conv.name: conv.name for conv in convs} | {conv.norm: conv.name for conv in convs}
        for path, slot in nnx.to_flat_state(nnx.state(network)):
            _, layer, array = map(str, path)
            slot.set_value(jnp.asarray(getattr(self.given.weights[owners[layer]], array)))
        return network
