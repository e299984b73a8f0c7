"""Writes what can be written, and says in one line what could not be."""

import errno
import pathlib

from harness.records import write_atomic

# What a folder that belongs to others, or a disk for reading alone, answers.
_REFUSALS = (errno.EROFS, errno.EACCES, errno.EPERM)


class Writer:
    """Writes files and remembers those that could not be written.

    Attributes:
      failed: path -> why.
    """

    def __init__(self) -> None:
        self.failed: dict[pathlib.Path, OSError] = {}

    def write(self, path: pathlib.Path, content: bytes) -> bool:
        """Writes a file, or removes it where it has no content; says whether there is now a file of that content."""
        try:
            if content.strip():
                write_atomic(path, content)
                return True
            path.unlink(missing_ok=True)
        except OSError as error:
            self.failed[path] = error
        return False

    @property
    def is_refused(self) -> bool:
        """Whether nothing else went wrong than that files may not be written there."""
        return all(error.errno in _REFUSALS for error in self.failed.values())

    def line(self) -> str:
        """Says what could not be written and how to have it; nothing where all was."""
        if not self.failed:
            return ""
        path, error = next(iter(self.failed.items()))
        number = len(self.failed)
        return (f"{number} file{'s' * (number > 1)} could not be written, the first is {path}: "
                f"{(error.strerror or str(error)).lower()}; to have {'it' if number == 1 else 'them'}, copy the "
                "results to a folder that may be written and give it with --results_dir=DIR")
