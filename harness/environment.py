"""The machine and the versions behind a record, and the settings of jax. Called by `harness.run`."""

import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax
import psutil

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")


# What the compiled programs of past runs may take on disk; the least recently used go first.
CACHE_BYTES = 4 * 2**30


def cores() -> int:
    """Counts the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure(devices: int | None = None) -> int:
    """Sets jax up before its first use: a device per core of a CPU, and a compilation cache.

    Args:
      devices: CPU devices to have instead of one per core.

    Returns:
      how many devices there are.
    """
    jax.config.update("jax_num_cpu_devices", devices or cores())
    keep_compiled_programs()
    # By default an accelerator multiplies float32 with fewer bits than a record would then claim.
    jax.config.update("jax_default_matmul_precision", "float32")
    return jax.device_count()


def keep_compiled_programs() -> None:
    """Sets up the compilation cache on disk."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "image_ablation_harness"
    jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # These programs compile within the second below which nothing is kept by default.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def device_memory_bytes(devices: int) -> int | None:
    """Tells how much memory each of this many devices has; None where the platform does not say."""
    device = jax.devices()[0]
    if device.platform == "cpu":  # they share what the machine has left
        return psutil.virtual_memory().available // devices
    stats = device.memory_stats()
    return None if stats is None else stats.get("bytes_limit")


_cache_counts = {"/jax/compilation_cache/cache_hits": 0, "/jax/compilation_cache/cache_misses": 0}


def _count_event(event: str, **details: Any) -> None:
    if event in _cache_counts:
        _cache_counts[event] += 1


jax.monitoring.register_event_listener(_count_event)


def cache_counts() -> tuple[int, int]:
    """Counts the hits and misses of the compilation cache so far in this process."""
    hits, misses = _cache_counts.values()
    return hits, misses


def describe() -> dict[str, Any]:
    """Describes the machine for a record: versions, device and commit."""
    device = jax.devices()[0]
    commit, dirty = _commit()
    name = f"{_cpu_name()}, {cores()} cores" if device.platform == "cpu" else device.device_kind
    return {"python": platform.python_version(),
            "packages": {package: importlib.metadata.version(package) for package in PACKAGES},
            "platform": device.platform, "device": name, "device_count": jax.device_count(),
            "git_commit": commit, "git_dirty": dirty}


def _cpu_name() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> tuple[str | None, bool]:
    """Reads the commit this code is at, and whether the code differs from it; results do not count."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=pathlib.Path(__file__).parent.parent, capture_output=True,
                              text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "harness", "models", "ablations")
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None, False
