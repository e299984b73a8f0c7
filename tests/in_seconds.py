"""What makes a command take seconds in a test of commands. Called by `commands`, in the process that carries it out."""

import contextlib
import dataclasses
import importlib
import os
from typing import Any

from matplotlib.figure import Figure

from harness import environment, plots, rounds, workloads
from harness.peers import peak_side
from models import MLPConfig


class Side(contextlib.AbstractContextManager["Side"]):
    """Is `rounds.Side` without a process of its own; see test_rounds for those."""

    def __init__(self, name: str, job: dict[str, Any]):
        if name not in (rounds.OWN, rounds.PEAK):
            raise rounds.SideError("no peer takes seconds")
        self._name = name
        cache = os.environ["XDG_CACHE_HOME"]
        self._side = importlib.import_module(f"harness.peers.{rounds.MODULES[job['task']][name]}").Side(job)
        os.environ["XDG_CACHE_HOME"] = cache  # which the harness's side changes, so that compiling takes its time
        environment.keep_compiled_programs()
        self.about = self._side.start()

    def ask(self, do: str, **arguments: Any) -> Any:
        if do == "memory":
            return {"memory_bytes": 1, "device_bytes": None}
        if do == "calibrate" and self._name == rounds.PEAK:
            return {"size": 64}
        return getattr(self._side, do)(**arguments)

    def __exit__(self, *_: object) -> None:
        pass


def draw_nothing() -> None:
    """Gives every picture one pixel."""
    blank = plots.png(lambda: Figure(figsize=(0.01, 0.01)))
    plots.render = lambda draw, vector: plots.Picture(blank, None)  # type: ignore[assignment]


def time_tiny_networks() -> None:
    """Has `harness.bench` time tiny networks, with sides in the process that asks them."""
    rounds.Side = Side  # type: ignore[misc, assignment]
    rounds.LEAST_S = peak_side.LEAST_S = 1e-3
    for name, workload in workloads.WORKLOADS.items():
        if workload.task == "train":
            config = dataclasses.replace(workload.config, model=MLPConfig(hidden=(8,)), epochs=1)
            workloads.WORKLOADS[name] = dataclasses.replace(
                workload, config=config, image_shape=(8, 8, 1), examples=256, held_out=16)
