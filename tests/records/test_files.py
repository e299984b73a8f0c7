import codecs
import contextlib
import errno
import os
import pathlib
import stat
import subprocess
import sys
import time

import pytest
from place import ROOT

from harness.data import cache
from harness.records import RecordError, files, leftovers, write_atomic
from harness.records.files import check_writable, in_home, read_arrays, read_json
from harness.records.leases import Leases


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder, as services have."""
    monkeypatch.delenv("HOME", raising=False)

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_the_mend_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^~: this user has no home folder; set HOME=DIR, or both"):
        cache.folder("datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder("datasets") == tmp_path / "image_ablation_harness" / "datasets"
    assert in_home("data") == pathlib.Path("data")


def test_looking_whether_a_folder_may_be_written_leaves_nothing(tmp_path):
    check_writable(tmp_path / "results" / "mine")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_may_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="give a folder that may be written with --results_dir=DIR"):
        check_writable(tmp_path / "file" / "mine")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_half_written_goes_with_the_next_write_there(tmp_path, ended):
    here, old = files._HERE, time.time() - 61
    goes = (f".record.json.{here}.{ended}.tmp", f".record.json.another.{ended}.tmp",
            f".predictions.npz.another.{os.getpid()}.tmp", f".plan.json.{ended}.tmp")
    stays = (f".a.{here}.{os.getpid()}.tmp", ".notes.tmp", f".{ended}.tmp", "kept.tmp")
    for name in goes + stays:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (old, old))
    (tmp_path / f".b.{here}.{ended}.tmp").write_text("")
    young = tmp_path / f".curve.csv.another.{ended}.tmp"  # which may be writing it
    young.write_text("")
    write_atomic(tmp_path / "record.json", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", *stays, young.name}


def test_what_another_machine_writes_stays_however_far_the_clock_here_is_ahead(tmp_path, ended, monkeypatch):
    (tmp_path / f".record.json.another.{ended}.tmp").write_text("")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    write_atomic(tmp_path / "plan.json", b"new")
    leftovers.remove(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_launch_left_goes_with_the_next_one(tmp_path, ended):
    recorded, under_way = tmp_path / "runs" / "a", tmp_path / "runs" / "b"
    for folder in (recorded, under_way):
        (folder / "checkpoints" / "1").mkdir(parents=True)
        (folder / f".curve.csv.{files._HERE}.{ended}.tmp").write_text("")
    (recorded / "record.json").write_text("{}")
    leftovers.remove(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        "runs", "runs/a", "runs/a/record.json", "runs/b", "runs/b/checkpoints", "runs/b/checkpoints/1"}


def test_leases_that_a_killed_launch_left_go_with_the_next_one_and_no_others(tmp_path):
    code = ("import pathlib, sys; from harness.records.leases import Leases\n"
            "with Leases(pathlib.Path(sys.argv[1])) as held:\n"
            "    held.take(['recorded', 'open'])\n"
            "    print(flush=True)\n"
            "    input()\n")
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "in_training"], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        leftovers.remove(tmp_path)
        assert len(list((tmp_path / "in_training").iterdir())) == 3, "a process that lives keeps all of its own"
        process.kill()
    with Leases(tmp_path / "in_training") as held:
        held.take(["mine"])
        leftovers.remove(tmp_path)
        assert [path.name for path in (tmp_path / "in_training").glob("[!.]*")] == ["mine"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_then_its_name_are_on_the_disk_when_it_is_written(tmp_path, monkeypatch):
    synced, renamed = [], pathlib.Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: synced.append(
        "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"))
    monkeypatch.setattr(pathlib.Path, "replace", lambda path, target: (synced.append("rename"), renamed(path, target)))
    write_atomic(tmp_path / "record.json", b"new")
    assert synced == ["file", "rename", "folder"]


def test_a_disk_that_fills_up_is_told_with_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(tmp_path / "record.json", b"new")
    assert caught.value.filename == str(tmp_path / "record.json")
    assert list(tmp_path.iterdir()) == []


def test_a_byte_order_mark_that_an_editor_put_before_json_is_no_fault(tmp_path):
    (tmp_path / "plan.json").write_bytes(codecs.BOM_UTF8 + '{"question": "Größe?"}'.encode())
    assert read_json(tmp_path / "plan.json", ("question",)) == {"question": "Größe?"}


def test_a_pointer_of_git_lfs_is_told_as_one(tmp_path):
    for name in ("record.json", "predictions.npz"):
        (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(RecordError, match=r"record\.json is a Git LFS pointer .*: run git lfs pull$"):
        read_json(tmp_path / "record.json", ())
    with pytest.raises(ValueError, match=r"is a Git LFS pointer .*: run git lfs pull$"):
        read_arrays(tmp_path / "predictions.npz")


# Forked, since importing takes a second: each child writes the same run, and is killed during another of its writes.
KILLED = """
import contextlib, os, signal, sys
import numpy, pandas
from harness.records import Folder, files

folder, whole = Folder(sys.argv[1], "a"), files.opened_atomic

def write(last):
    @contextlib.contextmanager
    def opened(path, **more):
        writes.append(path)
        with whole(path, **more) as file:
            yield file
            if len(writes) == last:
                file.flush()
                file.truncate(file.tell() // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        if len(writes) == last - 1 and path.name == "record.json":
            os.kill(os.getpid(), signal.SIGKILL)
    writes, files.opened_atomic = [], opened
    (folder.checkpoints("r") / "1").mkdir(parents=True, exist_ok=True)
    predictions = {"label": numpy.arange(1000)}
    folder.write("r", {"a": "record"}, pandas.DataFrame({"epoch": range(1000)}), predictions, predictions,
                 {"model.safetensors": bytes(1000), "config.json": bytes(1000)})

for last in range(1, 8):
    if (pid := os.fork()) == 0:
        write(last)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    print(sorted(path.name for path in folder.run("r").iterdir() if path.suffix != ".tmp"))
"""


def test_a_run_that_is_killed_at_any_of_its_writes_is_unrecorded_or_whole(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                            check=True)
    parts = ["curve.csv", "predictions.npz", "exhibits.npz", "model.safetensors", "config.json", "record.json"]
    assert killed.stdout.splitlines() == [str(sorted(["checkpoints", *parts[:number]])) for number in range(7)]
    leftovers.remove(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a" / "runs" / "r").iterdir()) == sorted(parts)


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_may_replace_none_leaves_one_that_was_written_meanwhile(tmp_path, monkeypatch, has_links):
    if not has_links:
        def refused(path, target):
            raise PermissionError(1, "Operation not permitted", str(path))

        monkeypatch.setattr(pathlib.Path, "hardlink_to", refused)
    path = tmp_path / "record.json"
    write_atomic(path, b"first", replaces=False)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"second", replaces=False)
    with contextlib.suppress(FileExistsError), files.opened_atomic(tmp_path / "other", replaces=False) as file:
        (tmp_path / "other").write_bytes(b"first")
        file.write(b"second")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"record.json": b"first", "other": b"first"}


def test_a_link_that_is_there_already_is_ones_own_and_an_error_is_no_reason_to_replace(tmp_path, monkeypatch):
    """As of NFS, which asks again where an answer was lost; and where a disk fails."""
    link = pathlib.Path.hardlink_to

    def twice(path, target):
        link(path, target)
        link(path, target)

    monkeypatch.setattr(pathlib.Path, "hardlink_to", twice)
    write_atomic(tmp_path / "record.json", b"mine", replaces=False)
    assert (tmp_path / "record.json").read_bytes() == b"mine"

    def failing(path, target):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(pathlib.Path, "hardlink_to", failing)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomic(tmp_path / "other.json", b"mine", replaces=False)
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize("name", ["~nobody-of-that-name", "~nobody-of-that-name/results"])
def test_a_name_that_is_no_users_is_a_folders(name):
    assert in_home(name) == pathlib.Path(name)
