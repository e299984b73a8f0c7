import os
import signal
import subprocess
import sys

import pytest
from place import ROOT

from harness.training import stopping

# One step of the main thread that takes minutes, as compiling does.
BUSY = """
import hashlib, signal, sys
from harness.training import stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
signal.signal(signal.SIGHUP, signal.SIG_IGN if "ignored" in sys.argv else signal.SIG_DFL)
with stopping.on_signal(lambda line: print(line, flush=True)):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.fixture
def busy():
    started = []

    def start(*arguments):
        started.append(subprocess.Popen([sys.executable, "-c", BUSY, *arguments], cwd=ROOT, stdout=subprocess.PIPE,
                                        text=True))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_the_first_signal_is_told_at_once_and_the_second_ends_the_process(busy, number):
    process = busy()
    process.send_signal(number)
    assert process.stdout.readline().startswith("stopping: ")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM


def test_what_was_ignored_still_is(busy):
    """As SIGHUP is under nohup."""
    process = busy("ignored")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline().startswith("stopping: ")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 128 + signal.SIGINT


def test_afterwards_signals_mean_what_they_did():
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    told = []
    with stopping.on_signal(told.append) as received:
        os.kill(os.getpid(), signal.SIGUSR1)
        while not told:
            pass
        assert received == [signal.SIGUSR1]
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
