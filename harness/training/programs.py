"""The compiled programs of a cohort: one run's pure functions, laid out over devices."""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ablations.spec import RunConfig
from harness.data import Dataset, Split
from harness.training import environment, processes, train
from harness.training.layout import Layout, Matrices
from harness.training.state import Examples
from models import convolution, written
from models.layers import Row
from models.precision import multiplied


class OutOfMemoryError(MemoryError):
    """A program that needs more than the device has; found before it is run."""


def train_split(dataset: Dataset, config: RunConfig) -> Split:
    """Gives the examples that a run trains on."""
    return Split(dataset.train.images[:config.train_size], dataset.train.labels[:config.train_size])


def split_bytes(split: Split) -> int:
    """Counts what a split takes of a device's memory."""
    return split.images.nbytes + split.labels.nbytes


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on the host or on a device."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


@dataclasses.dataclass
class Compilation:
    """What compiling took so far.

    Attributes:
      seconds: to trace and compile, with the copy of the data to the devices.
      programs: how many.
      cache_hits, cache_misses: of the persistent cache; both zero where it is off.
    """

    seconds: float = 0.0
    programs: int = 0
    cache_hits: int = 0
    cache_misses: int = 0


# What has XLA multiply matrices itself; reductions stay with YNNPACK, as by default.
_OPTIONS: dict[Matrices, dict[str, str]] = {
    "XLA": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}, "YNNPACK": {}}


def known_rows(program: train.Program, state: train.TrainState, traced: Any, image_shape: tuple[int, ...]) -> list[Row]:
    """Lists the layers of a run's network; none of a stranger's that cannot be listed, which trains all the same."""
    try:
        return train.rows(program, state, traced, image_shape)
    except Exception:  # it is told where its cost is asked for
        return []


def convolves(rows: Sequence[Row]) -> bool:
    """Whether convolutions are part of a step."""
    return any(row.kind in ("conv", "depthwise") and not row.beforehand for row in rows)


def multiplied_by(rows: Sequence[Row]) -> Matrices | None:
    """Says what suits the kind of network on a CPU: XLA where dense layers do most of the multiplications.

    There XLA was faster by up to a quarter on an AMD EPYC, and slower by up to a tenth where convolutions do; other
    CPUs differ, which a probe finds out.

    Args:
      rows: the network's layer table.

    Returns:
      None on an accelerator, which has a library of its own.
    """
    macs = {kind: sum(row.macs for row in rows if row.kind == kind and not row.beforehand)
            for kind in {row.kind for row in rows}}
    if jax.default_backend() != "cpu":
        return None
    return "XLA" if 2 * macs.get("dense", 0) > sum(macs.values()) else "YNNPACK"


class Executable(NamedTuple):
    """A program for all slots.

    Attributes:
      run: calls it with what each slot has of its own, stacked, then with what all share.
      outputs: their shapes.
      memory_bytes: per device, arguments, outputs and temporaries; None if not told.
    """

    run: Callable[..., Any]
    outputs: Any
    memory_bytes: int | None


class Programs:
    """Trains, validates and tests as many runs of one cohort at once as the layout has slots.

    States and traced values are stacked, a run per slot, and stay on the devices; a slot whose run has ended is passed
    over.

    Attributes:
      layout: how the slots lie on the devices.
      steps_per_epoch: steps in which a run sees every training example.
      rows: the network's layer table; empty if it cannot be told.
      compilation: what it took.
      memory_bytes: per device, arguments, outputs and temporaries of the training epoch; None if not told.
      needed_bytes: per device, with all data, of what is compiled so far the program that needs most.
    """

    def __init__(self, program: train.Program, state: train.TrainState, traced: Any, dataset: Dataset, layout: Layout,
                 memory_limit: int | None = None, *, whole: bool = False):
        """Compiles the training epoch; validation and test at the same time or when they are first used.

        Args:
          program: the cohort's.
          state, traced: of any one of its runs, for their shapes.
          dataset: what is copied to the devices.
          memory_limit: bytes that each device has; None if that is not known.
          whole: compiles validation and test at the same time, too.

        Raises:
          OutOfMemoryError: if the training epoch needs more; validation and test say so when they are first used.
        """
        started = time.perf_counter()
        self.layout = layout
        self.compilation = Compilation()
        self._counting = threading.Lock()
        self.needed_bytes = 0
        self._program, self._dataset, self._one = program, dataset, (state, traced)
        self.rows = known_rows(program, state, traced, dataset.image_shape)
        library = multiplied_by(self.rows)
        self._options = _OPTIONS[layout.matrices or library] if library else {}
        if program.whole_batches and layout.data > 1:
            raise ValueError("batches of a network that is not told of padding may not be split over devices")
        devices = np.array(jax.devices()[:layout.devices])
        if layout.parallel == "pmap":  # it has one axis, and every argument a row per device
            self._mesh, self._own = Mesh(devices, ("device",)), P("device")
        else:
            self._mesh, self._own = Mesh(devices.reshape(layout.runs, layout.data), ("run", "data")), P("run")
        self._memory_limit, self._train_split = memory_limit, train_split(dataset, program.config)
        self.steps_per_epoch = train.steps_per_epoch(program.config, len(self._train_split.labels))
        # XLA compiles outside Python's lock, so that programs do not wait for each other; several processes compile in
        # the same order.
        self._threads = futures.ThreadPoolExecutor(1 if processes.several() else 3, "compile")
        training = self._threads.submit(self._training)
        if whole:
            self._others  # noqa: B018
        try:
            self._train, self.memory_bytes = training.result()
        except BaseException:
            if whole:  # what comes instead is neither to share memory nor to be timed with what nobody needs
                for other in self._others:
                    other.cancel()
                futures.wait(self._others)
            raise
        if whole:  # to the end, which would disturb what is timed
            futures.wait(self._others)
        self.compilation.seconds = time.perf_counter() - started
        self._count_bytes((self.memory_bytes or 0) + self.beside_bytes)
        self._check_room()

    def serve(self, program: train.Program, state: train.TrainState, traced: Any) -> bool:
        """Whether a run's own program would compute the same as these do."""
        try:
            if self._program.graph == program.graph:
                return True
        except ValueError:  # it holds numpy's arrays, which are neither equal nor unlike
            pass
        # Initializers made anew differ, and matter no more.
        return self._text == _written(program, state, traced, self._dataset)

    @functools.cached_property
    def _text(self) -> str:
        return _written(self._program, *self._one, self._dataset)

    @property
    def config(self) -> RunConfig:
        """The configuration of the run that they were compiled for."""
        return self._program.config

    def put(self, trees: Sequence[Any]) -> Any:
        """Stacks a state, or traced values, per slot on the devices."""
        return jax.tree.map(lambda *leaves: self._put(np.stack([np.asarray(leaf) for leaf in leaves])), *trees)

    def _put(self, stacked: np.ndarray) -> jax.Array:
        return processes.laid_out(self._laid_out(stacked), NamedSharding(self._mesh, self._own))

    def take(self, stacked: Any) -> list[Any]:
        """Copies stacked values to the host, a tree per slot."""
        host = jax.tree.map(self._flat, jax.device_get(stacked))
        return [jax.tree.map(lambda leaf, slot=slot: leaf[slot], host) for slot in range(self.layout.slots)]

    def train(self, states: Any, traced: Any, steps: int | None = None) -> tuple[Any, Any]:
        """Trains each slot's run for an epoch, or some of its steps: see `train.train_epoch`. Consumes the states."""
        return self._train(states, traced, self._copied(jnp.int32(steps or self.steps_per_epoch)))

    def end_epoch(self, states: Any, traced: Any, sums: Any) -> tuple[Any, Any]:
        """Ends each slot's epoch: see `train.end_epoch`. Consumes the states."""
        return self._others[0].result()(states, traced, sums)

    def test(self, states: Any, traced: Any) -> Any:
        """Scores each slot's run: see `train.score_test`."""
        return self._others[1].result()(states, traced)

    def compile_all(self) -> None:
        """Compiles what is not compiled yet, so that no epoch's time holds it.

        Raises:
          OutOfMemoryError: if validation or test needs more memory than there is.
        """
        started = time.perf_counter()
        for program in self._others:
            program.result()
        self.compilation.seconds += time.perf_counter() - started
        self._check_room()

    def _count_bytes(self, needed: int) -> None:
        with self._counting:
            self.needed_bytes = max(self.needed_bytes, needed)

    def _check_room(self) -> None:
        """Fails here and not in a thread, whose error would keep the copy of the data alive."""
        if self._memory_limit is not None and self.needed_bytes > self._memory_limit:
            raise OutOfMemoryError(f"{self.layout} needs {self.needed_bytes / 2**20:,.0f} MiB on each device, which "
                                   f"has {self._memory_limit / 2**20:,.0f} MiB")

    def _training(self) -> tuple[Callable[..., Any], int | None]:
        """Compiles the training epoch, and tells what it needs of a device's memory."""
        made = self._compile(train.train_epoch, self._one, (self._examples(self._train_split),),
                             (self._copied(jnp.int32(0)),))
        return made.run, made.memory_bytes

    @property
    def beside_bytes(self) -> int:
        """Counts what is on a device beside the training epoch: the other splits."""
        return split_bytes(self._dataset.validation) + split_bytes(self._dataset.test)

    @functools.cached_property
    def _others(self) -> Sequence[futures.Future[Callable[..., Any]]]:
        """Compiles validation and test."""
        def compiled(split: Split, function: Callable[..., Any], one: tuple[Any, ...], *, donate: bool = True
                     ) -> Callable[..., Any]:
            made = self._compile(function, one, (self._examples(split),), donate=donate)
            beside = self.beside_bytes + split_bytes(self._train_split) - split_bytes(split)
            self._count_bytes((made.memory_bytes or 0) + beside)
            return made.run

        return (self._threads.submit(compiled, self._dataset.validation, train.end_epoch,
                                     (*self._one, train.no_sums())),
                self._threads.submit(compiled, self._dataset.test, train.score_test, self._one, donate=False))

    def _examples(self, split: Split) -> Examples:
        """Puts a split on every device."""
        return Examples(*map(self._copied, (split.images, split.labels)))

    def _compile(self, function: Callable[..., Any], one: tuple[Any, ...], fixed: tuple[Any, ...] = (),
                 shared: tuple[Any, ...] = (), *, donate: bool = True) -> Executable:
        """Compiles `function(program, *one, *fixed, *shared)` for all slots.

        Args:
          one: of one run, which has its own in each slot.
          fixed: of all runs and calls.
          shared: of all runs of a call.
          donate: whether a call consumes the first of `one`.
        """
        counted = environment.cache_counts()
        layout = self.layout
        axis_name = "data" if layout.data > 1 else None

        # The data is an argument: as a constant it would cost seconds of compilation and be held twice.
        def on_device(state: Any, more: tuple[Any, ...], given: tuple[Any, ...]) -> Any:
            def one_run(state: Any, more: tuple[Any, ...]) -> Any:
                with multiplied(self._program.config.precision), convolution.using(layout.form):
                    return function(self._program, state, *more, *given, axis_name=axis_name)

            if layout.members > 1:
                return jax.vmap(one_run)(state, more)
            # Without an axis of one: it would make other, slower programs of some operations.
            return jax.tree.map(lambda leaf: leaf[None], one_run(*jax.tree.map(lambda leaf: leaf[0], (state, more))))

        donated = (0,) if donate else ()
        if layout.parallel == "pmap":
            whole = jax.pmap(on_device, axis_name=axis_name or "run", in_axes=(0, 0, None), donate_argnums=donated,
                             devices=list(self._mesh.devices.flat))
        else:
            spread = jax.shard_map(on_device, mesh=self._mesh, in_specs=(P("run"), P("run"), P()), out_specs=P("run"),
                                   check_vma=False)
            whole = jax.jit(spread, donate_argnums=donated)
        state, *more = jax.tree.map(self._slots_of, one)
        lowered = whole.lower(state, tuple(more), (*fixed, *shared))
        executable = lowered.compile(self._options)
        hits, misses = environment.cache_counts()
        with self._counting:
            self.compilation.programs += 1
            self.compilation.cache_hits += hits - counted[0]
            self.compilation.cache_misses += misses - counted[1]

        def run(state: Any, *arguments: Any) -> Any:
            return executable(state, arguments[:len(more)], (*fixed, *arguments[len(more):]))

        return Executable(run, lowered.out_info, _memory_bytes(executable.memory_analysis()))

    def _copied(self, array: Any) -> Any:
        """Puts the whole of an array on every device."""
        return processes.laid_out(np.asarray(array), NamedSharding(self._mesh, P()))

    def _slots_of(self, leaf: Any) -> jax.ShapeDtypeStruct:
        """Describes one run's array for all slots."""
        rows = (self.layout.devices, self.layout.members) if self.layout.parallel == "pmap" else (self.layout.slots,)
        return jax.ShapeDtypeStruct((*rows, *leaf.shape), leaf.dtype, sharding=NamedSharding(self._mesh, self._own))

    def _laid_out(self, stacked: np.ndarray) -> np.ndarray:
        """Gives a row per slot the form the programs take: under pmap a row per device, copied along `data`."""
        if self.layout.parallel == "jit":
            return stacked
        rows = stacked.reshape(self.layout.runs, self.layout.members, *stacked.shape[1:])
        return np.repeat(rows, self.layout.data, 0)

    def _flat(self, rows: np.ndarray) -> np.ndarray:
        """Undoes `_laid_out`."""
        if self.layout.parallel == "jit":
            return rows
        return rows[::self.layout.data].reshape(-1, *rows.shape[2:])


def _memory_bytes(memory: Any) -> int | None:
    return None if memory is None else (memory.argument_size_in_bytes + memory.output_size_in_bytes
                                        - memory.alias_size_in_bytes + memory.temp_size_in_bytes)


def _written(program: train.Program, state: train.TrainState, traced: Any, dataset: Dataset) -> str:
    return written.text(program.network(state.weights, traced["model"]), dataset.image_shape)
