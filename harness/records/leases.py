"""Leases on runs: which process trains which of a folder's runs, so that any number of launches may share the folder.

A lease is a file that one process alone can create, on NFS too. Its owner renews it while it lives; one that is not
renewed has expired and may be taken over. All times are the file system's own, so that no two clocks are compared.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

from harness.records.configs import as_json
from harness.records.files import here, lives, started, temporary_beside

# Attributes that NFS keeps in a client's memory may be a minute old.
EXPIRES_S, RENEWED_S = 150.0, 15.0
_SETTLED_S = 0.2
# A file of `exclusively` is held for milliseconds.
_FORGOTTEN_S = 30.0
_TRIES = 10


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that holds a lease.

    Attributes:
      started: see `files.started`; numbers of processes come again.
      namespace: within which its number means something; see `files.here`.
      key: of one set of leases.
    """

    host: str
    pid: int
    started: float
    namespace: str
    key: str

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def lives(self) -> bool | None:
        """Whether the process lives; None of one elsewhere, of which nothing is known."""
        return lives(self.pid, self.started, self.host, self.namespace)


UNKNOWN = Owner("unknown", 0, 0.0, "", "")


@dataclasses.dataclass(frozen=True)
class _Held:
    """What was read of a lease: its content, and when it was last renewed, by the file system's clock."""

    text: str
    renewed: float

    @property
    def owner(self) -> Owner:
        try:
            return Owner(**json.loads(self.text))
        except (ValueError, TypeError):  # it is being written
            return UNKNOWN

    def is_over(self, now: float, expires_s: float) -> bool:
        """Whether its owner is gone: of one that is seen to live, as where it is suspended, silence tells nothing."""
        alive = self.owner.lives()
        return now - self.renewed > expires_s if alive is None else not alive


class Leases:
    """The leases of this process in one folder, renewed by a thread while the context is entered."""

    def __init__(self, folder: pathlib.Path, expires_s: float = EXPIRES_S, renewed_s: float = RENEWED_S):
        self._folder, self._expires_s, self._renewed_s = folder, expires_s, renewed_s
        self._text = _signed()
        self._clock = temporary_beside(folder / f"{uuid.uuid4().hex}.clock")
        self._mine: set[str] = set()
        self._silent: dict[str, tuple[_Held, float]] = {}  # since when, by this process's own clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, daemon=True)

    def __enter__(self) -> Self:
        self._now()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        for name in tuple(self._mine):
            self.release(name)
        self._clock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' are in it
            self._folder.rmdir()

    def take(self, names: Iterable[str]) -> list[str]:
        """Takes those leases that nobody holds, or whose owner is gone.

        Returns:
          the names of all that are this process's now, those it had before included.
        """
        had, taken, taken_over, now = set(self._mine), list[str](), False, self._now()
        try:
            for name in names:
                path = self._folder / name
                if name not in had and not _created(path, self._text):
                    if not (self._may_take_over(name, now) and _created(path, self._text)):
                        continue
                    taken_over = True
                taken.append(name)
                self._mine.add(name)
        except OSError:  # as on a full disk; what was taken over is not known to be this process's yet
            for name in self._mine - had:
                self.release(name)
            raise
        if taken_over:  # another may have meant to remove the one that was there before
            time.sleep(_SETTLED_S)
            self._mine -= {name for name in taken if not self._is_mine(name)}
        return [name for name in taken if name in self._mine]

    def release(self, name: str) -> None:
        """Gives a lease back."""
        if self._is_mine(name):
            (self._folder / name).unlink(missing_ok=True)
        self._mine.discard(name)

    def others(self, names: Iterable[str]) -> dict[str, tuple[Owner, float]]:
        """Finds the leases that other processes hold, those that have expired left out.

        Returns:
          name -> owner, and when it was last renewed, by the file system's clock.
        """
        now, found = self._now(), {}
        for name in names:
            held = None if name in self._mine else _read(self._folder / name)
            if held is not None and not self._is_over(name, held, now):
                found[name] = held.owner, held.renewed
        return found

    def until_known(self, names: Iterable[str], stopped: Callable[[], bool] = bool) -> dict[str, Owner]:
        """Waits until each lease of another process is seen to be renewed, or is over.

        Args:
          stopped: whether not to wait any longer; asked each second.

        Returns:
          name -> owner, of those that are held by processes that live, as far as is known.
        """
        first = self.others(names)
        while True:
            there = self.others(first)
            known = {name: owner for name, (owner, renewed) in there.items()
                     if owner.lives() or renewed > first[name][1]}
            if len(known) == len(there) or stopped():
                return known
            time.sleep(min(1.0, self._renewed_s))

    def _may_take_over(self, name: str, now: float) -> bool:
        """Removes a lease whose owner is gone; whether there is none now."""
        path = self._folder / name
        held = _read(path)
        return held is None or (self._is_over(name, held, now) and _removed(path, held))

    def _is_over(self, name: str, held: _Held, now: float) -> bool:
        """Whether its owner is gone, of which age alone is no sign: all are old after an outage or a sleep.

        One that is too old has also to be seen to stay so, for as long as its owner may take to renew it.
        """
        if not held.is_over(now, self._expires_s):
            self._silent.pop(name, None)
            return False
        if held.owner.lives() is False:
            return True
        seen, since = self._silent.get(name, (None, 0.0))
        if seen != held:
            since = time.monotonic()
            self._silent[name] = held, since
        return time.monotonic() - since > 2 * self._renewed_s

    def _is_mine(self, name: str) -> bool:
        held = _read(self._folder / name)
        return held is not None and held.text == self._text

    def _now(self) -> float:
        """Tells the time as the file system does."""
        left = _TRIES
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                self._clock.touch()
                return self._clock.stat().st_mtime
            except FileNotFoundError:  # another, which was the last there or took this one for gone, has removed it
                left -= 1
                if not left:
                    raise

    def _keep_renewing(self) -> None:
        while not self._ended.wait(self._renewed_s):
            with contextlib.suppress(OSError):  # others take a clock that stands still for left over
                os.utime(self._clock)
            for name in tuple(self._mine):
                with contextlib.suppress(OSError):  # a file system that is away comes back, or training fails of it
                    if self._is_mine(name):
                        os.utime(self._folder / name)
                    else:
                        self._mine.discard(name)


def held_by_others(folder: pathlib.Path, names: Iterable[str]) -> dict[str, Owner]:
    """Finds the leases that processes hold which live, as far as can be told without leaving anything behind."""
    found = {}
    for name in names:
        held = _read(folder / name)
        if held is not None and not held.is_over(time.time(), EXPIRES_S):
            found[name] = held.owner
    return found


def clear(folder: pathlib.Path) -> None:
    """Removes the leases of processes of this host that have ended, and the folder where there are no others."""
    for path in folder.glob("[!.]*"):
        if (held := _read(path)) and held.owner.lives() is False:
            _removed(path, held)
    with contextlib.suppress(OSError):  # others' are in it
        folder.rmdir()


def told(owners: Mapping[str, Owner], left: int) -> str:
    """Says who trains how many runs, and how many are left."""
    counts = Counter(map(str, owners.values()))
    trained = ", ".join(f"{number} run{'s are' if number > 1 else ' is'} being trained by {owner}"
                        for owner, number in counts.items())
    return f"{trained}, {left} {'is' if left == 1 else 'are'} left"


@contextlib.contextmanager
def exclusively(path: pathlib.Path) -> Iterator[None]:
    """Keeps all other processes out, on NFS too, while a file is read, changed and written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text, seen, since = _signed(), "", time.monotonic()
    while not _created(path, text):
        held = _read(path)
        if held and held.text != seen:  # it has passed to another meanwhile
            seen, since = held.text, time.monotonic()
        alive = held.owner.lives() if held else True
        if held and (alive is False or (alive is None and time.monotonic() - since > _FORGOTTEN_S)):
            _removed(path, held)
        time.sleep(0.01)
    try:
        yield
    finally:
        if (mine := _read(path)) and mine.text == text:
            path.unlink(missing_ok=True)


def _signed() -> str:
    host, namespace = here()
    return json.dumps(as_json(Owner(host, os.getpid(), started(os.getpid()), namespace, uuid.uuid4().hex)))


def _created(path: pathlib.Path, text: str) -> bool:
    """Creates a file, unless another process has; one that cannot be written, as on a full disk, keeps nobody off."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk names no file
    return True


def _read(path: pathlib.Path) -> _Held | None:
    """Reads a lease; opening it has NFS ask the server for its time."""
    try:
        with open(path) as file:
            return _Held(file.read(), os.fstat(file.fileno()).st_mtime)
    except FileNotFoundError:
        return None


def _removed(path: pathlib.Path, held: _Held) -> bool:
    """Removes a lease as it was read; one that another process has put in its place is put back."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    found = _read(aside)
    aside.unlink()
    if found is None or found.text == held.text:
        return True
    _created(path, found.text)
    return False
