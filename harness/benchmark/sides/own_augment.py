"""The harness's own augmentation: what a training step does to a batch's images, step after step.

On a CPU the process keeps to one core, so that a time is that of a core.
"""

import os
import time
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from harness.benchmark import workloads
from harness.benchmark.sides import task
from harness.records.configs import as_json
from harness.training import augmentation, batches, environment


class Side:
    """Batches from memory, changed in a loop inside one program."""

    def __init__(self, job: dict[str, Any]):
        self.cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        _keep_to(sorted(self.cores)[-1:])  # jax's threads, which start next, keep to it as well
        environment.configure(1)
        jax.config.update("jax_enable_compilation_cache", False)  # compile time is without one
        environment.pin()
        self.config = workloads.config_of(job["config"])
        images, _ = task.images(job["examples"], tuple(job["image_shape"]), job["num_classes"])
        self.images = jnp.asarray(images)

    def start(self) -> dict[str, Any]:
        _keep_to(self.cores)  # the machine is described as it is
        machine = environment.describe()
        _keep_to(sorted(self.cores)[-1:])
        return {"versions": machine.packages, "platform": machine.platform, "machine": as_json(machine)}

    def calibrate(self) -> dict[str, Any]:
        return {}

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.strengths = augmentation.strengths(self.config.augment)
        started = time.perf_counter()
        self.program = jax.jit(self._changed).lower(self.images, self.strengths).compile()
        compile_s = time.perf_counter() - started
        self.time()
        return {"compile_s": compile_s, "work": len(self.images)}

    def time(self) -> float:
        started = time.perf_counter()
        jax.block_until_ready(self.program(self.images, self.strengths))
        return time.perf_counter() - started

    def device_bytes(self) -> int | None:
        stats = jax.devices()[0].memory_stats()
        return None if stats is None else stats.get("peak_bytes_in_use")

    def learn(self) -> dict[str, float]:
        """Changes nothing at strength zero: the largest distance of a pixel from what it was."""
        nothing = {name: jnp.zeros_like(strength) for name, strength in self.strengths.items()}
        distance = abs(np.asarray(self.program(self.images, nothing)) - np.asarray(batches.scaled(self.images)))
        return {"loss": float(distance.max())}

    def _changed(self, images: Any, strengths: Any) -> Any:
        size = self.config.batch_size
        places = batches.places(size, None)

        def step(number: Any, changed: Any) -> Any:
            batch = batches.scaled(lax.dynamic_slice_in_dim(images, number * size, size))
            key = batches.key(jnp.int32(0), batches.AUGMENT, number)
            batch = augmentation.augment(batch, key, places, self.config.augment, strengths)
            return lax.dynamic_update_slice_in_dim(changed, batch, number * size, 0)

        return lax.fori_loop(0, len(images) // size, step, jnp.zeros(images.shape))


def _keep_to(cores: Collection[int]) -> None:
    """Keeps this thread, and those that it starts, to some cores, where the system can."""
    if cores:
        os.sched_setaffinity(0, cores)
