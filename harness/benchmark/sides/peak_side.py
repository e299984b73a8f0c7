"""The machine's matmul peak: square matrices of the job's precision on all cores, or on the device, through jax."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from harness.benchmark.sides import serve
from harness.training import environment
from models.precision import multiplied, number_type

LEAST_S = 0.5


class Side:
    """Multiplies on every device at once, one device per core on a CPU: the form the cohorts train in."""

    def __init__(self, job: dict[str, Any]):
        environment.configure()
        environment.pin()
        self.precision = job["precision"]
        self.mesh = Mesh(np.array(jax.devices()), ("device",))

    def start(self) -> dict[str, Any]:
        return {"versions": {"jax": jax.__version__}, "platform": jax.devices()[0].platform}

    def calibrate(self) -> dict[str, Any]:
        sizes = (512, 1024, 2048) if jax.devices()[0].platform == "cpu" else (4096, 8192, 16384)

        def seconds(settings: dict[str, int]) -> float:
            work = self.prepare(settings)["work"]
            return min(self.time() for _ in range(3)) / work

        return serve.fastest([{"size": size} for size in sizes], seconds)

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Compiles; the work is in operations, two per multiply-add."""
        size = settings["size"]
        # Entries of this size keep the product's near one however often it is multiplied.
        factor = jax.random.normal(jax.random.key(0), (size, size)) / size**0.5

        def multiply(x: Any, factor: Any, repeats: Any) -> Any:
            with multiplied(self.precision):
                return jax.lax.fori_loop(0, repeats, lambda _, x: x @ factor, x)

        spread = NamedSharding(self.mesh, P("device"))
        devices = self.mesh.size
        self.arrays = (jax.device_put(jnp.tile(factor, (devices, 1)).astype(number_type(self.precision)), spread),
                       jax.device_put(factor.astype(number_type(self.precision)), NamedSharding(self.mesh, P())))
        self.repeats = 1
        started = time.perf_counter()
        self.multiply = jax.jit(jax.shard_map(
            multiply, mesh=self.mesh, in_specs=(P("device"), P(), P()), out_specs=P("device"), check_vma=False)).lower(
                *self.arrays, jnp.int32(1)).compile()
        compile_s = time.perf_counter() - started
        self.time()
        while (once := self.time()) < LEAST_S / 4:
            self.repeats *= 2
        self.repeats = max(1, round(self.repeats * LEAST_S / once))
        return {"compile_s": compile_s, "repeats": self.repeats, "work": 2 * size**3 * self.repeats * devices}

    def time(self) -> float:
        started = time.perf_counter()
        self.multiply(*self.arrays, jnp.int32(self.repeats)).block_until_ready()
        return time.perf_counter() - started

    def device_bytes(self) -> None:
        return None
