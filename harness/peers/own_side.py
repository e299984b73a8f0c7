"""The harness's own engine as a user gets it: `harness.fit.Trainer`, with the devices that `harness.run` sets up."""

import dataclasses
import os
import pathlib
import tempfile
from typing import Any

import jax

from ablations.spec import Run, RunConfig
from harness import environment, fit, workloads
from harness.data import Dataset, Split
from harness.peers import task


class Side:
    """K runs as one cohort."""

    def __init__(self, job: dict[str, Any]):
        self.folder = tempfile.TemporaryDirectory(prefix="harness_bench_")
        # A compilation cache of its own: what earlier programs left in the user's would hide the time to compile.
        os.environ["XDG_CACHE_HOME"] = self.folder.name
        environment.configure(job["runs"])
        self.runs = job["runs"]
        self.work = job["runs"] * job["examples"]
        self.config = dataclasses.replace(workloads.config_of(job["config"]), precision=job["precision"])
        shape, classes = tuple(job["image_shape"]), job["num_classes"]
        held_out = Split(*task.images(job["held_out"], shape, classes, held_out=True))
        self.dataset = Dataset(
            "made_up", train=Split(*task.images(job["examples"], shape, classes)), validation=held_out, test=held_out,
            class_names=tuple(map(str, range(classes))), fingerprint="", pixels="", official=True, warnings=(),
            source="bundled")

    def start(self) -> dict[str, Any]:
        machine = environment.describe()
        return {"versions": machine["packages"], "platform": machine["platform"], "machine": machine}

    def calibrate(self) -> dict[str, Any]:
        return {}  # the engine finds its own

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.trainer = self._trainer()
        self.time()
        assert self.trainer._compiled is not None
        return {"compile_s": self.trainer._compiled.compile_s, "work": self.work}

    def time(self) -> float:
        return self._fit(self.trainer, dataclasses.replace(self.config, epochs=1), self.runs)[0]

    def device_bytes(self) -> int | None:
        stats = jax.devices()[0].memory_stats()
        return None if stats is None else stats.get("peak_bytes_in_use")

    def learn(self) -> dict[str, float]:
        """Trains as many runs as the timed program has side by side; tells the one that learned least."""
        trainer = self._trainer()
        _, members = self._fit(trainer, self.config, trainer.width)
        sums = [member.test["last"].sums for member in members if member.test]
        scores = [{"loss": float(total.loss) / int(total.examples),
                   "accuracy": int(total.correct) / int(total.examples)} for total in sums]
        return max(scores, key=lambda score: score["loss"])

    def _trainer(self) -> fit.Trainer:
        return fit.Trainer(self.dataset, min(self.runs, jax.device_count()), save_every_s=1e9,
                           stop_requested=lambda: False)

    def _fit(self, trainer: fit.Trainer, config: RunConfig, runs: int) -> tuple[float, list[fit.Member]]:
        """Trains runs, as many at once as there are devices; the seconds of all training epochs."""
        seconds = 0.0
        members: list[fit.Member] = []

        def add(epochs: list[fit.Epoch]) -> None:
            nonlocal seconds
            seconds += epochs[0].train_s  # those that train side by side share it

        with tempfile.TemporaryDirectory(dir=self.folder.name) as folder:
            for first in range(0, runs, trainer.width):
                seeds = range(first, min(first + trainer.width, runs))
                batch = [trainer.member(Run({}, seed, config), pathlib.Path(folder, str(seed))) for seed in seeds]
                trainer.fit(batch, lambda compiled: None, add)
                members += batch
        return seconds, members
