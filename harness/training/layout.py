"""How the runs of a cohort lie on the devices. Pure."""

import dataclasses
import re
from typing import Literal, get_args

from ablations.spec import SpecError
from models.convolution import Form

Parallel = Literal["jit", "pmap"]
Matrices = Literal["XLA", "YNNPACK"]
# So many times fewer rounds are worth a try; less would be lost again by what several devices to a run cost.
_WORTH = 1.1


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh of devices with axes `run` and `data`, and the runs that each device along `run` trains at once.

    Attributes:
      runs: devices along `run`; each has runs of its own.
      data: devices along `data`; they split the batches of the same run.
      members: runs that one device trains at once, under `vmap`; more than fit wait until one of these has ended.
      parallel: "jit" (with `shard_map`) or "pmap".
      form: of the convolutions; None is the platform's own for one run.
      matrices: what multiplies these on a CPU; None is what suits the kind of network.
      streamed: whether a device holds some steps' examples at a time, and not all of the data.
    """

    runs: int
    data: int = 1
    members: int = 1
    parallel: Parallel = "jit"
    form: Form | None = None
    matrices: Matrices | None = None
    streamed: bool = False

    @property
    def slots(self) -> int:
        """Counts the runs in training at once."""
        return self.runs * self.members

    @property
    def devices(self) -> int:
        """Counts the devices in use."""
        return self.runs * self.data

    @property
    def is_possible(self) -> bool:
        """Whether there can be such a mesh: a pmap has one axis, over which it would add up several runs."""
        return self.parallel == "jit" or self.runs == 1 or self.data == 1

    def __str__(self) -> str:
        devices = "1 device" if self.devices == 1 else f"{self.devices} devices"
        each = "one run" if self.members == 1 else f"{self.members} runs under vmap"
        spread = f" on every {self.data}, batches split" if self.data > 1 else " on each" if self.runs > 1 else ""
        return f"{devices}, {each}{spread}" + (", by pmap" if self.parallel == "pmap" else "") + (
            f", convolutions by {self.form}" if self.form else "") + (
            f", matrices by {self.matrices}" if self.matrices else "") + (
            ", data streamed" if self.streamed else "")


_TEXT = re.compile(
    r"([1-9]\d{0,5}) devices?, (?:one run|([1-9]\d{0,5}) runs under vmap)(?: on every ([1-9]\d{0,5}), batches split|"
    r" on each)?(, by pmap)?(?:, convolutions by (\w+))?(?:, matrices by (\w+))?"
    r"(, data streamed)?")


def asked_for(text: str | None, devices: int) -> Layout | None:
    """Reads a layout as it is written in a record; None where none is asked for.

    Raises:
      SpecError: if there is no layout of that name, or it needs more devices than there are.
    """
    layout = None if text is None else parsed(text)
    if layout is not None and layout.devices > devices:
        raise SpecError(f"--layout={text} needs {layout.devices} devices, and there are {devices}; on a CPU "
                        f"--devices={layout.devices} makes them")
    return layout


def parsed(text: str) -> Layout:
    """Reads a layout as it is written in a record.

    Raises:
      SpecError: if there is no layout of that name.
    """
    if found := _TEXT.fullmatch(text):
        devices, members, data, pmap, form, matrices, streamed = found.groups(default="")
        parallel: Parallel = "pmap" if pmap else "jit"
        forms, libraries = ({name: name for name in get_args(kind)} for kind in (Form, Matrices))
        layout = Layout(int(devices) // int(data or 1), int(data or 1), int(members or 1), parallel, forms.get(form),
                        libraries.get(matrices), bool(streamed))
        if str(layout) == text and layout.is_possible:
            return layout
    raise SpecError(f'no layout is called "{text}"; a record names its own under placement.layouts, such as "2 '
                    'devices, one run on each"')


@dataclasses.dataclass(frozen=True)
class Choices:
    """What decides how the runs of a cohort may lie on the devices.

    Attributes:
      cohort: how many runs there are.
      devices: how many devices there are.
      whole_batches: whether batches may not be split: that would change the statistics of a network that is not told.
      accelerator: whether the devices are no CPU's.
      convolves: whether the network has convolutions.
      matrices: what multiplies these unless the layout says otherwise; None where there is no choice.
      streamed: whether the data alone is more than a device can hold, so that fewer runs at once would not help.
    """

    cohort: int
    devices: int
    parallel: Parallel = "jit"
    whole_batches: bool = False
    accelerator: bool = False
    convolves: bool = True
    matrices: Matrices | None = None
    streamed: bool = False

    def simplest(self) -> Layout:
        """Gives every run a device to itself, as far as there are devices; an accelerator all of its runs at once.

        Small networks one by one leave an accelerator idle, and several at once are too much for a CPU's caches.
        """
        layout = Layout(min(self.cohort, self.devices), parallel=self.parallel, streamed=self.streamed)
        members = -(-self.cohort // layout.runs)
        if not self.accelerator or members == 1:
            return layout
        # XLA would make one grouped convolution of several runs', which is slow.
        return dataclasses.replace(layout, members=members, form="patches" if self.convolves else None)

    def alternatives(self) -> list[list[Layout]]:
        """Lists what may be faster than the simplest, in lines to be followed as long as each beats the one before."""
        simple = self.simplest()
        # What XLA computes with threads of its own uses a CPU's idle cores too.
        one = [dataclasses.replace(simple, runs=1)] if self._is_shorter(1, self._rounds(simple.runs)) else []
        return [[] if self.whole_batches else self._by_split_batches(simple), one, self._by_members(simple)]

    def _by_split_batches(self, simple: Layout) -> list[Layout]:
        """Lists layouts with several devices to a run, where some would be idle else.

        Of three runs on two devices the last one leaves a device idle, unless each run has both.
        """
        spare, shortest = self.devices // simple.runs, self._rounds(simple.runs)
        split = [dataclasses.replace(simple, data=spare)] if spare > 1 else []
        for runs in range(simple.runs - 1, 0, -1):
            layout = dataclasses.replace(simple, runs=runs, data=self.devices // runs)
            if layout.is_possible and self._is_shorter(runs, shortest):
                split.append(layout)
                shortest = self._rounds(runs)
        return [layout for layout in split if layout.is_possible]

    def _rounds(self, runs: int) -> float:
        """Counts the rounds in which all train, so many at a time, each as long as a run takes on a single device."""
        return rounds(Layout(runs), self.cohort) / (self.devices // runs)

    def _is_shorter(self, runs: int, than: float) -> bool:
        """Whether fewer runs at a time, each on more of a CPU's devices, would leave these idle for so much less."""
        return not self.accelerator and self.devices % runs == 0 and _WORTH * self._rounds(runs) < than

    def variants(self, layout: Layout) -> list[Layout]:
        """Lists other ways to compute the same in a layout, each by itself.

        Which library multiplies faster differs by CPU and by shape.
        """
        return [dataclasses.replace(layout, matrices=name) for name in get_args(Matrices)
                if self.matrices not in (None, name)]

    def _by_members(self, simple: Layout) -> list[Layout]:
        if self.accelerator:  # dense layers are always fastest all at once there
            one = dataclasses.replace(simple, members=1, form=None)
            return [one] if self.convolves and one != simple else []
        most = -(-self.cohort // simple.runs)
        members, number = [], 4
        while 2 * number <= most:
            members.append(number)
            number *= 4
        return [dataclasses.replace(simple, members=number) for number in (*members, most) if number > 1]


def smaller(layout: Layout, *, one_memory: bool = True, splits_over: int = 1) -> Layout | None:
    """Gives the next layout that needs less memory; None if a device has a single run left whose data is streamed.

    Streaming comes last: what fits trains from memory without waiting for the host, and where fewer runs at once make
    room for the data that costs less than sending it anew in every epoch.

    Args:
      one_memory: whether all devices share one, as a CPU's do in one process; else fewer of them make no more room on
        any.
      splits_over: over how many devices with a memory each a run's batches may be split, of which each then has a part.
    """
    if layout.members > 1:
        return _halved(layout)
    if not one_memory and 2 * layout.data <= splits_over:
        data = splits_over if layout.parallel == "pmap" else 2 * layout.data
        return dataclasses.replace(layout, runs=max(1, min(layout.runs, splits_over // data)), data=data)
    if layout.runs > 1 and one_memory:
        return dataclasses.replace(layout, runs=layout.runs // 2)
    if layout.data > 1 and one_memory:  # each has a copy of the weights and of the data
        return dataclasses.replace(layout, data=1)
    return None if layout.streamed else dataclasses.replace(layout, streamed=True)


def one_by_one(layout: Layout) -> Layout | None:
    """Gives the layout in which a run that fails takes no other with it; None if a single run is left."""
    alone = compacted(dataclasses.replace(layout, runs=1), 1)
    return alone if layout.slots > 1 else None


def compacted(layout: Layout, active: int) -> Layout:
    """Halves the runs per device until what is still training just fits."""
    while layout.members > 1 and active <= layout.runs * (layout.members // 2):
        layout = _halved(layout)
    return layout


def rounds(layout: Layout, cohort: int) -> float:
    """Counts how many times all slots train, until so many runs have; the last ones, compacted, for a part."""
    full, rest = divmod(cohort, layout.slots)
    return full + (compacted(layout, rest).members / layout.members if rest else 0)


def _halved(layout: Layout) -> Layout:
    """Halves the runs per device; a single one is trained as one that was alone from the start."""
    members = layout.members // 2
    # Only several at once are faster by products of patches than by XLA's own convolution.
    form = None if members == 1 and layout.form == "patches" else layout.form
    return dataclasses.replace(layout, members=members, form=form)
