"""What is written is whole or absent, nothing that is read is executed, and what is fetched is verified."""

import inspect
import re

import pytest
from place import ROOT

from harness.data import download

# What is there beside `files.opened_atomic`, and why.
WRITES_ITSELF = {
    "harness/records/files.py",  # is that function
    "harness/records/leases.py",  # a file that is there or not, created by one process alone
    "harness/data/download.py",  # a part that is continued, and renamed once its hash is right
    "harness/data/features.py",  # a memory map that is continued, in a folder that is renamed
    "harness/reporting/export/wandb.py",  # a mark in a folder that another library writes
}
WRITES = re.compile(r"""\.write_(text|bytes)\(|open_memmap\(|open\([^)]*["'][rb]?[wax]\+?b?["']""")
EXECUTES = re.compile(r"import pickle|pickle\.|allow_pickle=True|(?<![\w.`])(eval|exec)\(|yaml\.load\(|torch\.load\("
                      r"|joblib|dill|marshal|shelve|shell=True|os\.system\(|extractall\(|__import__\(")
FETCHES = re.compile(r"requests\.(get|head|post|Session)\(|urlopen|urlretrieve|httpx|aiohttp|http\.client|ftplib"
                     r"|download_and_prepare")
VERIFIES = {
    "harness/data/download.py",  # by the digest that it is given
    "harness/data/prepared.py",  # TensorFlow Datasets, by the digests that it has registered
}
RUNS_THE_USERS_FILE = {"ablations/lookup.py"}  # which is what the command names


def sources():
    for house in ("harness", "ablations", "models"):
        for path in sorted((ROOT / house).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


@pytest.mark.parametrize(("pattern", "allowed"), [
    (WRITES, WRITES_ITSELF), (EXECUTES, RUNS_THE_USERS_FILE), (FETCHES, VERIFIES)], ids=[
    "writes", "executes", "fetches"])
def test_one_function_writes_files_nothing_that_is_read_is_executed_nor_fetched_unverified(pattern, allowed):
    assert inspect.signature(download.fetch).parameters["digest"].default is inspect.Parameter.empty
    assert {name for name, text in sources() if pattern.search(text)} == allowed
