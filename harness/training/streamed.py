"""The programs of a cohort whose data no device can hold: it is sent there in chunks of steps, from the memory map."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ablations.spec import RunConfig
from harness.data import Dataset, Split
from harness.data.rows import Rows
from harness.training import chunks, processes, train
from harness.training.programs import Executable, OutOfMemoryError, Programs, split_bytes, train_split
from harness.training.train import Examples

# Of a chunk on a device: larger ones train no faster, and the first of an epoch is waited for.
MOST_BYTES = 64 * 2**20
Piece = TypeVar("Piece")
# Of the weights that were scored, by name.
Outcome = dict[str, chunks.Parts]


def exceeds(memory: int | None, dataset: Dataset, config: RunConfig) -> bool:
    """Whether the data a run reads is more than there is of memory; false where that is not known.

    Args:
      memory: bytes of a device that is alone: on a CPU several share them, and fewer devices may do.
    """
    splits = train_split(dataset, config), dataset.validation, dataset.test
    return memory is not None and sum(map(split_bytes, splits)) > memory


class Streamed(Programs):
    """Trains, validates and tests as `Programs`, to the last digit, and holds two chunks of the data at a time.

    While a device computes with one, a thread gathers and sends the next: of training examples each slot's own, in the
    order that its run's program would draw on the device, of the others the same ones to all.
    """

    def _training(self) -> tuple[Callable[..., Any], int | None]:
        """Compiles the training of a chunk, which is made as small as the memory demands; one step is the least."""
        if processes.several():
            raise OutOfMemoryError("the data does not fit beside the program, and --distributed does not stream it")
        split = self._train_split
        self._order = self._compile(functools.partial(chunks.order, size=len(split.labels)), self._one[:1],
                                    donate=False).run
        step_bytes = self.config.batch_size * self.layout.members * _example_bytes(split)
        self._steps = self._steps_within(self._room, step_bytes)
        made = self._compile_chunk(split)
        if made.memory_bytes is None:
            return made.run, None
        beside = made.memory_bytes - self._steps * step_bytes
        limit = self._memory_limit
        if limit is not None and beside + 2 * step_bytes <= limit < beside + 2 * self._steps * step_bytes:
            self._steps = self._steps_within((limit - beside) // 2, step_bytes)
            made = self._compile_chunk(split)
        return made.run, beside + 2 * self._steps * step_bytes

    @property
    def beside_bytes(self) -> int:
        return 0

    @property
    def _room(self) -> int:
        """Gives the bytes of a chunk, before it is known what programs need beside it."""
        return MOST_BYTES if self._memory_limit is None else min(MOST_BYTES, self._memory_limit // 8)

    @functools.cached_property
    def _loading(self) -> futures.ThreadPoolExecutor:
        return futures.ThreadPoolExecutor(1, "load")

    def _steps_within(self, chunk_bytes: int, step_bytes: int) -> int:
        return max(1, min(self.steps_per_epoch, chunk_bytes // step_bytes))

    def _compile_chunk(self, split: Split) -> Executable:
        size = self._steps * self.config.batch_size
        return self._compile(chunks.train_chunk, (*self._one, train.no_sums(), _shapes(split, size)),
                             (self._copied(split.labels),), (self._copied(jnp.int32(0)),) * 2)

    def train(self, states: Any, traced: Any, steps: int | None = None) -> tuple[Any, Any]:
        steps = steps or self.steps_per_epoch
        orders = [order if active else order[:0] for active, order in self.take(self._order(states))]
        sums = self.put([train.no_sums()] * self.layout.slots)
        for first, held in self._ahead(range(0, steps, self._steps), functools.partial(self._gathered, orders)):
            until = min(steps, first + self._steps)
            states, sums = self._train(states, traced, sums, held, *map(self._copied, map(jnp.int32, (first, until))))
            jax.block_until_ready(sums)
        return states, sums

    def _gathered(self, orders: Sequence[np.ndarray], first: int) -> Examples:
        """Sends each slot the examples of its steps from `first` on; one whose run has ended needs none."""
        split, batch_size = self._train_split, self.config.batch_size
        size = self._steps * batch_size

        def gathered(source: np.ndarray | Rows) -> jax.Array:
            held = np.empty((len(orders), size, *source.shape[1:]), source.dtype)
            for slot, order in zip(held, orders, strict=True):
                chosen = order[first * batch_size:][:size]
                slot[:len(chosen)] = source[chosen]
            return self._put(held)

        return Examples(*map(gathered, (split.images, split.labels)))

    def _ahead(self, pieces: Iterable[Piece], load: Callable[[Piece], Examples]) -> Iterator[tuple[Piece, Examples]]:
        """Gives each piece's examples, and has those of the next loaded while the caller computes with them."""
        loading = [(piece, functools.partial(load, piece)) for piece in pieces]
        ahead = self._loading.submit(loading[0][1])
        for (piece, _), following in itertools.zip_longest(loading, loading[1:]):
            held = ahead.result()
            if following is not None:
                ahead = self._loading.submit(following[1])
            yield piece, held

    @functools.cached_property
    def _others(self) -> Sequence[futures.Future[Callable[..., Any]]]:
        return self._threads.submit(self._validation), self._threads.submit(self._test)

    def _validation(self) -> Callable[..., Any]:
        score, outcome = self._scoring(chunks.validate_chunk, split := self._dataset.validation)
        end = self._compile(functools.partial(chunks.end_epoch, size=len(split.labels)),
                            (self._one[0], train.no_sums(), outcome), (self._copied(jnp.int32(len(split.labels))),)).run
        return lambda states, traced, sums: end(states, sums, score(states, traced))

    def _test(self) -> Callable[..., Any]:
        score, outcome = self._scoring(chunks.score_chunk, split := self._dataset.test)
        join = self._compile(functools.partial(chunks.join_test, size=len(split.labels)), (outcome,), donate=False).run
        return lambda states, traced: join(score(states, traced))

    def _scoring(self, function: Callable[..., Outcome], split: Split) -> tuple[Callable[[Any, Any], Any], Outcome]:
        """Compiles what scores a split chunk by chunk; the last one may be smaller.

        Args:
          function: scores a chunk.

        Returns:
          a function of the states and traced values that gives the outcome of the whole split in every slot, and one
          such outcome of zeros.
        """
        batch = self._program.scored_at_once
        size = batch * max(1, self._room // (batch * _example_bytes(split)))
        pieces = [slice(first, min(first + size, len(split.labels))) for first in range(0, len(split.labels), size)]
        programs = {count: self._compile(function, self._one, shared=(self._everywhere(_shapes(split, count)),),
                                         donate=False) for count in {_count(piece) for piece in pieces}}

        def load(piece: slice) -> Examples:
            return Examples(*map(self._copied, (split.images[piece], split.labels[piece])))

        def score(states: Any, traced: Any) -> Any:
            # To the host, chunk by chunk: of many examples, what comes of them is large too.
            outcomes = [self.take(programs[_count(piece)].run(states, traced, held))
                        for piece, held in self._ahead(pieces, load)]
            return self.put([_in_a_row(of_slot) for of_slot in zip(*outcomes, strict=True)])

        rows = 2 if self.layout.parallel == "pmap" else 1
        nothing = [jax.tree.map(lambda leaf: np.zeros(leaf.shape[rows:], leaf.dtype), programs[_count(piece)].outputs)
                   for piece in pieces]
        return score, _in_a_row(nothing)

    def _everywhere(self, shapes: Examples) -> Any:
        sharding = NamedSharding(self._mesh, P())
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)


def _in_a_row(outcomes: Sequence[Outcome]) -> Outcome:
    """Joins the outcomes of chunks: batches of one size are in a row, as if they had been scored together."""
    joined = {}
    for name in outcomes[0]:
        parts = itertools.chain(*(outcome[name] for outcome in outcomes))
        alike = itertools.groupby(parts, lambda part: part.predicted.shape[1:])
        joined[name] = [jax.tree.map(lambda *leaves: np.concatenate(leaves), *some) for _, some in alike]
    return joined


def _shapes(split: Split, size: int) -> Any:
    """Describes so many examples."""
    return Examples._make(jax.ShapeDtypeStruct((size, *array.shape[1:]), array.dtype)
                          for array in (split.images, split.labels))


def _example_bytes(split: Split) -> int:
    return split_bytes(split) // len(split.labels)


def _count(piece: slice) -> int:
    return int(piece.stop - piece.start)
