"""Settings that must precede jax's first use."""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import jax
import pytest
from small import small_dataset

from harness.data import Dataset, cache

jax.config.update("jax_num_cpu_devices", 4)
# The same programs are compiled by many tests, and by the next run of the suite: each worker keeps what it compiled,
# and what the commands it launches keep, in a cache of its own for which it waits for nobody.
_CACHES = cache.folder("tests").absolute() / os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["XDG_CACHE_HOME"] = str(_CACHES)
# Apart from those of launches, whose cache has a limit, for which jax locks the folder and looks at every file in it.
_COMPILED = _CACHES / "in_process"
if _COMPILED.exists() and len(list(_COMPILED.iterdir())) > 10_000:
    shutil.rmtree(_COMPILED)
jax.config.update("jax_compilation_cache_dir", str(_COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.03)


# Of two workers, one would be left with the last of these alone; see --no-loadscope-reorder in the Makefile.
_LONGEST_FIRST = ("test_commands", "test_ray", "test_page_browser", "test_page_many", "test_cli",
                  "test_own_networks", "test_programs", "test_trainer", "test_executor", "test_figures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest at the beginning; the tests of a file stay in their order."""
    items.sort(key=lambda item: (*_LONGEST_FIRST, item.path.stem).index(item.path.stem))


@pytest.fixture
def dataset() -> Dataset:
    return small_dataset()


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator["SmallDisk"]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True,
                             check=False) if shutil.which("mount") else None
    if mounted is None or mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip() if mounted else 'there is no mount'}")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


class SmallDisk:
    """A disk that can be filled and given room again.

    Attributes:
      folder: where it is.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder, self._filler = folder, folder / "filler"

    def fill(self, free: int = 0) -> None:
        """Leaves so many bytes."""
        self._filler.unlink(missing_ok=True)
        self._filler.write_bytes(bytes(shutil.disk_usage(self.folder).free - free))

    def clear(self) -> None:
        """Leaves room again."""
        self._filler.unlink()

    def names(self) -> set[str]:
        """Lists the files there."""
        return {path.name for path in self.folder.rglob("*") if path.is_file()} - {self._filler.name}
