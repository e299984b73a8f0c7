"""How much memory is free for this process: of the machine, or of what a container or a batch system leaves it."""

import contextlib
from pathlib import Path, PurePosixPath

import psutil

_ROOT = Path("/sys/fs/cgroup")
_NAMES = ("memory.max", "memory.current", "")
_NAMES_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def available_bytes() -> int:
    """Tells how much memory this process can still take: the least of what the machine and each of its groups have."""
    free: int = psutil.virtual_memory().available
    return min([free, *_left_by_groups()])


def _left_by_groups() -> list[int]:
    """Lists what each control group of Linux leaves that has a limit, of the process's own and of all above it.

    Source: the kernel's documentation of control groups, versions 1 and 2.
    """
    found = []
    with contextlib.suppress(OSError):  # not on Linux
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = _ROOT / "memory" if controllers else _ROOT
            own = PurePosixPath(path).relative_to("/")
            # A container sees its own group at the top, whatever the path says.
            for group in dict.fromkeys([top, *(top / one for one in (own, *own.parents))]):
                with contextlib.suppress(OSError, ValueError):  # no such group here, or no limit
                    found.append(_left(group, *(_NAMES_V1 if controllers else _NAMES)))
    return found


def _left(group: Path, limit: str, usage: str, whole: str) -> int:
    """Tells what a group leaves; pages of files that it has read go where memory is short.

    Args:
      whole: what begins the names of counts that cover the groups below.
    """
    most, used = (int((group / name).read_text()) for name in (limit, usage))
    statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return most - used + sum(int(statistics.get(f"{whole}{kind}_file", 0)) for kind in ("active", "inactive"))
