"""Settings that must precede jax's first use."""

import jax
import pytest
from small import small_dataset

from harness.data import Dataset
from harness.training import environment

jax.config.update("jax_num_cpu_devices", 4)
# The same programs are compiled by many tests. Keeping the small ones too would take longer than compiling them.
environment.keep_compiled_programs()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture
def dataset() -> Dataset:
    return small_dataset()
