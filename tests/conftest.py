"""Settings that must precede jax's first use."""

import os
import shutil

import jax
import pytest
from place import ROOT
from small import small_dataset

from harness.data import Dataset

jax.config.update("jax_num_cpu_devices", 4)
# The same programs are compiled by many tests. The harness's own cache has a limit, for which jax looks at every file
# to add one; without it jax does not lock the folder, so that each worker has its own.
_COMPILED = ROOT / ".pytest_cache" / "compiled" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
if _COMPILED.exists() and len(list(_COMPILED.iterdir())) > 5000:
    shutil.rmtree(_COMPILED)
jax.config.update("jax_compilation_cache_dir", str(_COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.03)


@pytest.fixture
def dataset() -> Dataset:
    return small_dataset()
