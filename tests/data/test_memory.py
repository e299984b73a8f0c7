"""Memory is what the machine, a container or a batch system leaves."""

from pathlib import Path

import psutil
import pytest

from harness.data import memory

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch):
    """Writes control groups and what a process is told of its own; gives how much memory is found to be free."""
    monkeypatch.setattr(memory, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 100 * GIB}))
    whole = Path.read_text

    def free(own: str, files: dict[str, str]) -> int:
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(Path, "read_text", lambda path, *more: own if str(path) == "/proc/self/cgroup" else
                            whole(path, *more))
        return memory.available_bytes()

    return free


def group(path: str, limit: str, used: int, idle: int = 0) -> dict[str, str]:
    return {f"{path}memory.max": limit, f"{path}memory.current": f"{used}\n",
            f"{path}memory.stat": f"anon 5\nactive_file {idle // 2}\ninactive_file {idle // 2}\n"}


def test_of_a_group_and_those_above_it_the_least_counts_and_pages_of_files_are_free(groups):
    tight = group("slurm/", f"{8 * GIB}\n", 3 * GIB, GIB)
    assert groups("0::/slurm/task\n", tight | group("slurm/task/", "max\n", GIB)) == 6 * GIB


def test_a_container_sees_its_own_group_at_the_top(groups):
    assert groups("0::/docker/abc\n", group("", f"{4 * GIB}\n", GIB)) == 3 * GIB


def test_groups_of_the_first_version_are_read_too(groups):
    files = {"memory/job/memory.limit_in_bytes": f"{2 * GIB}\n", "memory/job/memory.usage_in_bytes": f"{GIB}\n",
             "memory/job/memory.stat": "active_file 7\ntotal_active_file 2\ntotal_inactive_file 3\n"}
    assert groups("5:devices:/job\n4:memory:/job\n0::/\n", files) == GIB + 5


@pytest.mark.parametrize(("own", "files"), [
    ("0::/\n", {}), ("0::/\n", group("", "max\n", GIB)), ("0::/elsewhere\n", {"memory.max": "8\n"})])
def test_without_a_limit_the_machine_tells(groups, own, files):
    assert groups(own, files) == 100 * GIB
