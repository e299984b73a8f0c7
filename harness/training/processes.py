"""Several processes that train one run together: they are one mesh to jax, and must decide alike.

Each holds the whole state and all of the data; the first one alone writes. Everything that decides what is computed
next is asked of all or of the first, so that no process waits for a step that another never begins.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from ablations.spec import Run
from harness.training import stopping
from harness.training.turns import Turns


class JoinError(Exception):
    """Processes that do not find each other; the message is one line."""


def join(coordinator: str | None, number: int | None, process: int | None) -> None:
    """Joins the other processes of the launch, before jax is used for anything else.

    Args:
      coordinator: HOST:PORT of the first process; None has jax find all three out, as under Slurm, Open MPI,
        Kubernetes and on TPU pods.
      number: how many processes there are.
      process: which of them this one is, from 0.

    Raises:
      JoinError: if jax cannot tell, or the others are not there.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, number, process)
    except (RuntimeError, ValueError) as error:
        raise JoinError(f"--distributed: {str(error).strip().splitlines()[0]}; where jax does not know the cluster, "
                        "give each process --coordinator=HOST:PORT --num_processes=N --process_id=I") from None


def several() -> bool:
    """Whether this process is one of several."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def any_of(asked: bool) -> bool:
    """Whether any process says so."""
    return bool(np.any(_gathered(asked))) if several() else asked


def least_of(number: int) -> int:
    """Gives the least number that a process has, of several to seven digits."""
    return int(np.min(_gathered(np.float32(number)))) if several() else number


def of_first(chosen: Sequence[bool]) -> list[bool]:
    """Gives what the first process has chosen; all give as many."""
    if not several() or not chosen:
        return list(chosen)
    return [bool(one) for one in _gathered([int(one) for one in chosen])[0]]


def check_alike(number: int, what: str) -> None:
    """Checks that all processes have read the same.

    Raises:
      JoinError: if they have not.
    """
    if several() and len(set(_gathered(number).tolist())) > 1:
        raise JoinError(f"processes of --distributed read {what} unlike: all must see the same --results_dir")


def laid_out(array: Any, sharding: Sharding) -> jax.Array:
    """Puts an array that every process has on the devices of all; each gives its own devices their part."""
    if not several():
        return jax.device_put(array, sharding)
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


class InStep:
    """Turns that the first process takes for all."""

    def __init__(self, turns: Turns | None):
        """Wraps the first process's turns; the others have none."""
        self._turns = turns

    def take(self, runs: Sequence[Run]) -> list[Run]:
        mine = self._turns.take(runs) if self._turns else []
        return self._agreed(runs, mine)

    def again(self, runs: Sequence[Run], stopped: Callable[[], bool]) -> list[Run]:
        mine: list[Run] = []
        with contextlib.suppress(stopping.StoppedError):  # all are asked at the next step
            mine = self._turns.again(runs, stopped) if self._turns else []
        return self._agreed(runs, mine)

    def _agreed(self, runs: Sequence[Run], mine: Sequence[Run]) -> list[Run]:
        if not runs:
            return []
        names = {run.run_id for run in mine}
        chosen = of_first([run.run_id in names for run in runs])
        return [run for run, is_mine in zip(runs, chosen, strict=True) if is_mine]


def _gathered(value: Any) -> np.ndarray:
    """Gives what each process has, [process, ...]."""
    from jax.experimental import multihost_utils  # it takes a while to import

    return np.asarray(multihost_utils.process_allgather(np.asarray(value)))
