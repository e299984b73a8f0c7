"""Trains the runs of a cohort: fills the slots of a layout, runs epochs, saves checkpoints, scores the test set.

Each run is a state machine of its own, so its values do not depend on who trains beside it.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ablations.spec import Run, SpecError
from harness.data import Dataset
from harness.records import Environment
from harness.records.configs import as_json, config_differences, differences
from harness.training import budget, checkpoint, environment, probe, processes, train
from harness.training.layout import Choices, Layout, Parallel, compacted, smaller
from harness.training.member import Member
from harness.training.programs import Programs, convolves, known_rows, multiplied_by
from harness.training.stopping import GRACE_S, Calls, StoppedError
from harness.training.streamed import Streamed, exceeds
from harness.training.watcher import Compiled, Epoch, Watcher
from models.mobilenet_v2 import Backbone


class Trainer:
    """Trains the runs of one cohort, as many at once as a layout has slots.

    Attributes:
      dataset: what all of them read.
      save_every_s: least seconds between two checkpoints.
      stop_requested: asked after each epoch, and while something takes long; true saves and raises `StoppedError`.
      device_memory: tells how many bytes each of so many devices has; None if that is not known.
      backbone, weights: what transfer networks start from, and the sha256 of its weight file.
      machine: what a checkpoint belongs to; None is this process's.
      keeps_logits: whether the outcome on the test set has them.
      tell: is given a line where a checkpoint cannot be written or read.
      compacts: whether fewer runs than there are slots for go on in another layout.
    """

    def __init__(self, dataset: Dataset, save_every_s: float = 30.0, stop_requested: Callable[[], bool] = bool,
                 device_memory: Callable[[int], int | None] = lambda devices: None, backbone: Backbone | None = None,
                 weights: str = "", machine: Environment | None = None, *, keeps_logits: bool = False,
                 tell: Callable[[str], None] = print, compacts: bool = True):
        self.dataset = dataset
        self.save_every_s = save_every_s
        self.stop_requested = stop_requested
        self.device_memory = device_memory
        self.backbone, self.weights, self.machine = backbone, weights, machine
        self.keeps_logits, self.tell, self.compacts = keeps_logits, tell, compacts
        # Of several processes none gives a call up: the others would wait for it.
        self._calls = Calls(bool if processes.several() else stop_requested)
        self._built: Programs | None = None
        self._saved_at, self._save_s, self._complained = 0.0, 0.0, False
        self._epoch_s, self._copy_s = 0.0, 0.0

    def check(self, run: Run, checkpoints: pathlib.Path) -> None:
        """Checks that a run's checkpoint, if it has one, may be resumed here.

        Raises:
          checkpoint.CheckpointError: if it is of another configuration, data set or machine, saying which.
        """
        saved = checkpoint.progress(checkpoints)
        if saved is None:
            return
        stored, own = dict(saved["origin"]), self._origin(run)
        if changes := [*config_differences(stored.pop("config"), own.pop("config"), "config"),
                       *differences(stored, own)]:
            raise checkpoint.CheckpointError(
                f"{checkpoints} was saved elsewhere or for something else ({'; '.join(changes)}) and would mix both in "
                "one run: delete this folder to train the run from its start, or use another --results_dir")

    def programs(self, layout: Layout, run: Run) -> Programs:
        """Compiles the cohort's programs unless those at hand have this layout; the run is any one of it.

        Raises:
          programs.OutOfMemoryError: if they need more memory than a device has.
          StoppedError: if the user asked to stop.
        """
        if self._built is None or self._built.layout != layout:
            self._built = None  # its copy of the data goes before the next one comes
            self._built = self._calls.made(lambda: self._compiled(self.start(run), layout, whole=True))
        return self._built

    def _compiled(self, start: tuple[Any, Any, Any], layout: Layout, *, whole: bool = False) -> Programs:
        return (Streamed if layout.streamed else Programs)(
            *start, self.dataset, layout, self.device_memory(layout.devices), whole=whole)

    def release(self) -> None:
        """Frees the devices' memory: what is compiled for the cohort holds a copy of the data."""
        self._built = None
        self._calls.rest()

    def choose(self, runs: Sequence[Run], devices: int, parallel: Parallel) -> probe.Choice:
        """Finds the layout that trains runs of this cohort fastest.

        Args:
          runs: all that are to be trained, now or later.

        Raises:
          StoppedError: if the user asked to stop.
        """
        choice, built = self._calls.made(lambda: self._chosen(runs, devices, parallel))
        self._built = built or self._built  # where there was nothing to choose, it may have been prepared
        return choice

    def _chosen(self, runs: Sequence[Run], devices: int, parallel: Parallel) -> tuple[probe.Choice, Programs | None]:
        start = _, state, traced = self.start(runs[0])
        choices = self._choices(start, len(runs), devices, parallel)

        def build(layout: Layout) -> Programs:
            if self._built is not None and self._built.layout == layout:  # prepared
                return self._built
            # What most cohorts train in, since they are over soon, needs validation and test too.
            return self._compiled(start, layout, whole=layout == choices.simplest())

        def measure(programs: Programs, briefly_below: float) -> float:
            states, all_traced = (programs.put([one] * programs.layout.slots) for one in (state, traced))
            return probe.seconds_per_step(programs, states, all_traced, briefly_below)

        return probe.choose(choices.simplest(), choices.alternatives(), choices.variants, build, measure, len(runs),
                            len(state.history))

    def smaller(self, layout: Layout, run: Run, devices: int) -> Layout | None:
        """Gives the next layout that needs less memory, if there is one; the run is any one of the cohort."""
        if processes.several():
            return smaller(layout, one_memory=False)
        whole = self.start(run)[0].whole_batches
        return smaller(layout, one_memory=jax.default_backend() == "cpu", splits_over=1 if whole else devices)

    def prepare(self, runs: Sequence[Run], devices: int, parallel: Parallel) -> None:
        """Compiles what `choose` will try first, while other runs train."""
        self.programs(self._choices(self.start(runs[0]), len(runs), devices, parallel).simplest(), runs[0])

    def _choices(self, start: tuple[train.Program, train.TrainState, Any], cohort: int, devices: int,
                 parallel: Parallel) -> Choices:
        rows = known_rows(*start, self.dataset.image_shape)
        return Choices(cohort, devices, parallel, start[0].whole_batches, jax.default_backend() != "cpu",
                       convolves(rows), multiplied_by(rows),
                       exceeds(self.device_memory(1), self.dataset, start[0].config))

    def fit(self, runs: Sequence[Run], checkpoints: Callable[[Run], pathlib.Path], layout: Layout, watcher: Watcher
            ) -> Iterator[Member]:
        """Trains runs to their end and scores the test set, giving each member when it is done.

        A slot that comes free takes the next run. When none is waiting and at most half of the slots are in use, the
        cohort is compacted: it goes on in half as many.

        Args:
          runs: what is to be trained, resumed where there is a checkpoint.
          checkpoints: locates a run's checkpoints.
          layout: how many slots there are, and where.
          watcher: told of all progress.

        Raises:
          StoppedError: if the user asked to stop; every run in training is saved, as of its last whole epoch.
          SpecError: if a run's network computes something else than the others'.
          programs.OutOfMemoryError: if a device has too little memory for that many runs; or what jax raises then.
        """
        slots: list[Member] = []
        try:
            yield from self._fit(list(runs), slots, checkpoints, layout, watcher)
        except StoppedError:
            for member in slots:
                if 0 < member.copied == int(member.state.epoch):
                    self._try_to_save(member, is_last=True)
            raise

    def _fit(self, waiting: list[Run], slots: list[Member], checkpoints: Callable[[Run], pathlib.Path], layout: Layout,
             watcher: Watcher) -> Iterator[Member]:
        """Is `fit`, without saving when the user asks to stop; the slots hold the runs in training."""
        programs: Programs | None = None
        self._saved_at = time.perf_counter()
        while waiting or slots:
            for run in waiting[:layout.slots - len(slots)]:
                self._stop_if_asked()
                slots.append(self._calls.made(functools.partial(self._member, run, checkpoints(run))))
                watcher.starting(slots[-1].as_started())
            waiting = [run for run in waiting if all(run is not member.run for member in slots)]
            if not waiting and self.compacts:
                layout = compacted(layout, len(slots))
            watcher.compiling([member.run for member in slots])
            if is_new := programs is None or programs.layout != layout:
                programs = None  # nobody holds its copy of the data while the next one comes
                for member in slots:
                    member.programs = None
            programs = self.programs(layout, slots[0].run)
            for member in slots:
                if member.programs is not programs:
                    _check_same(programs, member)
            self._calls.made(programs.compile_all)
            watcher.compiled(Compiled(programs.layout, programs.compilation.seconds, is_new))
            ended = self._train_until_one_ends(programs, slots, watcher)
            left = [member for member in slots if member.test is None]
            if left and not waiting and self.compacts and compacted(layout, len(left)) != layout:
                # Once the others are recorded, a launch that resumes these lays them out as they are from here on.
                for member in slots:
                    self._try_to_save(member, is_last=False)
            slots[:] = left
            while ended:  # which is emptied: a member holds its programs
                member = ended.pop(0)
                watcher.ended(member.as_ended())
                yield member

    def _stop_if_asked(self) -> None:
        if self.stop_requested():
            raise StoppedError

    def _train_until_one_ends(self, programs: Programs, slots: Sequence[Member], watcher: Watcher) -> list[Member]:
        """Trains epochs until a run ends; brings all states back to the host.

        Returns:
          the members that ended, with their test results.
        """
        states, traced = _put(programs, slots)
        while all(member.active for member in slots):
            states = self._train_an_epoch(programs, slots, states, traced, watcher)
            self._keep(programs, slots, states)
        ended = [member for member in slots if not member.active]
        results = self._calls.made(lambda: programs.take(programs.test(states, traced)))
        for member, result in zip(slots, results, strict=False):
            if member in ended:
                for outcome in result.values():
                    _check_seen(outcome.sums.examples, len(self.dataset.test.labels))
                member.test = result
        return ended

    def _train_an_epoch(self, programs: Programs, slots: Sequence[Member], states: Any, traced: Any, watcher: Watcher
                        ) -> Any:
        """Trains and validates every slot once, and tells what came of it; the weights stay on the devices."""
        epoch = functools.partial(_epoch, programs, states, traced)
        # What was over soon before needs no thread.
        is_brief = 0 < self._epoch_s < GRACE_S / 5
        states, trained, validated, now, train_s, validate_s = epoch() if is_brief else self._calls.made(epoch)
        self._epoch_s = train_s + validate_s
        reports = []
        for member, seen, checked, state in zip(slots, trained, validated, now, strict=False):
            _check_seen(seen.examples, budget.examples(member.run.config, self._train_examples(member.run),
                                                       int(state["epoch"])))
            _check_seen(checked.examples, len(self.dataset.validation.labels))
            member.epochs_s.append(round(train_s, 4))
            member.validate_s += validate_s
            member.state = member.state._replace(**state)
            scores = dict(zip(train.HISTORY, map(float, state["history"][state["epoch"] - 1]), strict=True))
            reports.append(Epoch(member.run, int(state["epoch"]), scores, train_s, int(seen.examples)))
        watcher.epochs(reports)
        return states

    def _keep(self, programs: Programs, slots: Sequence[Member], states: Any) -> None:
        """Brings the states to the host if a run has ended, epochs are long or the user asks to stop; saves in time.

        Raises:
          StoppedError: if the user asked to stop.
        """
        stop = self.stop_requested()
        # Many runs take long to save: they are saved less often.
        due = processes.any_of(time.perf_counter() - self._saved_at > max(self.save_every_s, 20 * self._save_s))
        # The next epoch may be given up then, and leaves nothing behind: its program consumes the states.
        is_long = self._epoch_s > max(GRACE_S, 50 * self._copy_s)
        if stop or due or is_long or not all(member.active for member in slots):
            copying = time.perf_counter()
            for member, state in zip(slots, programs.take(states), strict=False):
                member.state, member.copied = state, int(state.epoch)
            self._copy_s = time.perf_counter() - copying
            if due:
                for member in slots:  # what has ended is recorded next, which keeps it better
                    self._try_to_save(member, is_last=False)
                self._saved_at = time.perf_counter()
                self._save_s = self._saved_at - copying
        if stop:
            raise StoppedError

    def _try_to_save(self, member: Member, *, is_last: bool) -> None:
        """Saves a run; where that fails, training goes on, and it is told once, and again when it ends unsaved."""
        try:
            member.save()
        except checkpoint.NotSavedError as error:
            if is_last or not self._complained:
                self.tell(f"warning: checkpoint {error}")
            self._complained = True

    def _member(self, run: Run, checkpoints: pathlib.Path) -> Member:
        """Builds a run from its latest checkpoint, or from its start if there is none."""
        self.check(run, checkpoints)
        program, state, traced = self.start(run)
        member = Member(run, checkpoints, self._origin(run), program, state, traced)
        if restored := checkpoint.restore(checkpoints, state, self.tell):
            member.state, progress = restored
            member.copied = int(member.state.epoch)
            member.epochs_s, member.validate_s = list(progress["epochs_s"]), progress["validate_s"]
            member.launches, member.layouts = int(progress["launches"]) + 1, list(progress["layouts"])
            member.at_once = progress.get("at_once", 1)
        processes.check_alike(int(member.state.epoch), str(checkpoints))
        return member

    def start(self, run: Run) -> tuple[train.Program, train.TrainState, Any]:
        """Builds a run before its first step: program, state and traced values."""
        # One small program after another: an accelerator takes longer to compile each, and draws the same numbers.
        with jax.default_device(environment.processor()):
            program, state, traced = train.init(run.config, run.seed, self.dataset.num_classes,
                                                self.dataset.image_shape, self.backbone, self._train_examples(run))
        return dataclasses.replace(program, keeps_logits=self.keeps_logits), *jax.device_get((state, traced))

    def _train_examples(self, run: Run) -> int:
        return len(self.dataset.train.labels[:run.config.train_size])

    def _origin(self, run: Run) -> dict[str, Any]:
        machine = self.machine or environment.describe()
        weights = {"weights": self.weights} if self.weights else {}
        return {"config": as_json(run.config), "data": self.dataset.fingerprint, "device": machine.device,
                "platform": machine.platform, "packages": machine.packages, "training_code": machine.training_code,
                "numerics": machine.numerics, **weights}


def _epoch(programs: Programs, states: Any, traced: Any) -> tuple[Any, list[Any], list[Any], list[Any], float, float]:
    """Trains and validates every slot once.

    Returns:
      the states on the devices; of each slot the totals of training and of validation, and what tells of its progress;
      the seconds that both took.
    """
    started = time.perf_counter()
    states, sums = programs.train(states, traced)
    trained = programs.take(sums)
    trained_at = time.perf_counter()
    states, sums = programs.end_epoch(states, traced, sums)
    validated = programs.take(sums)
    validated_at = time.perf_counter()
    now = programs.take({name: getattr(states, name) for name in ("epoch", "history", "stopped", "diverged")})
    return states, trained, validated, now, trained_at - started, validated_at - trained_at


def _check_same(programs: Programs, member: Member) -> None:
    """A run whose network computes something else would train as another one, in silence."""
    if not programs.serve(member.program, member.state, member.traced):
        changes = config_differences(as_json(programs.config), as_json(member.run.config), "config")
        raise SpecError(f"{member.run.run_id} would train in a program that computes something else than its network "
                        f"does ({'; '.join(changes) or 'of the same config'}): what a network computes must follow "
                        "from its config alone, and a value that it holds as a plain number may not be marked traced")


def _put(programs: Programs, slots: Sequence[Member]) -> tuple[Any, Any]:
    """Lays the members' states and traced values out over the slots; those to spare get a run that rests."""
    spare = programs.layout.slots - len(slots)
    idle = slots[0].state._replace(stopped=jnp.bool_(True))
    for member in slots:
        member.programs, member.at_once = programs, max(member.at_once, len(slots))
        if member.active and (told := str(programs.layout)) not in member.layouts[-1:]:
            member.layouts.append(told)
    return (programs.put([member.state for member in slots] + [idle] * spare),
            programs.put([member.traced for member in slots] + [slots[0].traced] * spare))


def _check_seen(examples: int, expected: int) -> None:
    """Every example counts exactly once; anything else is a bug, and no number may come of it."""
    if examples != expected:
        raise AssertionError(f"{examples} examples were seen where there are {expected}")
