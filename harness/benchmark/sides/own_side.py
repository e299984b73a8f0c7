"""The harness's own engine: the programs and the layout that `harness.run` would train these runs with."""

import dataclasses
import os
import tempfile
import time
from typing import Any

import jax
import numpy as np

from ablations.spec import Run
from harness.benchmark import workloads
from harness.benchmark.sides import task
from harness.data import Dataset, Split
from harness.records.configs import as_json
from harness.training import environment, train, trainer
from harness.training.layout import Layout

# A training long enough that the engine looks for its fastest layout; the measurements are of single epochs.
EPOCHS = 1000


class Side:
    """K runs as one cohort."""

    def __init__(self, job: dict[str, Any]):
        self.folder = tempfile.TemporaryDirectory(prefix="harness_bench_")
        # A compilation cache of its own: what earlier programs left in the user's would hide the time to compile.
        os.environ["XDG_CACHE_HOME"] = self.folder.name
        self.devices = environment.configure()
        environment.pin()
        self.examples, self.epochs = job["examples"], job["config"]["epochs"]
        config = dataclasses.replace(workloads.config_of(job["config"]), precision=job["precision"], epochs=EPOCHS)
        self.runs = [Run({}, seed, config) for seed in range(job["runs"])]
        shape, classes = tuple(job["image_shape"]), job["num_classes"]
        held_out = Split(*task.images(job["held_out"], shape, classes, held_out=True))
        self.dataset = Dataset(
            "made_up", train=Split(*task.images(job["examples"], shape, classes)), validation=held_out, test=held_out,
            class_names=tuple(map(str, range(classes))), fingerprint="", pixels="", official=True, warnings=(),
            source="bundled")

    def start(self) -> dict[str, Any]:
        machine = environment.describe()
        return {"versions": machine.packages, "platform": machine.platform, "machine": as_json(machine)}

    def calibrate(self) -> dict[str, Any]:
        return dataclasses.asdict(trainer.Trainer(self.dataset).choose(self.runs, self.devices, "jit").layout)

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.layout = Layout(**(settings or self.calibrate()))
        self.programs = trainer.Trainer(self.dataset).programs(self.layout, self.runs[0])
        self.states, self.traced = self._fresh()
        self.time()
        return {"compile_s": self.programs.compilation.seconds, "work": len(self.runs) * self.examples}

    def time(self) -> float:
        """Trains as many at once as there are slots, until each run has had an epoch."""
        started = time.perf_counter()
        for _ in range(0, len(self.runs), self.layout.slots):
            self.states, sums = self.programs.train(self.states, self.traced)
            jax.block_until_ready(sums)
        jax.block_until_ready(self.states)
        return time.perf_counter() - started

    def device_bytes(self) -> int | None:
        stats = jax.devices()[0].memory_stats()
        return None if stats is None else stats.get("peak_bytes_in_use")

    def learn(self) -> dict[str, float]:
        """Trains as many runs as there are slots; tells the one that learned least."""
        states, traced = self._fresh()
        for _ in range(self.epochs):
            states, _ = self.programs.train(states, traced)
        ended = [state._replace(epoch=np.int32(EPOCHS)) for state in self.programs.take(states)]
        tested = self.programs.take(self.programs.test(self.programs.put(ended), traced))
        sums = [result["last"].sums for result in tested]
        scores = [{"loss": float(total.loss) / int(total.examples),
                   "accuracy": int(total.correct) / int(total.examples)} for total in sums]
        return max(scores, key=lambda score: task.badness(score["loss"]))

    def _fresh(self) -> tuple[Any, Any]:
        """Lays the start of a run on every slot, with seeds from 0."""
        config = self.runs[0].config
        starts = [train.init(config, seed, self.dataset.num_classes, self.dataset.image_shape)
                  for seed in range(self.layout.slots)]
        return (self.programs.put([state for _, state, _ in starts]),
                self.programs.put([traced for _, _, traced in starts]))
