"""Files that are whole or absent: written to a temporary name and renamed, read with one line for what is wrong."""

import contextlib
import errno
import functools
import hashlib
import io
import json
import math
import os
import pathlib
import re
import socket
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import IO, Any, BinaryIO

import numpy as np
import psutil

from harness.records.configs import as_json
from harness.records.text import shortened


@functools.cache
def here() -> tuple[str, str]:
    """Names the host, and within what the number of a process means something there.

    That is the machine since its start, since two may have one name, and a namespace: containers have their own.
    """
    boot, namespace = "any start", "any namespace"
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        namespace = str(pathlib.Path("/proc/self/ns/pid").readlink())
    return socket.gethostname(), f"{boot} {namespace}"


def started(pid: int) -> float:
    """Tells when a process started, in seconds that stay the same when a clock is set.

    Raises:
      psutil.NoSuchProcess: if there is none of that number.
    """
    # Linux counts from the machine's start, to which psutil adds when that was by the clock of now. Other systems keep
    # what the clock was when the process started.
    boot = psutil.boot_time() if psutil.LINUX else 0.0
    found: float = psutil.Process(pid).create_time() - boot
    return found


def lives(pid: int, since: float, host: str, namespace: str) -> bool | None:
    """Whether a process lives; None of one elsewhere, of which nothing is known.

    Args:
      since: what `started` told of it: numbers of processes come again, their starts do not.
      namespace: see `here`. Earlier versions named it otherwise, and their processes are as if elsewhere.
    """
    if (host, namespace) != here():
        return None
    try:
        # One that was killed and that nobody has asked for its end has a number still.
        return abs(started(pid) - since) <= 2 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None if _is_hidden(pid) else False
    except psutil.AccessDenied:
        return None


def _is_hidden(pid: int) -> bool:
    """Whether there is a process that only its own user may see."""
    if psutil.POSIX:  # elsewhere the call would end it
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (ProcessLookupError, OverflowError):
            pass
    return False


# Within which the number of a process tells whether it is alive.
_HERE = hashlib.sha256(" ".join(here()).encode()).hexdigest()[:16]
_TEMPORARY = re.compile(r"\..+\.([A-Za-z0-9-]+)\.(\d{1,9})\.tmp")
_ABANDONED_S = 60.0
# The first line of what Git LFS puts in a file's place.
_POINTER = b"version https://git-lfs.github.com/spec/"
_IS_POINTER = "is a Git LFS pointer and not the file itself: run git lfs pull"
_DEEPEST = 50
REMEDY = "move the run's folder away to have it trained again"


Digests = MutableMapping[pathlib.Path, str]


class RecordError(Exception):
    """A record that cannot be read or may not be written; the message is one line."""


class DamagedFileError(RecordError):
    """A file that is there and not whole, or at odds with another.

    Attributes:
      path: the file.
      about: what is wrong with it and what its reader may do, the rest of the sentence.
    """

    def __init__(self, path: pathlib.Path, problem: str, remedy: str = ""):
        self.path, self.about = path, "; ".join(filter(None, (shortened(problem), remedy)))
        super().__init__(path, problem, remedy)  # from which a copy is made in another process

    def __str__(self) -> str:
        return f"{self.path} {self.about}"


class PointerError(ValueError):
    """A file that Git LFS has not fetched; the message is the end of a sentence."""


def in_home(path: str) -> pathlib.Path:
    """Expands a leading ~; before a name that is no user's, it is part of the name.

    Raises:
      FileNotFoundError: in one line, if there is no such home folder, as for services and in containers.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:
        if pathlib.Path(path).parts[0] != "~":
            return pathlib.Path(path)
        raise FileNotFoundError(f"{path}: this user has no home folder; set HOME=DIR, or both XDG_CACHE_HOME=DIR and "
                                "TFDS_DATA_DIR=DIR") from None


def check_writable(folder: pathlib.Path) -> None:
    """Checks that files can be written in a folder, or in the nearest that is there; leaves nothing behind.

    Raises:
      RecordError: if they cannot.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RecordError(f"results cannot be written to {folder} ({existing}: {error.strerror or error}); give a "
                          "folder that may be written with --results_dir=DIR") from None


def write_atomic(path: pathlib.Path, content: bytes, *, replaces: bool = True) -> None:
    """Writes a file as `opened_atomic` does."""
    with opened_atomic(path, replaces=replaces) as file:
        file.write(content)


@contextlib.contextmanager
def opened_atomic(path: pathlib.Path, *, replaces: bool = True) -> Iterator[BinaryIO]:
    """Opens a file to be written bit by bit, so that a crash leaves the old one or the new one, never a part.

    What processes that were killed have left half-written in its folder goes.

    Args:
      replaces: whether it takes the place of one that is there.

    Raises:
      FileExistsError: at the end, if it may not and another process has written one meanwhile.
      OSError: at once, if the file cannot be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():  # a device, which renaming would take away
        raise FileExistsError(errno.EEXIST, "is no plain file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with _opened(temporary, path) as file:
            _clear(path.parent, file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            temporary.replace(path)
        else:
            _put(temporary, path)
        _keep_names(path.parent)
    except OSError as error:
        if error.filename is None:  # a disk that filled up names no file, and where numpy writes not even a reason
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: pathlib.Path) -> pathlib.Path:
    """Names a file of this process's, beside a path, that `clear` removes once the process has ended."""
    return path.with_name(f".{path.name}.{_HERE}.{os.getpid()}.tmp")


# Of file systems where a file has one name.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def _put(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a file its name if no other has it, which creating a link decides, on NFS too."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        if not path.samefile(temporary):  # NFS asks again where an answer is lost
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def clear(folder: pathlib.Path) -> None:
    """Removes what processes that were killed have left half-written in a folder."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:  # nothing goes where none may write
        _clear(folder, file)


def _clear(folder: pathlib.Path, just_made: IO[bytes]) -> None:
    """Removes temporary files of processes that are gone from here, and those that no other machine goes on with.

    Args:
      just_made: a file in the folder, which tells the time as its file system does: clocks of two machines differ.
    """
    now = os.fstat(just_made.fileno()).st_mtime
    for path in folder.glob(".*.tmp"):
        named = _TEMPORARY.fullmatch(path.name)
        if named is None or (named[1] == _HERE and (psutil.pid_exists(pid := int(named[2])) or _is_hidden(pid))):
            continue
        with contextlib.suppress(OSError):  # another process was first
            if named[1] == _HERE or now - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


def _keep_names(folder: pathlib.Path) -> None:
    """Has a folder's entries outlive a power cut, as a file's content does."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some network file systems sync none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an npz file so that a crash leaves the old one or the new one, never a part."""
    with opened_atomic(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _opened(temporary: pathlib.Path, path: pathlib.Path) -> BinaryIO:
    try:
        return open(temporary, "wb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # the name that the user knows


def json_bytes(value: Any) -> bytes:
    """Writes JSON as all files here have it."""
    return (json.dumps(as_json(value), indent=1, allow_nan=False) + "\n").encode()


def content(path: pathlib.Path, digests: Digests | None = None) -> bytes:
    """Reads a file whole.

    Args:
      digests: where to note the sha256 of what was read.

    Raises:
      PointerError: if it is a pointer of Git LFS.
    """
    found = path.read_bytes()
    if digests is not None:
        digests[path] = hashlib.sha256(found).hexdigest()
    if found.startswith(_POINTER):
        raise PointerError(_IS_POINTER)
    return found


def read_arrays(path: pathlib.Path, names: Collection[str] | None = None, digests: Digests | None = None
                ) -> dict[str, np.ndarray]:
    """Reads an npz file.

    Args:
      names: of the arrays to read, as far as they are there; None reads all.
      digests: see `content`.

    Raises:
      OSError, ValueError: in words of one's own, if it is missing or damaged.
    """
    file = io.BytesIO(content(path, digests))
    try:
        # What numpy reads of an archive itself is not held against the archive's checksums.
        with zipfile.ZipFile(file) as archive:
            members = {pathlib.PurePosixPath(member).stem: member for member in archive.namelist()}
            return {name: np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
                    for name, member in members.items() if names is None or name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, TypeError, SyntaxError,
            KeyError, OverflowError, MemoryError) as error:  # a bit has flipped anywhere in it
        raise ValueError(str(error) or type(error).__name__) from None


def refuse_pointer(path: pathlib.Path) -> None:
    """Raises PointerError if a file is a pointer of Git LFS, which stands where the file itself was not fetched."""
    with open(path, "rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise PointerError(_IS_POINTER)


def read_json(path: pathlib.Path, required: Iterable[str], remedy: str = REMEDY, digests: Digests | None = None
              ) -> dict[str, Any]:
    """Reads an object that has the required names, and no number or depth that nothing here ever writes.

    Args:
      remedy: what its reader may do about a damaged file.
      digests: see `content`.

    Raises:
      DamagedFileError: naming the file and what is wrong with it.
    """
    try:
        # An editor may have put a byte order mark before it.
        value = json.loads(content(path, digests).decode("utf-8-sig"), parse_constant=_refuse_number)
        _check_values(value)
    except PointerError as error:
        raise DamagedFileError(path, str(error)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(path, f"cannot be read: {error}", remedy) from None
    if not isinstance(value, dict):
        raise DamagedFileError(path, "is no object", remedy)
    if lacking := [name for name in required if name not in value]:
        raise DamagedFileError(path, f"lacks {', '.join(lacking)}", remedy)
    return value


def _refuse_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON's")


def _check_values(value: Any) -> None:
    """Refuses numbers that became infinite, and depths that functions cannot follow."""
    level, depth = [value], 0
    while level:
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        if any(isinstance(one, float) and not math.isfinite(one) for one in level):
            raise ValueError("it holds a number beyond all that a float can be")
        level = [part for one in level if isinstance(one, dict | list)
                 for part in (one.values() if isinstance(one, dict) else one)]
        depth += 1
