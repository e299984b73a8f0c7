"""Checkpoints of unfinished runs; the only module that knows Orbax.

A run's folder holds the last two checkpoints, named by their epochs. A save becomes visible by a rename; what was saved
has a digest, so that a later change is noticed and the one before it is taken.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from harness.training import processes

KEPT = 2
# Of the machine and its disks, not of what is trained or was saved: full, gone for a while, not ours to read.
_MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EIO, errno.EACCES,
             errno.EPERM, errno.ENOMEM, errno.ETIMEDOUT)
_AROUND_BYTES = 2**16  # what a checkpoint has beside its arrays, generously
_DAMAGED = "damaged-"  # before the name of what is no longer looked at


class CheckpointError(Exception):
    """A checkpoint that may not be resumed; the message is one line."""


def is_the_machines(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, tells of the machine alone; storage libraries say so in words."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if (isinstance(error, OSError) and error.errno in _MACHINES) or ((
                found := re.search(r"os_error_code='(\d+)'", str(error))) and int(found[1]) in _MACHINES):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


class NotSavedError(Exception):
    """A checkpoint could not be written; the message is one line with its remedy. What was there still is."""


def save(folder: pathlib.Path, epoch: int, state: Any, progress: dict[str, Any]) -> None:
    """Saves a run after an epoch and drops its older checkpoints but the last.

    Where several processes train the run, all of them call this; Orbax has them wait for each other.

    Args:
      folder: the run's checkpoints.
      state: a pytree of arrays, of one run.
      progress: JSON values about the work so far that belong to no state, such as seconds spent.

    Raises:
      NotSavedError: if it cannot be written, as on a full disk; nothing of it is left.
    """
    if processes.is_first():
        _clear(folder)
    target = folder.resolve() / str(epoch)
    if not processes.of_first([target.exists()])[0]:
        arrays = jax.tree.map(np.asarray, state)
        metadata = {"progress": progress, "leaves": _leaves(state), "digest": _digest(arrays, progress)}
        try:
            _check_room(folder, arrays)
            with _quietly():
                ocp.save(target, arrays, custom_metadata=metadata)
        except Exception as error:  # Orbax and its storage wrap what the system says in kinds of their own
            _clear(folder)
            raise NotSavedError(f"{target} could not be written ({_reason(error)}); free some room or mend who may "
                                "write there: training goes on, and a stopped launch from what was saved before"
                                ) from error
    for path in _saved(folder)[:-KEPT] if processes.is_first() else ():
        shutil.rmtree(path, ignore_errors=True)  # another launch, which took the run for given up, may have been first


def progress(folder: pathlib.Path) -> dict[str, Any] | None:
    """Reads what was saved beside the state in the latest checkpoint that can be read; None if there is none."""
    for path in reversed(_saved(folder)):
        with contextlib.suppress(Exception):  # its turn comes when it is restored
            return dict(_metadata(path)["progress"])
    return None


def restore(folder: pathlib.Path, like: Any, tell: Callable[[str], None] = print
            ) -> tuple[Any, dict[str, Any]] | None:
    """Restores the latest checkpoint that is as it was saved.

    Args:
      like: a state of the structure, shapes and types that were saved.
      tell: is given a line for each that is damaged, which is set aside under another name.

    Returns:
      the state and the progress that were saved; None if no checkpoint is whole.

    Raises:
      CheckpointError: if the checkpoint is of another network, or cannot be read for what is the machine's.
    """
    for path in reversed(_saved(folder)):
        try:
            return _restored(path.resolve(), like)
        except (CheckpointError, MemoryError):
            raise
        except Exception as error:  # Orbax raises many kinds for one cause: the folder is not what was saved.
            if is_the_machines(error):
                raise CheckpointError(f"checkpoint {path} cannot be read ({_reason(error)}) and was left as it is: "
                                      "mend that and give the command again, or delete this folder to train the run "
                                      "from its start") from error
            if not processes.is_first():  # which sets it aside for all
                continue
            aside = path.with_name(f"{_DAMAGED}{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            on = f"the run goes on from epoch {left[-1].name}" if (left := _saved(folder)) else (
                "no other is left, and the run is trained from its start")
            tell(f"warning: checkpoint {path} is damaged ({_reason(error)}) and was set aside as {aside.name}; {on}")
    return None


def _restored(path: pathlib.Path, like: Any) -> tuple[Any, dict[str, Any]]:
    metadata = _metadata(path)
    if metadata["leaves"] != _leaves(like):  # Orbax would cut or pad an array to the shape asked for
        raise CheckpointError(f"checkpoint {path} cannot be restored (it holds other arrays than this run's); "
                              "delete this folder to train the run from its start")
    with _quietly():
        state = jax.tree.map(np.asarray, ocp.load(path, jax.tree.map(np.asarray, like)))
    # Checkpoints of earlier versions have none.
    if metadata.get("digest", found := _digest(state, metadata["progress"])) != found:
        raise ValueError("its content is not what was saved")
    return state, metadata["progress"]


def _metadata(path: pathlib.Path) -> dict[str, Any]:
    with _quietly():
        stated = ocp.metadata(path.resolve()).custom_metadata
    if not (isinstance(stated, dict) and {"leaves", "progress"} <= stated.keys()):
        raise ValueError("it does not say what it holds")
    return stated


def _digest(state: Any, progress: dict[str, Any]) -> str:
    """Gives the sha256 over all arrays in their order, bit by bit, and the progress."""
    digest = hashlib.sha256(json.dumps([_leaves(state), progress], sort_keys=True).encode())
    for leaf in jax.tree.leaves(state):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps Orbax from saying what is told in one line here."""
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    before, logger.disabled = logger.disabled, True
    if getattr(hook, "func", None) is not _passed_on:  # as it is after a save that failed
        sys.unraisablehook = functools.partial(_passed_on, hook)
    try:
        yield
        sys.unraisablehook = hook  # where it fails, its threads go on for a while
    finally:
        logger.disabled = before


def _passed_on(hook: Callable[["sys.UnraisableHookArgs"], object], told: "sys.UnraisableHookArgs") -> None:
    """Leaves out that threads of a save that was given up find nobody to report to."""
    if not (isinstance(told.exc_value, RuntimeError) and str(told.exc_value) == "Event loop is closed"):
        hook(told)


def _check_room(folder: pathlib.Path, arrays: Any) -> None:
    """Fails before Orbax does, whose threads print what they are told after it has given up."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(existing).free < sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) + _AROUND_BYTES:
        raise OSError(os.strerror(errno.ENOSPC))


def _reason(error: Exception) -> str:
    if number := re.search(r"os_error_code='(\d+)'", str(error)):  # after several nested sentences
        return os.strerror(int(number[1])).lower()
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _leaves(state: Any) -> list[list[Any]]:
    """Describes a state's arrays as JSON holds it."""
    return [[jax.tree_util.keystr(path), list(leaf.shape), str(leaf.dtype)]
            for path, leaf in jax.tree_util.tree_leaves_with_path(state)]


def _clear(folder: pathlib.Path) -> None:
    """Removes what was being written when a save broke off."""
    for path in folder.glob("*orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)


def _saved(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists checkpoints, oldest first; what Orbax was still writing has another kind of name."""
    paths = folder.iterdir() if folder.exists() else ()
    return sorted((path for path in paths if path.name.isdigit()), key=lambda path: int(path.name))
