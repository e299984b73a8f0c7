"""The commands that train a run again."""

import ast
import contextlib
import re
import shlex
from typing import Any

from harness.records.record import RunRecord

_RESULTS = "again"
# Of data that somebody put there, so that a command must say where.
_FILES = ("archives", "prepared")


def commands(run_id: str, record: RunRecord) -> list[str]:
    """Writes the commands that train one run again by its own code, into a folder where it has no record yet."""
    flags = [*arguments(run_id, record), f"--results_dir={_RESULTS}", *(f"--{flag}=DIR" for flag in folders(record))]
    commit = record.environment.git_commit or ""
    return [*([f"git checkout {commit}"] if re.fullmatch("[0-9a-f]{7,64}", commit) else []),
            " ".join(["python -m harness.run", *map(shlex.quote, flags)])]


def arguments(run_id: str, record: RunRecord, origin: str | None = None) -> list[str]:
    """Lists the flags that say which run it is, and how it lay on the devices when it began.

    Args:
      origin: the ablation's file, if it lies elsewhere than the record says.
    """
    return [*of_ablation(record, origin), f"--seeds={record.seed}", f"--only={run_id}",
            *(f"--layout={layout}" for layout in (record.placement.layouts if record.placement else ())[:1])]


def of_ablation(record: RunRecord, origin: str | None = None) -> list[str]:
    """Lists the flags that say which ablation it is, with what a command changed of it; see `arguments`."""
    name, *named = record.ablation.split(",")  # records from before there was a field of it have overrides here alone
    settings = [f"{path}={_typed(value)}" for path, value in record.overrides.items()] or named
    return [f"--ablation={origin or record.origin or name}", *(f"--set={setting}" for setting in settings)]


def folders(record: RunRecord) -> list[str]:
    """Lists the flags that name folders which only the reader can know."""
    return [*(["data_dir"] if record.dataset.source in _FILES else []),
            *(["weights_dir"] if record.backbone and not record.backbone.weights_official else [])]


def _tuples(value: Any) -> Any:
    """Gives JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _typed(value: Any) -> str:
    """Writes a value as `--set` reads it: as Python has it, text without quotes where it can be nothing else."""
    if isinstance(value, list | tuple):
        inner = [repr(_tuples(one)) for one in value]
        return ",".join(inner) + ("," if len(value) == 1 else "") if value else "()"
    if isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            ast.literal_eval(value)
            return repr(value)
        return value
    return repr(value)
