"""What kept a run from being trained, in the form that is recorded."""

import dataclasses
import errno
import traceback
from collections.abc import Sequence
from typing import Literal

import jax

from ablations.spec import SpecError
from harness.records import Folder, RunRecord
from harness.training.programs import is_out_of_memory
from models import plain

_LONGEST = 1000
# Of the machine, not of a run: the next one would fail of it too, and no record could be written.
_MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Tells of an error without holding on to it, and so to the memory of what it broke off.

    Attributes:
      message: one line.
      traceback: as Python prints it.
      place: kind of the error and line of code that raised it; equal where two failures are alike.
    """

    status: Literal["oom", "error"]
    message: str
    traceback: str
    place: tuple[str, str, int]

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Describes an error."""
        # These say all there is to say.
        said = str(error).strip() if isinstance(error, jax.errors.JaxRuntimeError | MemoryError | SpecError) else ""
        innermost = (traceback.extract_tb(error.__traceback__) or [traceback.FrameSummary("", 0, "")])[-1]
        return cls("oom" if is_out_of_memory(error) else "error", (_line(said) or plain.told(error))[:_LONGEST],
                   "".join(traceback.format_exception(error)),
                   (type(error).__qualname__, innermost.filename, innermost.lineno or 0))

    def expected(self) -> "Failure":
        """Tells the same of a run that was not tried."""
        words = " (not tried: two runs of the same program had failed so)"
        return self if self.message.endswith(words) else dataclasses.replace(self, message=self.message + words)


def _line(said: str) -> str:
    """Makes one line of what jax says, which has a whole traceback in it where a program calls Python."""
    before, quoted, after = said.partition("Traceback (most recent call last):")
    return f"{before.strip()} {after.strip().splitlines()[-1]}" if quoted and after.strip() else "".join(
        said.splitlines()[:1])


def is_a_runs_own(error: Exception) -> bool:
    """Whether an error tells of what was trained, and not of the machine: then the next run would fail of it too."""
    return not (isinstance(error, OSError) and error.errno in _MACHINES)


def complaint(known: Sequence[RunRecord], folder: Folder) -> str:
    """Says in one line what went wrong with runs, in whichever launch; empty if none failed and some did not diverge.

    Args:
      known: records of the runs that were asked for.
      folder: where they lie.
    """
    failed = [record for record in known if record.status in ("oom", "error")]
    if failed:
        return (f"{len(failed)} of {len(known)} runs failed, the first with: {failed[0].message}; its traceback is "
                f"beside its record in {folder.path / 'runs'}; train them again with --retry=oom,error")
    if known and all(record.status == "diverged" for record in known):
        return (f"all {len(known)} runs diverged, the first with: {known[0].message}; change what they are trained "
                "with, such as --set=optimizer.learning_rate=0.0001")
    return ""
