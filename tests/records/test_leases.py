import errno
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import psutil
import pytest

from harness.records import files, leases
from harness.records.leases import Leases


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "in_training"


def test_a_lease_is_one_holders_alone_until_it_is_given_back(folder):
    with Leases(folder) as one, Leases(folder) as other:
        assert one.take(["a", "b"]) == ["a", "b"]
        assert other.take(["b", "c"]) == ["c"]
        assert one.take(["a"]) == ["a"], "what one has it has"
        one.release("b")
        assert other.take(["b"]) == ["b"]
        assert set(other.others(["a", "b", "c"])) == {"a"}
    assert not folder.exists(), "nothing is left over"


def taken_at_once(folder, barrier, results):
    with Leases(folder) as held:
        barrier.wait()
        results.put(held.take([str(number) for number in range(200)]))
        barrier.wait()


def test_of_processes_that_ask_at_once_one_gets_each_lease(folder):
    # Forked from a child, which has not used jax: its threads do not outlive a fork.
    code = ("import multiprocessing, pathlib, sys; sys.path.insert(0, 'tests/records'); import test_leases\n"
            "context = multiprocessing.get_context('fork')\n"
            "barrier, results = context.Barrier(3), context.Queue()\n"
            "there = [context.Process(target=test_leases.taken_at_once, args=(pathlib.Path(sys.argv[1]), barrier, "
            "results)) for _ in range(3)]\n"
            "[one.start() for one in there]\n"
            "taken = sorted(sum((results.get() for _ in there), []), key=int)\n"
            "[one.join() for one in there]\n"
            "assert taken == [str(number) for number in range(200)], taken\n")
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def dead(folder, name, renewed_s_ago, **changes):
    """Leaves the lease of a process of another host, which was last renewed some time ago."""
    owner = {"host": "elsewhere", "pid": 7, "started": 1.0, "namespace": "", "key": "k"} | changes
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(owner))
    when = (folder / name).stat().st_mtime - renewed_s_ago
    os.utime(folder / name, (when, when))


def test_a_lease_that_is_not_renewed_expires_and_one_that_is_does_not(folder):
    dead(folder, "long ago", leases.EXPIRES_S + 1)
    dead(folder, "just now", leases.EXPIRES_S - 10)
    with Leases(folder, renewed_s=0.05) as held:
        assert held.take(["long ago", "just now"]) == []
        assert list(held.until_known(["long ago"])) == []
        assert held.take(["long ago", "just now"]) == ["long ago"]
        assert held.others(["just now"])["just now"][0].host == "elsewhere"


def test_a_lease_that_is_old_and_renewed_again_stays_its_owners(folder):
    """As after an outage of the file system or a sleep, when all leases are old."""
    for name in "ab":
        dead(folder, name, leases.EXPIRES_S + 1)
    with Leases(folder, renewed_s=0.2) as held:
        assert held.take("ab") == []
        os.utime(folder / "a")
        time.sleep(0.5)
        assert held.take("ab") == ["b"]


def test_a_lease_that_another_has_taken_over_is_its_own_no_longer(folder):
    with Leases(folder, renewed_s=0.05) as held:
        held.take(["a"])
        dead(folder, "a", 0)
        when = time.monotonic() + 20
        while held.take(["a"]) and time.monotonic() < when:
            time.sleep(0.05)
        assert held.take(["a"]) == []
    assert json.loads((folder / "a").read_text())["host"] == "elsewhere"


def test_leases_may_be_entered_while_others_leave(folder, monkeypatch):
    mkdir, left = pathlib.Path.mkdir, [True, True]

    def made(path, *arguments, **more):
        mkdir(path, *arguments, **more)
        if path == folder and left and left.pop():
            path.rmdir()

    monkeypatch.setattr(pathlib.Path, "mkdir", made)
    with Leases(folder) as held:
        assert held.take(["a"]) == ["a"]
    assert not left


def test_leases_whose_clock_others_have_taken_for_left_over_go_on(folder):
    with Leases(folder, renewed_s=60) as held:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert held.take(["a"]) == ["a"]
    assert not folder.exists()


def test_a_clock_does_not_stand_still(folder):
    with Leases(folder, renewed_s=0.05):
        [clock] = folder.iterdir()
        at, until = clock.stat().st_mtime_ns, time.monotonic() + 10
        while clock.stat().st_mtime_ns == at:
            assert time.monotonic() < until, "others would take it for left over"
            time.sleep(0.02)


def test_a_process_that_only_its_user_may_see_is_not_taken_for_ended(folder, monkeypatch):
    def hidden(pid):
        raise psutil.NoSuchProcess(pid)

    def kill(pid, number):
        raise (PermissionError if pid == 7 else ProcessLookupError)

    host, namespace = leases.here()
    monkeypatch.setattr(files, "started", hidden)
    monkeypatch.setattr(os, "kill", kill)
    assert leases.Owner(host, 7, 1.0, namespace, "").lives() is None
    assert leases.Owner(host, 8, 1.0, namespace, "").lives() is False
    monkeypatch.setattr(files, "started", lambda pid: (_ for _ in ()).throw(psutil.AccessDenied(pid)))
    assert leases.Owner(host, 8, 1.0, namespace, "").lives() is None


def test_a_lease_of_a_process_here_that_has_ended_is_free_at_once(folder):
    host, namespace = leases.here()
    dead(folder, "a", 0, host=host, namespace=namespace, pid=2**22 + 7)
    dead(folder, "b", 0, host=host, namespace=namespace, pid=os.getpid())  # a number that has come again
    dead(folder, "c", 0, host=host, namespace="of a container", pid=2**22 + 7)
    with Leases(folder) as held:
        assert held.take(["a", "b", "c"]) == ["a", "b"]


def test_a_lease_of_a_process_here_that_lives_and_cannot_renew_it_stays_its(folder):
    """As one that was suspended; the other is of another process, which the same silence tells to be gone."""
    with Leases(folder, renewed_s=60) as one, Leases(folder, renewed_s=0.05) as other:
        one.take(["a"])
        dead(folder, "b", 0)
        for name in "ab":
            when = (folder / name).stat().st_mtime - leases.EXPIRES_S - 1
            os.utime(folder / name, (when, when))
        assert list(leases.held_by_others(folder, "ab")) == ["a"]
        assert other.take("ab") == []
        other.until_known("b")
        assert other.take("ab") == ["b"]


def test_a_process_here_that_was_killed_and_not_asked_for_its_end_holds_nothing(folder):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child, Leases(folder) as held:
        host, namespace = leases.here()
        dead(folder, "a", 0, host=host, namespace=namespace, pid=child.pid, started=files.started(child.pid))
        assert held.take(["a"]) == []
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert held.take(["a"]) == ["a"]


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere the system keeps by which clock a process was started")
def test_a_clock_that_is_set_ends_no_process(folder, monkeypatch):
    """The time since 1970 of both the machine's start and the process's is told by the clock as it is now."""
    boot_time, create_time = psutil.boot_time, psutil.Process.create_time
    with Leases(folder) as one, Leases(folder) as other:
        one.take(["a"])
        monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + 3600)
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 3600)
        assert other.take(["a"]) == []


@pytest.mark.skipif(not pathlib.Path("/proc/sys/kernel/random/boot_id").exists(), reason="machines have no such number")
def test_machines_of_one_name_are_told_apart():
    assert pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip() in leases.here()[1]


@pytest.mark.parametrize("namespace", ["", "pid:[4026531836]"])
def test_of_an_owner_that_an_earlier_version_named_its_age_alone_tells(folder, namespace):
    host, pid = leases.here()[0], 2**22 + 7
    for name, renewed_s_ago in (("old", leases.EXPIRES_S + 1), ("young", 0)):
        dead(folder, name, renewed_s_ago, host=host, namespace=namespace, pid=pid, started=1_790_000_000.0)
    with Leases(folder, renewed_s=0.05) as held:
        held.take(["old"])
        held.until_known(["old"])
        assert held.take(["old", "young"]) == ["old"]


def test_a_lease_that_cannot_be_written_is_nobodys_and_those_taken_before_are_given_back(folder, monkeypatch):
    opened = os.fdopen

    def full(descriptor, mode):
        if len(list(folder.glob("[!.]*"))) == 1:
            return opened(descriptor, mode)
        os.close(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    with Leases(folder) as other:
        with Leases(folder) as held:
            monkeypatch.setattr(leases.os, "fdopen", full)
            with pytest.raises(OSError, match="No space left") as caught:
                held.take(["a", "b"])
            assert caught.value.filename == str(folder / "b")
            monkeypatch.undo()
            assert other.take(["a"]) == ["a"]
        assert other.take(["a", "b"]) == ["a", "b"]


def test_holding_renews_and_waiting_ends_once_that_is_seen(folder):
    with Leases(folder, renewed_s=0.05) as one, Leases(folder, expires_s=0.5, renewed_s=0.05) as other:
        one.take(["a"])
        taken_at, until = (folder / "a").stat().st_mtime_ns, time.monotonic() + 10
        while (folder / "a").stat().st_mtime_ns == taken_at:
            assert time.monotonic() < until, "never renewed"
            time.sleep(0.02)
        dead(folder, "b", 0.2)
        known = other.until_known(["a", "b"])
        assert {name: owner.pid for name, owner in known.items()} == {"a": os.getpid()}
        assert other.take(["a", "b"]) == ["b"]


def test_waiting_ends_once_another_host_is_seen_to_renew(folder):
    dead(folder, "c", 0)
    renewing, until = threading.Timer(0.2, lambda: os.utime(folder / "c")), time.monotonic() + 20
    with Leases(folder, expires_s=60, renewed_s=0.05) as held:
        renewing.start()
        known = held.until_known(["c"], stopped=lambda: not renewing.is_alive() and time.monotonic() > until)
    assert {name: owner.host for name, owner in known.items()} == {"c": "elsewhere"}


def test_what_another_has_put_in_a_leases_place_is_put_back(folder):
    dead(folder, "a", 0)
    read = leases._read(folder / "a")
    dead(folder, "a", 0, key="another")
    assert not leases._removed(folder / "a", read)
    assert json.loads((folder / "a").read_text())["key"] == "another"


def test_a_lock_that_passes_from_one_to_another_is_not_taken_for_forgotten(tmp_path, monkeypatch):
    """Each holds it for less than a forgotten one is waited for, all together for longer."""
    path, removed = tmp_path / ".plan.lock", []
    monkeypatch.setattr(leases, "_FORGOTTEN_S", 1.5)
    monkeypatch.setattr(leases, "_removed", lambda path, held: removed.append(held))
    path.write_text("a")

    def passes_on():
        for text in "bcd":
            time.sleep(0.6)
            path.write_text(text)
        path.unlink()

    thread = threading.Thread(target=passes_on)
    thread.start()
    with leases.exclusively(path):
        pass
    thread.join()
    assert removed == []


def test_a_lock_that_a_process_here_holds_is_waited_for(tmp_path, monkeypatch):
    """As one that was suspended, or reads a folder of very many runs."""
    path = tmp_path / ".plan.lock"
    monkeypatch.setattr(leases, "_FORGOTTEN_S", 0.1)
    path.write_text(leases._signed())
    threading.Timer(0.5, path.unlink).start()
    since = time.monotonic()
    with leases.exclusively(path):
        assert time.monotonic() - since > 0.4


def test_only_the_own_lock_is_given_back(tmp_path):
    path = tmp_path / ".plan.lock"
    with leases.exclusively(path):
        path.write_text("of another, which took this one for forgotten")
    assert path.exists()


def test_who_trains_what_is_said_in_one_line():
    one, other = (leases.Owner(host, 7, 0.0, "", "") for host in ("here", "there"))
    assert leases.told({"a": one, "b": one}, 17) == "2 runs are being trained by here:7, 17 are left"
    assert leases.told({"a": one, "b": other}, 1) == (
        "1 run is being trained by here:7, 1 run is being trained by there:7, 1 is left")


def test_a_file_is_changed_by_one_process_at_a_time_even_after_one_was_killed(tmp_path):
    path = tmp_path / ".plan.lock"
    host, namespace = leases.here()
    dead(tmp_path, path.name, 0, host=host, namespace=namespace, pid=2**22 + 7)
    with leases.exclusively(path):
        assert not leases._created(path, "another")
    assert not path.exists()
