"""Trains the runs of a cohort side by side: compiles once, then epochs, checkpoints and the test.

Called by `harness.executor`. Each run has a device of the mesh axis `run` to itself and is a state machine of its own,
so its values do not depend on who trains beside it.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ablations.spec import Run
from harness import checkpoint, train
from harness.data import Dataset, Split
from harness.records import as_json, differences


class StoppedError(Exception):
    """The user asked to stop; every run in training is saved."""


@dataclasses.dataclass
class Member:
    """A run in training.

    Attributes:
      checkpoints: the folder of its checkpoints.
      origin: what a checkpoint must agree with to be resumed: configuration, data, machine.
      rates: its traced values.
      state: at the start and again at the end of training, on the host.
      epochs_s: seconds that each epoch's training took, over all launches.
      validate_s: seconds in validation, over all launches.
      launches: processes that worked on it, this one included.
      test: outcome of the "best" and the "last" weights.
    """

    run: Run
    checkpoints: pathlib.Path
    origin: dict[str, Any]
    program: train.Program
    state: train.TrainState
    rates: Any
    epochs_s: list[float] = dataclasses.field(default_factory=list)
    validate_s: float = 0.0
    launches: int = 1
    test: dict[str, train.TestResult] | None = None

    def save(self, state: train.TrainState) -> None:
        """Keeps the state as the run's checkpoint."""
        progress = {"epochs_s": self.epochs_s, "validate_s": self.validate_s, "launches": self.launches,
                    "origin": self.origin}
        checkpoint.save(self.checkpoints, int(state.epoch), state, progress)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The programs of a cohort for a number of members, with the data they read.

    Attributes:
      compile_s: seconds to trace and compile them.
      memory_bytes: per device, arguments, outputs and temporaries of the training epoch; None if not told.
    """

    mesh: Mesh
    train_epoch: Callable[..., Any]
    validate: Callable[..., Any]
    test: Callable[..., Any]
    compile_s: float
    memory_bytes: int | None


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What `Trainer.fit` tells after each epoch, for one run that took part.

    Attributes:
      scores: the epoch's row of `train.HISTORY`.
    """

    run: Run
    epoch: int
    scores: dict[str, float]
    train_s: float
    examples: int


class Trainer:
    """Trains the runs of one cohort, a batch at a time.

    Attributes:
      dataset: what all of them read.
      width: runs that train side by side, one per device; the program is compiled for that many, and a smaller batch
        leaves devices idle.
      save_every_s: least seconds between two checkpoints.
      stop_requested: asked after each epoch; true saves and raises `StoppedError`.
    """

    def __init__(self, dataset: Dataset, width: int, save_every_s: float, stop_requested: Callable[[], bool]):
        self.dataset = dataset
        self.width = width
        self.save_every_s = save_every_s
        self.stop_requested = stop_requested
        self._compiled: Compiled | None = None

    def check(self, run: Run, checkpoints: pathlib.Path) -> None:
        """Checks that a run's checkpoint, if it has one, may be resumed here.

        Raises:
          checkpoint.CheckpointError: if it is of another configuration, data set or machine, saying which.
        """
        saved = checkpoint.progress(checkpoints)
        if saved is not None and (changes := differences(saved["origin"], self._origin(run))):
            raise checkpoint.CheckpointError(
                f"{checkpoints} was saved elsewhere or for something else ({'; '.join(changes)}) and would mix both in "
                "one run: delete this folder to train the run from its start, or use another --results_dir")

    def member(self, run: Run, checkpoints: pathlib.Path) -> Member:
        """Builds a run from its latest checkpoint, or from its start if there is none."""
        self.check(run, checkpoints)
        program, state, rates = train.init(run.config, run.seed, self.dataset.num_classes, self.dataset.image_shape)
        member = Member(run, checkpoints, self._origin(run), program, state, rates)
        if restored := checkpoint.restore(checkpoints, state):
            member.state, progress = restored
            member.epochs_s, member.validate_s = list(progress["epochs_s"]), progress["validate_s"]
            member.launches = int(progress["launches"]) + 1
        return member

    def fit(self, members: Sequence[Member], on_compiled: Callable[[Compiled], None],
            on_epochs: Callable[[list[Epoch]], None]) -> Compiled:
        """Trains runs of one cohort to their end and scores the test set; fills in their state and test.

        Args:
          members: at most `width`.
          on_compiled: told once, before the first epoch.
          on_epochs: told after each epoch, with a report from every run that took part.

        Returns:
          the programs that were used.

        Raises:
          StoppedError: if the user asked to stop.
        """
        # A cohort whose members differ in structure would train some of them as another network.
        assert all(member.program.graph == members[0].program.graph for member in members)
        if self._compiled is None:
            self._compiled = self._compile(members[0])
            on_compiled(self._compiled)
        compiled = self._compiled
        idle = members[0].state._replace(stopped=jnp.bool_(True))
        spare = self.width - len(members)
        states, rates = jax.device_put(
            (_stacked([member.state for member in members] + [idle] * spare),
             _stacked([member.rates for member in members] + [members[0].rates] * spare)),
            NamedSharding(compiled.mesh, P("run")))
        saved_at = time.perf_counter()
        epochs = members[0].run.config.epochs
        while (active := _active(states, epochs)).any():
            started = time.perf_counter()
            states, sums = compiled.train_epoch(states, rates)
            trained = jax.device_get(sums)
            trained_at = time.perf_counter()
            states, validated = compiled.validate(states, rates, sums)
            validated = jax.device_get(validated)
            validated_at = time.perf_counter()
            history, epoch = jax.device_get((states.history, states.epoch))
            reports = []
            for index, member in enumerate(members):
                if not active[index]:
                    continue
                _check_seen(trained.examples[index], self.dataset.train.labels[:member.run.config.train_size])
                _check_seen(validated.examples[index], self.dataset.validation.labels)
                member.epochs_s.append(round(trained_at - started, 4))
                member.validate_s += validated_at - trained_at
                scores = dict(zip(train.HISTORY, map(float, history[index, epoch[index] - 1]), strict=True))
                reports.append(Epoch(member.run, int(epoch[index]), scores, trained_at - started,
                                     int(trained.examples[index])))
            on_epochs(reports)
            stop = self.stop_requested()
            if stop or time.perf_counter() - saved_at > self.save_every_s:
                for member, state in zip(members, _unstacked(states), strict=False):
                    member.save(state)
                saved_at = time.perf_counter()
            if stop:
                raise StoppedError
        for member, state in zip(members, _unstacked(states), strict=False):
            member.state = state
            member.save(state)
        for member, result in zip(members, _unstacked(compiled.test(states, rates)), strict=False):
            for outcome in result.values():
                _check_seen(outcome.sums.examples, self.dataset.test.labels)
            member.test = result
        return compiled

    def _origin(self, run: Run) -> dict[str, Any]:
        device = jax.devices()[0]
        return {"config": as_json(run.config), "data": self.dataset.fingerprint, "jax": jax.__version__,
                "platform": device.platform, "device": device.device_kind, "width": self.width}

    def _compile(self, member: Member) -> Compiled:
        started = time.perf_counter()
        program = member.program
        mesh = Mesh(np.array(jax.devices()[:self.width]), ("run",))
        everywhere, spread = NamedSharding(mesh, P()), NamedSharding(mesh, P("run"))

        def put(split: Split, size: int | None = None) -> train.Examples:
            return train.Examples(*jax.device_put((split.images[:size], split.labels[:size]), everywhere))

        def compile_for(function: Callable[..., Any], examples: train.Examples, *more: Any, donate: bool) -> Any:
            def on_device(states: Any, rates: Any, examples: train.Examples, *more: Any) -> Any:
                def one(member: Any) -> Any:
                    state, rates, more = member
                    return function(program, state, rates, examples, *more)

                return lax.map(one, (states, rates, more))

            # The data is an argument: as a constant it would cost seconds of compilation and be held twice.
            specs = (P("run"), P("run"), P(), *(P("run") for _ in more))
            whole = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P("run"), check_vma=False)
            shapes = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct((self.width, *leaf.shape), leaf.dtype, sharding=spread),
                (member.state, member.rates, *more))
            executable = jax.jit(whole, donate_argnums=(0,) if donate else ()).lower(
                *shapes[:2], examples, *shapes[2:]).compile()
            return executable, lambda states, rates, *more: executable(states, rates, examples, *more)

        epoch, run_epoch = compile_for(
            train.train_epoch, put(self.dataset.train, program.config.train_size), donate=True)
        _, run_validation = compile_for(train.validate, put(self.dataset.validation), train.no_sums(), donate=True)
        _, run_test = compile_for(train.test, put(self.dataset.test), donate=False)
        memory = epoch.memory_analysis()
        used = None if memory is None else (memory.argument_size_in_bytes + memory.output_size_in_bytes
                                            - memory.alias_size_in_bytes + memory.temp_size_in_bytes)
        return Compiled(mesh, run_epoch, run_validation, run_test, time.perf_counter() - started, used)


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _unstacked(stacked: Any) -> list[Any]:
    """Splits the members apart, on the host."""
    host = jax.device_get(stacked)
    members = len(jax.tree.leaves(host)[0])
    return [jax.tree.map(lambda leaf, index=index: leaf[index], host) for index in range(members)]


def _active(states: train.TrainState, epochs: int) -> np.ndarray:
    stopped, diverged, epoch = jax.device_get((states.stopped, states.diverged, states.epoch))
    return ~stopped & ~diverged & (epoch < epochs)


def _check_seen(examples: int, labels: np.ndarray) -> None:
    """Every example counts exactly once; anything else is a bug, and no number may come of it."""
    if examples != len(labels):
        raise AssertionError(f"{examples} examples were seen where there are {len(labels)}")
