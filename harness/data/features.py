"""The features that a frozen backbone gives every image of a data set: computed once, kept on disk, memory-mapped.

`harness.data.inputs` puts them in the images' place. Heads then train on vectors, in this process and every later
one.
"""

import dataclasses
import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.data import verified
from harness.data.datasets import DataError, Dataset, default_cache_dir
from harness.records import write_atomic
from models import transfer
from models.layers import Mode
from models.mobilenet_v2 import last_filters
from models.precision import multiplied, number_type

BATCH = 256  # images at once, all devices together
_KEPT_EVERY_S = 5.0  # what is lost where computing is stopped
_FORMAT = 1  # raise it when the features change, so that no older ones are read
_ABOUT = "computed.json"
_SPLITS = ("test", "validation", "train")


@dataclasses.dataclass(frozen=True)
class Key:
    """What features are a function of; equal keys share a folder.

    Attributes:
      data: the data set's fingerprint.
      weights: sha256 of the backbone's weight file.
      platform: what computes them; others round differently, and take another time.
      preprocessing: how images become what the backbone sees.
    """

    data: str
    weights: str
    width: float
    resolution: int
    precision: str
    platform: str
    preprocessing: str = "bilinear, x / 127.5 - 1"
    format: int = _FORMAT

    def digest(self) -> str:
        """Names the folder."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Computed:
    """The features of a data set.

    Attributes:
      splits: split -> float32 [example, feature], memory-mapped, in the order of its images.
      seconds: what computing all of them took, whenever that was, compilation included.
      cached: whether they were there already.
    """

    splits: dict[str, np.ndarray]
    seconds: float
    cached: bool


def compute(dataset: Dataset, features: transfer.Features, key: Key, devices: int, console: Console,
            cache_dir: Path | None = None) -> Computed:
    """Opens the features of all images, or computes and keeps them first.

    Safe when several processes ask for the same ones: one computes, the others wait. An interrupted computation goes
    on where it was.

    Args:
      features: the frozen backbone.
      devices: over how many devices each batch is split.
      cache_dir: by default the folder `features` beside the decoded data sets.

    Raises:
      DataError: if the folder cannot be written.
    """
    folder = (cache_dir or default_cache_dir().with_name("features")) / f"{dataset.name}-{key.digest()}"
    if kept := _open(folder, dataset, cached=True):
        return kept
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(filelock.FileLock(folder.with_name(f"{folder.name}.lock")), console):
            if kept := _open(folder, dataset, cached=True):
                return kept
            if folder.exists():
                console.print(f"warning: features in {folder} are not what was kept there; they are computed again",
                              markup=False, highlight=False, soft_wrap=True)
            _compute(dataset, features, key, devices, console, folder)
            kept = _open(folder, dataset, cached=False)
    except OSError as error:
        raise DataError(f"cannot keep features in {folder.parent} ({error.strerror or error}); set XDG_CACHE_HOME to a "
                        "folder with room that can be written") from error
    if kept is None:
        raise DataError(f"features written to {folder} cannot be read back; is the disk full or failing?")
    return kept


@contextmanager
def _only_one(lock: filelock.BaseFileLock, console: Console) -> Iterator[None]:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        console.print("another process is computing these features; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _open(folder: Path, dataset: Dataset, *, cached: bool) -> Computed | None:
    """Maps features that are what was kept."""
    try:
        about = json.loads((folder / _ABOUT).read_text())
        seconds = float(about["seconds"])
        splits = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _SPLITS}
        whole = all(len(splits[name]) == len(getattr(dataset, name).labels) for name in _SPLITS)
        if whole and verified.are_intact(folder, folder / _ABOUT, about, splits):
            return Computed(splits, seconds, cached)
    except Exception:  # damaged JSON or a damaged header, of which numpy raises many kinds: computed anew
        return None
    return None


def _compute(dataset: Dataset, features: transfer.Features, key: Key, devices: int, console: Console,
             folder: Path) -> None:
    """Fills files beside the folder and renames them at the end; the caller holds the lock, so nobody else does."""
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(exist_ok=True)
    _check_room(dataset, key, part)
    done, spent = _progress(part)
    total = sum(len(getattr(dataset, name).labels) for name in _SPLITS)
    run = compiled(features, key.precision, devices)
    batch = devices * max(1, BATCH // devices)
    console.print(f"computing the features of {total:,} images at {key.resolution} px, kept in {folder}",
                  highlight=False, soft_wrap=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   console=console)
    with bar:
        task = bar.add_task("features", total=total,
                            completed=sum(done.values()))
        for name in _SPLITS:
            images = getattr(dataset, name).images
            path, shape = part / f"{name}.npy", (len(images), last_filters(key.width))
            rows = np.lib.format.open_memmap(path, "r+" if done.get(name) else "w+", np.float32, shape)
            began = time.perf_counter()
            for first in range(done.get(name, 0), len(images), batch):
                some = np.asarray(images[first:first + batch])
                padded = np.pad(some, ((0, batch - len(some)), (0, 0), (0, 0), (0, 0)))
                rows[first:first + len(some)] = np.asarray(run(padded))[:len(some)]
                if (now := time.perf_counter()) - began < _KEPT_EVERY_S and first + batch < len(images):
                    continue
                rows.flush()  # the count may only say what the file holds
                spent, began = spent + now - began, now
                done[name] = min(first + batch, len(images))
                write_atomic(part / "progress.json", json.dumps({"done": done, "seconds": spent}).encode())
                bar.update(task, completed=sum(done.values()))
    kept = {name: np.load(part / f"{name}.npy", mmap_mode="r") for name in _SPLITS}
    verified.write_json(part / _ABOUT, verified.sealed(
        dataclasses.asdict(key) | {"seconds": round(spent, 3)} | verified.facts(part, kept)))
    shutil.rmtree(folder, ignore_errors=True)  # what is there is damaged
    part.rename(folder)


def _check_room(dataset: Dataset, key: Key, part: Path) -> None:
    """Fails before hours of work where the disk is too small: writing to a mapped file would kill the process then."""
    needed = 4 * last_filters(key.width) * sum(len(getattr(dataset, name).labels) for name in _SPLITS)
    free = shutil.disk_usage(part).free + sum(path.stat().st_blocks * 512 for path in part.glob("*.npy"))
    if free < needed + 2**20:
        raise OSError(errno.ENOSPC, f"{needed / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free")


def _progress(part: Path) -> tuple[dict[str, int], float]:
    """Reads how many examples of each split an interrupted computation has behind it, and the seconds they took."""
    try:
        kept = json.loads((part / "progress.json").read_text())
        return dict(kept["done"]), float(kept["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, 0.0


def compiled(features: transfer.Features, precision: str, devices: int) -> Callable[[np.ndarray], Any]:
    """Compiles the backbone for batches of uint8 images, split over the devices."""
    graph, weights = nnx.split(features)
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    split = NamedSharding(mesh, P("data"))

    def apply(weights: Any, images: jax.Array) -> jax.Array:
        pixels = (images.astype("float32") / 255).astype(number_type(precision))
        with multiplied(precision):
            return nnx.merge(graph, weights)(pixels, Mode()).astype("float32")

    # The weights are an argument: as constants they would be folded for seconds.
    program = jax.jit(jax.shard_map(apply, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=False))
    on_devices = jax.device_put(weights, NamedSharding(mesh, P()))
    return lambda images: program(on_devices, jax.device_put(images, split))
