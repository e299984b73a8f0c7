"""Times sides in turn, one at work at a time, and measures again what other load on the machine disturbed.

A side is a process of its own that stays alive from round to round: see `harness.benchmark.sides`.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

OWN, PEAK = "ours", "peak"
MODULES = {
    "train": {OWN: "own_side", "keras": "keras_side", "torch": "torch_side", PEAK: "peak_side"},
    "forward": {OWN: "own_forward", "keras": "keras_forward", "torch": "torch_forward", PEAK: "peak_side"},
    "augment": {OWN: "own_augment"}, "command": {OWN: "own_command"}}
# More CPU time than this that others had, as a fraction of the time measured, disturbs a measurement.
LIMIT = 0.1
TRIES = 5
# A measurement is of whole epochs and of no less than this: load is accounted in hundredths of a second.
LEAST_S = 1.0


class SideError(Exception):
    """A side that cannot start or do what it is asked; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """One measurement.

    Attributes:
      seconds: that the side's work took.
      other_cpu: CPU time that all had meanwhile but the benchmark and the side at work, as a fraction of the time it
        took.
      repeats: disturbed measurements that it stands in for.
      disturbed: whether it is disturbed itself: no try was quiet, and this was the quietest.
    """

    seconds: float
    other_cpu: float
    repeats: int
    disturbed: bool


class Side(contextlib.AbstractContextManager["Side"]):
    """The process of a side; it ends with the context.

    Raises:
      SideError: if it does not start.
    """

    def __init__(self, name: str, job: Mapping[str, Any]):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open for as long as the process
        self._folder = tempfile.TemporaryDirectory(prefix="harness_bench_")  # which a killed process leaves as it is
        # All sides are alive at once: none may take an accelerator's whole memory for itself.
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2",
                                    "TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                                    "TMPDIR": self._folder.name}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.benchmark.sides.serve", MODULES[job["task"]][name]], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors, text=True,
            cwd=pathlib.Path(__file__).parents[2], env=environment)
        self.pid = self._process.pid
        try:
            self.about = self._request({"do": "start", "job": dict(job)})
        except SideError:
            self.__exit__()
            raise

    def ask(self, do: str, **arguments: Any) -> Any:
        """Has the side do something, and waits for its answer.

        Raises:
          SideError: if it fails.
        """
        return self._request({"do": do, "arguments": arguments})

    def _request(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SideError(f"its process ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(answer["error"])
        return answer["value"]

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or [f"exit status {code}"])[-1][:300]

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # nothing in it is worth waiting for
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()


def other_cpu_s(*at_work: int) -> float:
    """Reads the CPU seconds spent outside this process and those at work, counted from some fixed moment.

    Args:
      at_work: their numbers; their children count with them. Sides that should be idle are others.
    """
    times = psutil.cpu_times()
    # Stolen time is what other guests of the same machine had.
    spent = ("user", "nice", "system", "irq", "softirq", "steal")
    processes = [psutil.Process()]
    for number in at_work:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(number)
            processes += [process, *process.children(recursive=True)]
    own = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            # Children that have ended count with their parents.
            own += sum(process.cpu_times()[:4])
    return sum(getattr(times, name, 0.0) for name in spent) - own


def measured(work: Callable[[], float], other: Callable[[], float] = other_cpu_s,
             clock: Callable[[], float] = time.perf_counter) -> Timed:
    """Measures until other load stays below the limit, at most `TRIES` times; then the quietest counts, and says so.

    Args:
      work: does what is measured and tells its seconds.
      other: reads the CPU seconds that others have had.
      clock: reads the time in seconds.
    """
    tries: list[tuple[float, float]] = []
    while not tries or (tries[-1][0] > LIMIT and len(tries) < TRIES):
        started, had = clock(), other()
        seconds = work()
        tries.append(((other() - had) / (clock() - started), seconds))
    other_cpu, seconds = min(tries)
    return Timed(seconds, round(other_cpu, 4), len(tries) - 1, other_cpu > LIMIT)


def alternate(sides: Mapping[str, Callable[[], Timed]], rounds: int, told: Callable[[int, str, Timed], None]
              ) -> tuple[dict[str, list[Timed]], dict[str, str]]:
    """Measures every side once in each round, in the order given; a side that fails leaves the rounds.

    Args:
      sides: name -> measures it once.
      told: round from 1, name and measurement, after each.

    Returns:
      the measurements of the sides that lasted, and why the others did not.
    """
    timed: dict[str, list[Timed]] = {name: [] for name in sides}
    failed: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for name in list(timed):
            try:
                timed[name].append(sides[name]())
                told(number, name, timed[name][-1])
            except SideError as error:
                failed[name] = str(error)
                del timed[name]
    return timed, failed


def compare(job: Mapping[str, Any], names: Sequence[str], rounds: int, settings: dict[str, Any],
            told: Callable[[str], None], learn: bool = True) -> dict[str, dict[str, Any]]:
    """Has sides do the same job in turn: compile, rounds, memory, then the correctness guard.

    Args:
      job: see `harness.benchmark.workloads.job`.
      names: the sides, in order.
      settings: side -> what it is fastest with; found here for those that it lacks, and added to it.
      told: lines for the user.
      learn: whether the sides also train for the guard.

    Returns:
      side -> what it did; "failed" says why one could not.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    with contextlib.ExitStack() as alive:
        sides: dict[str, Side] = {}
        for name in names:
            try:
                sides[name] = alive.enter_context(_calibrated(name, job, settings))
                found[name] = {"settings": settings[name], "versions": sides[name].about["versions"]}
                found[name] |= sides[name].ask("prepare", settings=settings[name])
                told(f"{name}: compiled in {found[name]['compile_s']:.1f} s{_listed(settings[name])}")
            except SideError as error:
                sides.pop(name, None)
                found[name]["failed"] = str(error)

        timed, failed = alternate({
            name: functools.partial(measured, functools.partial(_work, side), functools.partial(other_cpu_s, side.pid))
            for name, side in sides.items()}, rounds, functools.partial(_tell, told, rounds))
        for name, measurements in timed.items():
            try:
                found[name] |= _afterwards(sides[name], learn=learn and name != PEAK)
                found[name]["timed"] = [dataclasses.asdict(one) for one in measurements]
            except SideError as error:
                failed[name] = str(error)
        for name, why in failed.items():
            found[name]["failed"] = why
    for name, one in found.items():
        if "failed" in one:
            told(f"{name} failed: {one['failed']}")
    return found


def _calibrated(name: str, job: Mapping[str, Any], settings: dict[str, Any]) -> Side:
    """Starts a side, once it is known what it is fastest with."""
    if name not in settings:
        # In a process of its own, since what was tried would count as memory of what was chosen.
        with Side(name, job) as trial:
            settings[name] = trial.ask("calibrate")
    return Side(name, job)


def _work(side: Side) -> float:
    """Has a side work for as long as a measurement needs; the mean seconds of its epochs."""
    epochs_s: list[float] = []
    while sum(epochs_s) < LEAST_S:
        epochs_s.append(side.ask("time"))
    return statistics.fmean(epochs_s)


def _afterwards(side: Side, *, learn: bool) -> dict[str, Any]:
    """Asks what memory a side has taken, and whether it trains as it should; a loss that is not finite is None."""
    found = side.ask("memory")
    if learn:
        learned = side.ask("learn")
        found["learned"] = learned if math.isfinite(learned["loss"]) else learned | {"loss": None}
    return found


def _tell(told: Callable[[str], None], rounds: int, number: int, name: str, one: Timed) -> None:
    note = f", measured {one.repeats + 1} times for other load" if one.repeats else ""
    told(f"round {number} of {rounds}, {name}: {one.seconds:.3f} s{note}{' in vain' if one.disturbed else ''}")


def _listed(settings: Mapping[str, Any]) -> str:
    return f" with {', '.join(f'{name}={value}' for name, value in settings.items())}" if settings else ""
