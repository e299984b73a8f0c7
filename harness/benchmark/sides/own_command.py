"""The harness's whole command, from its launch to the table, with nothing compiled or cached beforehand."""

import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from harness import records
from harness.benchmark.sides import task
from harness.records.configs import as_json
from harness.training import environment

# A study of the user's own: its runs differ in their seeds alone.
_STUDY = """import dataclasses, json
from ablations.spec import Ablation
from harness.benchmark import workloads

JOB = json.loads({job!r})
BASE = dataclasses.replace(workloads.config_of(JOB["config"]), dataset="npz:data.npz", precision=JOB["precision"],
                           validation_size=JOB["held_out"])
ABLATION = Ablation("How long does a command take?", BASE, {{}}, seeds=tuple(range(JOB["runs"])))
"""
_PART = re.compile(r"(start|loading and compiling|training and recording|report) ([\d.]+) s")


class Side:
    """K runs by one command on a file of images, into an empty folder."""

    def __init__(self, job: dict[str, Any]):
        self.folder = tempfile.TemporaryDirectory(prefix="harness_bench_")
        self.root = pathlib.Path(self.folder.name)
        self.epochs, self.runs, self.examples = job["config"]["epochs"], job["runs"], job["examples"]
        shape, classes = tuple(job["image_shape"]), job["num_classes"]
        images, labels = task.images(job["examples"] + job["held_out"], shape, classes)
        held_out = task.images(job["held_out"], shape, classes, held_out=True)
        np.savez(self.root / "data.npz", x_train=images, y_train=labels, x_test=held_out[0], y_test=held_out[1])
        records.write_atomic(self.root / "study.py", _STUDY.format(job=json.dumps(job)).encode())
        self.took: list[dict[str, float]] = []

    def start(self) -> dict[str, Any]:
        environment.configure()
        machine = environment.describe()
        return {"versions": machine.packages, "platform": machine.platform, "machine": as_json(machine)}

    def calibrate(self) -> dict[str, Any]:
        return {}

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.time()
        return {"compile_s": self.took.pop()["loading and compiling"], "work": self.runs * self.epochs * self.examples}

    def time(self) -> float:
        with tempfile.TemporaryDirectory(dir=self.root) as fresh:
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "harness.run", "--ablation=study.py", f"--results_dir={fresh}/results"],
                cwd=self.root, capture_output=True, text=True, check=False,
                env=os.environ | {"XDG_CACHE_HOME": fresh, "PYTHONPATH": str(pathlib.Path(__file__).parents[3])})
            seconds = time.perf_counter() - started
            if done.returncode:
                raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
            self.recorded = list(records.Folder(f"{fresh}/results", "study").records().values())
        self.took.append({name: float(part) for name, part in _PART.findall(done.stdout)})
        return seconds

    def memory_bytes(self) -> int:
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024

    def device_bytes(self) -> int | None:
        return None

    def learn(self) -> dict[str, Any]:
        """Tells of the last command's runs the one that learned least, and what the parts of a command took."""
        scores = [record.last for record in self.recorded if record.last]
        if len(scores) < self.runs:
            raise RuntimeError(f"{self.runs - len(scores)} of {self.runs} runs were not recorded as done")
        worst = max(scores, key=lambda last: task.badness(last.test_loss))
        parts = {name: statistics.median(took[name] for took in self.took) for name in self.took[0]}
        return {"loss": worst.test_loss, "accuracy": worst.test_accuracy, "parts_s": parts}
