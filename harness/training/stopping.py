"""Signals that end a launch: the first lets it save what it has, the second ends it at once."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TypeVar

# What a terminal, a cluster's queue and a user send; Windows has the first two alone.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))

# What is over within this time is waited for when the user asks to stop; saving takes what is left of ten seconds.
GRACE_S = 5.0
_LOOK_S = 0.2
Value = TypeVar("Value")


class StoppedError(Exception):
    """The user asked to stop; what of every run in training can be saved is."""


class Calls:
    """Makes calls that may take minutes, as compiling and an epoch do, and gives them up where the user asks to stop.

    A call is made in a thread, which is left to itself when it is given up. Whoever then ends the process must not wait
    for its threads.
    """

    def __init__(self, stop_requested: Callable[[], bool]):
        self._stop_requested = stop_requested
        self._asked_at: float | None = None
        self._thread: futures.ThreadPoolExecutor | None = None

    def made(self, call: Callable[[], Value]) -> Value:
        """Makes a call that changes nothing but what it gives back.

        Raises:
          StoppedError: if the user asked to stop, and the call was not over `GRACE_S` later.
        """
        if self._thread is None:
            self._thread = futures.ThreadPoolExecutor(1, "call")
        called = self._thread.submit(call)
        while not futures.wait([called], _LOOK_S).done:
            if self._asked_at is None and self._stop_requested():
                self._asked_at = time.monotonic()
            if self._asked_at is not None and time.monotonic() - self._asked_at > GRACE_S:
                raise StoppedError
        return called.result()

    def rest(self) -> None:
        """Lets the thread go; the next call gets another."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None


@contextlib.contextmanager
def on_signal(tell: Callable[[str], None]) -> Iterator[list[int]]:
    """Collects the first signal in a list, to be acted on where a state can be saved; the next one ends the process.

    A thread waits for them: Python's own handlers run between two steps of the main thread, and compiling is one step.
    What was to be ignored, as SIGHUP is under nohup, still is.
    """
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    received: list[int] = []
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # as set_wakeup_fd asks for
    listener = threading.Thread(target=_listen, args=(reading, heard, received, tell), daemon=True)
    old = {number: signal.signal(number, _left_to_the_listener) for number in heard}
    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield received
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in old.items():
            signal.signal(number, handler)
        writing.close()
        listener.join()
        reading.close()


def _listen(reading: socket.socket, heard: list[int], received: list[int], tell: Callable[[str], None]) -> None:
    while numbers := reading.recv(16):  # none once the other end is closed
        for number in numbers:
            if number in heard and received:
                _end(number)
            elif number in heard:
                received.append(number)
                tell("stopping: saving, in ten seconds at most; once more stops now (the last checkpoint stays)")


def _left_to_the_listener(number: int, frame: object) -> None:
    """Keeps a signal from doing what it does by default."""


def _end(number: int) -> None:
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the live display hides the cursor
    os._exit(128 + number)
