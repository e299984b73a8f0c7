"""The loop of every side: a request per line on stdin, an answer per line on stdout, as JSON.

Started by `harness.benchmark.rounds` as `python -m harness.benchmark.sides.serve keras_side`. A side is a module with
a class `Side`.
"""

import importlib
import json
import os
import pathlib
import resource
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

Settings = TypeVar("Settings")


class Side(Protocol):
    """What a side does when asked; it is built from its job, `harness.benchmark.workloads.job`."""

    def start(self) -> dict[str, Any]:
        """Tells "versions" and the "platform" it runs on."""
        ...

    def calibrate(self) -> dict[str, Any]:
        """Finds the settings it is fastest with."""
        ...

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Builds, compiles and warms up; tells "compile_s" and "work": examples, or operations, that `time` is of."""
        ...

    def time(self) -> float:
        """Trains the job's runs for an epoch; the seconds it took."""
        ...

    def device_bytes(self) -> int | None:
        """Reads the most memory in use on the accelerator so far; None without one."""
        ...

    def learn(self) -> dict[str, float]:
        """Trains from the start for the config's epochs; "loss" and "accuracy" on held-out images."""
        ...


def fastest(candidates: Iterable[Settings], seconds: Callable[[Settings], float]) -> Settings:
    """Picks the settings that take least time; those that cannot run here are out."""
    measured: list[tuple[float, Settings]] = []
    failure: Exception | None = None
    for settings in candidates:
        try:
            measured.append((seconds(settings), settings))
        except Exception as error:
            failure = error
    if not measured:
        raise failure or ValueError("nothing to choose from")
    return min(measured, key=lambda pair: pair[0])[1]


def peak_rss_bytes() -> int:
    """Reads the most main memory that this process has had in use."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # what getrusage tells includes, on Linux, the process that started this one
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines()
                    if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(module: str) -> None:
    """Answers requests until stdin ends."""
    # Whatever a library prints goes to stderr: stdout has answers and nothing else.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    side: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "start":
                side = importlib.import_module(f"harness.benchmark.sides.{module}").Side(request["job"])
            if request["do"] == "memory":
                memory_bytes = getattr(side, "memory_bytes", peak_rss_bytes)  # a side may work in another process
                value = {"memory_bytes": memory_bytes(), "device_bytes": side.device_bytes()}
            else:
                value = getattr(side, request["do"])(**request.get("arguments", {}))
            answer: dict[str, Any] = {"value": value}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
