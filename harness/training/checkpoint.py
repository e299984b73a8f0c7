"""Checkpoints of unfinished runs; the only module that knows Orbax.

A run's folder holds one checkpoint per saved epoch, named by the epoch; a save becomes visible by a rename, so what
is there is whole.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp


class CheckpointError(Exception):
    """A checkpoint that cannot be restored; the message is one line."""


def save(folder: pathlib.Path, epoch: int, state: Any, progress: dict[str, Any]) -> None:
    """Saves a run after an epoch and drops its older checkpoints.

    Args:
      folder: the run's checkpoints.
      state: a pytree of arrays, of one run.
      progress: JSON values about the work so far that belong to no state, such as seconds spent.
    """
    target = folder.resolve() / str(epoch)
    if not target.exists():
        metadata = {"progress": progress, "leaves": _leaves(state)}
        ocp.save(target, jax.tree.map(np.asarray, state), custom_metadata=metadata)
    for path in _saved(folder)[:-1]:
        shutil.rmtree(path)


def progress(folder: pathlib.Path) -> dict[str, Any] | None:
    """Reads what was saved beside the state in the latest checkpoint; None if there is no checkpoint.

    Raises:
      CheckpointError: if the checkpoint is damaged.
    """
    if not (saved := _saved(folder)):
        return None
    with _named(saved[-1]):
        return dict(ocp.metadata(saved[-1].resolve()).custom_metadata["progress"])


def restore(folder: pathlib.Path, like: Any) -> tuple[Any, dict[str, Any]] | None:
    """Restores the latest checkpoint.

    Args:
      like: a state of the structure, shapes and types that were saved.

    Returns:
      the state and the progress that were saved; None if there is no checkpoint.

    Raises:
      CheckpointError: if the checkpoint is damaged or of another network.
    """
    if not (saved := _saved(folder)):
        return None
    path = saved[-1].resolve()
    with _named(path):
        metadata = ocp.metadata(path).custom_metadata
        if metadata["leaves"] != _leaves(like):  # Orbax would cut or pad an array to the shape asked for
            raise ValueError("it holds other arrays than this run's")
        state = ocp.load(path, jax.tree.map(np.asarray, like))
    return jax.tree.map(np.asarray, state), metadata["progress"]


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Orbax raises many kinds for one cause: the folder is not what was saved.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"checkpoint {path} cannot be restored ({reason}); "
                              "delete this folder to train the run from its start") from error


def _leaves(state: Any) -> list[list[Any]]:
    """Describes a state's arrays as JSON holds it."""
    return [[jax.tree_util.keystr(path), list(leaf.shape), str(leaf.dtype)]
            for path, leaf in jax.tree_util.tree_leaves_with_path(state)]


def _saved(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists whole checkpoints, oldest first; what Orbax was still writing has another kind of name."""
    paths = folder.iterdir() if folder.exists() else ()
    return sorted((path for path in paths if path.name.isdigit()), key=lambda path: int(path.name))
