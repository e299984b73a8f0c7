"""How the runs of a cohort lie on the devices. Pure."""

import dataclasses
from typing import Literal

Parallel = Literal["jit", "pmap"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh of devices with axes `run` and `data`, and the runs that each device along `run` trains at once.

    Attributes:
      runs: devices along `run`; each has runs of its own.
      data: devices along `data`; they split the batches of the same run.
      members: runs that one device trains at once, under `vmap`; more than fit wait until one of these has ended.
      parallel: "jit" (with `shard_map`) or "pmap".
    """

    runs: int
    data: int = 1
    members: int = 1
    parallel: Parallel = "jit"

    @property
    def slots(self) -> int:
        """Counts the runs in training at once."""
        return self.runs * self.members

    @property
    def devices(self) -> int:
        """Counts the devices in use."""
        return self.runs * self.data

    def __str__(self) -> str:
        devices = "1 device" if self.devices == 1 else f"{self.devices} devices"
        each = "one run" if self.members == 1 else f"{self.members} runs under vmap"
        spread = f" on every {self.data}, batches split" if self.data > 1 else " on each" if self.runs > 1 else ""
        return f"{devices}, {each}{spread}" + (", by pmap" if self.parallel == "pmap" else "")


def simplest(cohort: int, devices: int, parallel: Parallel) -> Layout:
    """Gives every run a device to itself, as far as there are devices."""
    return Layout(min(cohort, devices), parallel=parallel)


def alternatives(cohort: int, devices: int, parallel: Parallel, whole_batches: bool = False) -> list[list[Layout]]:
    """Lists what may be faster than the simplest, in lines to be followed as long as each beats the one before.

    Args:
      cohort: how many runs there are.
      devices: how many devices there are.
      whole_batches: leaves out what splits batches: that would change the statistics of a network that is not told.
    """
    simple = simplest(cohort, devices, parallel)
    spare = devices // simple.runs
    # A pmap has one axis: several runs that also split their batches need two.
    split = spare > 1 and not whole_batches and (parallel == "jit" or simple.runs == 1)
    most = -(-cohort // simple.runs)
    members, number = [], 4
    while 2 * number <= most:
        members.append(number)
        number *= 4
    return [[dataclasses.replace(simple, data=spare)] if split else [],
            [dataclasses.replace(simple, members=number) for number in (*members, most) if number > 1]]


def smaller(layout: Layout) -> Layout | None:
    """Gives the next layout that needs less memory; None if a single run is left."""
    if layout.members > 1:
        return dataclasses.replace(layout, members=layout.members // 2)
    if layout.runs > 1:  # on a CPU all devices share one memory
        return dataclasses.replace(layout, runs=layout.runs // 2)
    return None


def compacted(layout: Layout, active: int) -> Layout:
    """Halves the runs per device until what is still training just fits."""
    while layout.members > 1 and active <= layout.runs * (layout.members // 2):
        layout = dataclasses.replace(layout, members=layout.members // 2)
    return layout
