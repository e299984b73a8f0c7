"""The machine, the versions and the code behind a record, and the settings of jax that its numbers depend on."""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from harness.data import cache, memory
from harness.records import Environment
from harness.training import processes
from harness.training.train import GENERATOR

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")
# What the compiled programs of past runs may take on disk; the least recently used go first.
CACHE_BYTES = 4 * 2**30
# A CPU plays several devices where layouts are tried out; with more of them than this it does nothing but switch.
DEVICES_PER_CORE = 4
# Settings that a user may have changed, for other code or in variables of the environment, and that would change the
# numbers or stop the training of a run.
NUMERICS: dict[str, Any] = {
    "jax_default_prng_impl": GENERATOR,
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_legacy_prng_key": "allow",
    "jax_debug_key_reuse": False,
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    # By default an accelerator multiplies float32 with fewer bits than a record would then claim.
    "jax_default_matmul_precision": "float32",
    "jax_softmax_custom_jvp": False,
    "jax_allow_f16_reductions": True,
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_enable_checks": False,
    "jax_check_tracer_leaks": False,
    "jax_transfer_guard": "allow",
}
# The harness's own part in what a run's numbers are, beside the networks and the specs; a hash of it is in each record.
TRAINING = ("data/features", "training/augmentation", "training/batches", "training/budget", "training/chunks",
            "training/class_weights", "training/member", "training/optimizer", "training/programs",
            "training/schedule", "training/state", "training/streamed", "training/train", "training/trainer",
            "training/update")
SPECS = ("augmentation", "recipes", "spec")
_ROOT = pathlib.Path(__file__).resolve().parents[2]


class DeviceError(Exception):
    """The devices asked for are not there; the message is one line."""


def cores() -> int:
    """Counts the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure(devices: int | None = None, *, pretended: int | None = None, cpus_alone: bool = False) -> int:
    """Sets jax up before its first use: a device per core of a CPU, and a compilation cache.

    Args:
      devices: CPU devices to have instead of one per core.
      pretended: CPU devices to have for planning alone, however many the cores are.
      cpus_alone: whether an accelerator that is there is left alone.

    Returns:
      how many devices there are.

    Raises:
      DeviceError: if jax cannot use the platform that it was told to, or has fewer devices.
    """
    # Making thousands of devices takes minutes, and they are refused below.
    jax.config.update("jax_num_cpu_devices", pretended or min(devices or cores(), cores() * DEVICES_PER_CORE))
    if pretended or cpus_alone:
        jax.config.update("jax_platforms", "cpu")
    keep_compiled_programs()
    try:
        present = jax.device_count()
    except (AssertionError, RuntimeError) as error:
        wanted = jax.config.values["jax_platforms"]
        what = f"JAX_PLATFORMS={wanted}: jax can use no such device here" if wanted else "jax can use no device here"
        reason = str(error).partition(" (set JAX_PLATFORMS")[0].strip()
        what += f" ({reason.splitlines()[0]})" if reason else ""
        raise DeviceError(f"{what}; unset JAX_PLATFORMS to train on what there is, or install jax for it: "
                          "pip install -c constraints.txt -e '.[cuda]' or '.[tpu]'") from None
    if devices and devices > (most := cores() * DEVICES_PER_CORE if jax.default_backend() == "cpu" else present):
        raise DeviceError(f"--devices={devices} is more than there are to use: at most {most} here; leave the flag out "
                          f"to use {cores() if jax.default_backend() == 'cpu' else present}")
    return present


@contextlib.contextmanager
def numerics() -> Iterator[None]:
    """Sets jax to `NUMERICS` for what runs inside, and afterwards back to what it was."""
    before = {name: jax.config.values[name] for name in NUMERICS}
    try:
        pin()
        yield
    finally:
        pin(before)


def pin(values: Mapping[str, Any] = NUMERICS) -> None:
    """Sets jax to these values from now on."""
    for name, value in values.items():
        jax.config.update(name, value)


def keep_compiled_programs() -> None:
    """Sets up the compilation cache on disk."""
    # The path is part of what programs are found by, so that a folder behind a link has one path alone.
    jax.config.update("jax_compilation_cache_dir", str(cache.folder("compiled").resolve()))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # These programs compile within the second below which nothing is kept by default.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def processor() -> jax.Device | None:
    """Gives the processor beside an accelerator; None on a CPU, and where jax was told to leave it alone."""
    try:
        return None if jax.default_backend() == "cpu" else jax.devices("cpu")[0]
    except RuntimeError:
        return None


def refuse_precisions(precisions: Iterable[str]) -> None:
    """Refuses what the devices here cannot multiply.

    Raises:
      DeviceError: naming the precision and the others.
    """
    if "tf32" in precisions and (platform := jax.default_backend()) != "gpu":
        raise DeviceError(f"precision=tf32 is a way to multiply on an NVIDIA GPU's tensor cores, and jax uses the "
                          f"{platform} here; give float32, which multiplies with all its bits, or bfloat16; on a "
                          "machine that has such a GPU, pip install -c constraints.txt -e '.[cuda]'")


def device_memory_bytes(devices: int) -> int | None:
    """Tells how much memory each of this many devices has; None where the platform does not say.

    Several processes on CPUs all give the least that one of them has, and must all ask.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":  # those of a process share what is left
        return processes.least_of(memory.available_bytes() // min(devices, jax.local_device_count()))
    stats = device.memory_stats()
    return None if stats is None else stats.get("bytes_limit")


_CACHE_EVENTS = ("/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses")
# By thread: several compile at once, and each counts its own.
_cache_counts = threading.local()


def _count_event(event: str, **details: Any) -> None:
    if event in _CACHE_EVENTS:
        setattr(_cache_counts, event, getattr(_cache_counts, event, 0) + 1)


jax.monitoring.register_event_listener(_count_event)


def cache_counts() -> tuple[int, int]:
    """Counts the hits and misses of the compilation cache so far in this thread."""
    hits, misses = (getattr(_cache_counts, event, 0) for event in _CACHE_EVENTS)
    return hits, misses


def describe(own: Mapping[str, str] | None = None) -> Environment:
    """Describes the machine for a record: versions, device, code, and the settings that numbers depend on.

    Args:
      own: path -> sha256 of the user's code that takes part in training.
    """
    device = jax.devices()[0]
    commit, dirty = commit_of(_ROOT)
    name = f"{_cpu_name()}, {cores()} cores" if device.platform == "cpu" else device.device_kind
    return Environment(
        python=platform.python_version(),
        packages={package: importlib.metadata.version(package) for package in PACKAGES}, platform=device.platform,
        device=name, device_count=jax.device_count(), git_commit=commit, git_dirty=dirty,
        harness_version=importlib.metadata.version("image-ablation-harness"), training_code=training_code(own),
        numerics={name.removeprefix("jax_"): str(jax.config.values[name]) for name in NUMERICS}
        | {"xla_flags": os.environ.get("XLA_FLAGS", "")})


def _cpu_name() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def training_code(own: Mapping[str, str] | None = None) -> str:
    """Hashes the sources that decide what training computes: networks, specs and `TRAINING`, and those of the user."""
    if not own:
        return _training_code()
    return hashlib.sha256(repr((_training_code(), sorted(own.items()))).encode()).hexdigest()


@functools.cache
def _training_code() -> str:
    named = [_ROOT / "models", *(_ROOT / "ablations" / name for name in SPECS), *(_ROOT / "harness" / name
                                                                                  for name in TRAINING)]
    sources = [source for path in named
               for source in (sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")])]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def commit_of(root: pathlib.Path) -> tuple[str | None, bool]:
    """Reads the commit that the code in a folder is at, and whether the code differs from it; results do not count.

    A repository that merely contains the folder, as one does where the code was copied or installed, says nothing.

    Returns:
      (None, False) where the folder is not the root of a repository that tracks it.
    """
    # With these git would speak of another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, text=True,
                              check=True).stdout.strip()

    try:
        if pathlib.Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None, False
        git("ls-files", "--error-unmatch", "harness/training/environment.py")
        changed = git("status", "--porcelain", "--", "harness", "models", "ablations")
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None, False
