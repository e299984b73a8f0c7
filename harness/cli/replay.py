"""Trains a recorded run again and holds it against its record: `harness.run --replay`."""

import contextlib
import tempfile
from collections.abc import Callable

from absl import flags
from rich.console import Console

from harness import cli
from harness.records.files import in_home
from harness.training.replay import Replay, find

# What the record says instead.
_OF_THE_RECORD = ("ablation", "only", "seeds", "set", "layout", "epochs", "precision", "smoke", "until_decided",
                  "retry")
_ELSEWHERE = ("shard", "executor", "distributed")


def replay(path: str, console: Console, carry_out: Callable[[Replay], None]) -> None:
    """Trains a run again, into a temporary folder or the one that the command names, and compares.

    Args:
      path: the run's record.json or folder.
      carry_out: does what the flags say.

    Raises:
      cli.UsageError: if the run does not give the same numbers, saying which differs first; or if it is stopped.
      harness.records.RecordError: if there is nothing to be trained again, or it would be written over.
    """
    chosen = flags.FLAGS
    if given := [name for name in _OF_THE_RECORD if chosen[name].present]:
        raise cli.UsageError(f"--replay takes this from the record: leave out --{' --'.join(given)}")
    if given := [name for name in _ELSEWHERE if chosen[name].present]:
        raise cli.UsageError(f"--replay trains in this process: leave out --{' --'.join(given)}")
    wanted = find(path)
    is_kept = chosen["results_dir"].present
    with contextlib.ExitStack() as kept:
        results_dir = (str(in_home(chosen.results_dir)) if is_kept
                       else kept.enter_context(tempfile.TemporaryDirectory(prefix="harness_replay_")))
        wanted.refuse_recorded(results_dir)
        chosen(["harness.run", *wanted.arguments(), f"--results_dir={results_dir}"])
        try:
            carry_out(wanted)
        except cli.StoppedError:
            if is_kept:
                raise
            raise cli.StoppedError("stopped, and nothing is kept: a replay goes on from where it was stopped if "
                                   "--results_dir=DIR is given") from None
        if chosen.dry_run:
            return
        outcome = wanted.compared(results_dir)
    if not outcome.is_equal:
        raise cli.UsageError(outcome.line)
    console.print(outcome.line, markup=False, highlight=False, soft_wrap=True)
