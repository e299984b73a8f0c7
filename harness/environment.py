"""The machine and the versions behind a record, and the settings of jax. Called by `harness.run`."""

import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")


def cores() -> int:
    """Counts the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure(members: int) -> None:
    """Sets jax up before its first use: one CPU device per run that trains side by side, and a compilation cache.

    Args:
      members: the most runs that could train together. One run gets all cores; several get one core each, which
        trains more of them per second than sharing every operation does.
    """
    devices = min(cores(), members)
    jax.config.update("jax_num_cpu_devices", devices)
    if devices > 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "image_ablation_harness" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    # By default an accelerator multiplies float32 with fewer bits than a record would then claim.
    jax.config.update("jax_default_matmul_precision", "float32")
    # These programs compile within the second below which nothing is kept by default.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


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
