"""What is written is whole or absent, and nothing that is read is executed."""

import re

import pytest
from place import ROOT

# What is there beside `files.opened_atomic`, and why.
WRITES_ITSELF = {
    "harness/records/files.py",  # is that function
    "harness/data/download.py",  # a part that is continued, and renamed once its hash is right
    "harness/data/features.py",  # a memory map that is continued, in a folder that is renamed
    "harness/reporting/export/wandb.py",  # a mark in a folder that another library writes
}
WRITES = re.compile(r"""\.write_(text|bytes)\(|open_memmap\(|open\([^)]*["'][rb]?[wax]\+?b?["']""")
EXECUTES = re.compile(r"import pickle|pickle\.|allow_pickle=True|(?<![\w.`])(eval|exec)\(|yaml\.load\(|torch\.load\("
                      r"|joblib|dill")
RUNS_THE_USERS_FILE = {"ablations/lookup.py"}  # which is what the command names


def sources():
    for house in ("harness", "ablations", "models"):
        for path in sorted((ROOT / house).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


@pytest.mark.parametrize(("pattern", "allowed"), [(WRITES, WRITES_ITSELF), (EXECUTES, RUNS_THE_USERS_FILE)],
                         ids=["writes", "executes"])
def test_one_function_writes_files_and_nothing_that_is_read_is_executed(pattern, allowed):
    assert {name for name, text in sources() if pattern.search(text)} == allowed
