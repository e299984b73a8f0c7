"""What lies beside the records that count, and where a report cannot be written."""

import contextlib
import dataclasses
import errno
import io
import os
import subprocess

import pytest
import synthetic
from rich.console import Console
from undrawn import undrawn

from harness import records
from harness.analysis.summarize import summarize
from harness.progress.status import Reader
from harness.records import files
from harness.records.loaded import Loaded
from harness.report import ReportError, report
from harness.reporting.captions import weighty


def runs(levels):
    return [synthetic.record({"a": level}, seed, 0.9 + 0.01 * place + 0.001 * seed)
            for place, level in enumerate(levels) for seed in range(3)]


@pytest.mark.parametrize("rewritten", [False, True], ids=["plan of before", "plan written anew"])
def test_a_level_that_is_gone_is_named_and_in_no_number(tmp_path, rewritten):
    """The best one of all: it is neither in the table nor among the comparisons that Holm's correction counts."""
    synthetic.write(tmp_path, synthetic.plan({"a": ["x", "y", "z"]}, runs("xyz")), *runs("xyz"))
    folder = records.Folder(tmp_path, "made_up")
    if rewritten:
        folder.write_plan(synthetic.plan({"a": ["x", "y"]}, runs("xy")))
        assert {run.labels["a"] for run in folder.plan().runs} == {"x", "y"}
    else:
        stored = dataclasses.replace(folder.plan(), factors={"a": ("x", "y")})
        records.write_atomic(folder.path / "plan.json", files.json_bytes(stored))
    elsewhere = synthetic.write(tmp_path / "without", synthetic.plan({"a": ["x", "y"]}, runs("xy")), *runs("xy"))
    here, there = (summarize("made_up", one.plan, one.records, predictions=one.predictions, apart=one.apart)
                   for one in map(Loaded, (folder, elsewhere)))
    assert here.rows == there.rows
    assert here.verdict == there.verdict
    [told] = [note for note in weighty(here) if note.startswith("Not in the table")]
    assert told == ("Not in the table: runs of cells that the ablation no longer has, a=z: 3 runs. Put their levels "
                    "back into it to have them count.")
    assert not [note for note in weighty(there) if note.startswith("Not in the table")]
    assert [run.run_id for run in Reader(folder).read(0.0).runs] == [synthetic.run_id(run) for run in runs("xy")]


def test_runs_of_other_seeds_stay_planned(tmp_path):
    folder = synthetic.write(tmp_path, synthetic.plan({"a": ["x"]}, runs("x")))
    folder.write_plan(synthetic.plan({"a": ["x"]}, runs("x")[:1]))
    assert len(folder.plan().runs) == 3


@contextlib.contextmanager
def mounted_for_reading(folder):
    """Makes a folder one that root may not write to either."""
    bind = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if bind.returncode:
        pytest.skip(f"nothing can be mounted here: {bind.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def printed(results_dir, **more):
    console = Console(file=io.StringIO(), width=100)
    with undrawn():
        try:
            paths = report([str(results_dir)], [], console, **more)
        except ReportError as error:
            return [], console.file.getvalue(), str(error)
    return paths, console.file.getvalue(), ""


@pytest.fixture
def results(tmp_path):
    synthetic.write(tmp_path / "results", synthetic.plan({"a": ["x", "y"]}, runs("xy")), *runs("xy"))
    return tmp_path / "results"


def test_a_folder_that_cannot_be_written_is_reported_all_the_same(results):
    before = sorted(results.rglob("*"))
    with mounted_for_reading(results):
        paths, shown, failed = printed(results)
    assert (paths, failed) == ([], "")
    assert "made_up: Does it help?" in shown
    [line] = [line for line in shown.splitlines() if "could not be written" in line]
    assert "read-only file system" in line
    assert line.endswith("copy the results to a folder that may be written and give it with --results_dir=DIR")
    assert sorted(results.rglob("*")) == before


@pytest.mark.parametrize(("code", "more", "fails"), [
    (errno.EACCES, {}, False), (errno.EROFS, {"pdf": True}, True), (errno.ENOSPC, {}, True)], ids=str)
def test_it_fails_where_files_were_asked_for_or_could_be_written(results, monkeypatch, code, more, fails):
    def refuse(path, content):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("harness.reporting.writing.write_atomic", refuse)
    paths, shown, failed = printed(results, **more)
    assert not paths
    assert "made_up: Does it help?" in shown
    assert bool(failed) == fails
    assert (failed or shown).count("could not be written, the first is ") == 1
    assert os.strerror(code).lower() in (failed or shown)
