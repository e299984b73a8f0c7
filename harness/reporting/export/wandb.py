"""Writes runs as offline runs of Weights & Biases, for `wandb sync` to send one day.

The ablation is the project, the cell the group, each record a run.
"""

import hashlib
import os
import pathlib
import shutil
from collections.abc import Sequence
from unittest import mock

from harness.reporting.export.exported import Exported

_MARK = "harness_record_sha256"  # written last, into a run's folder
_LONGEST_TAG, _LONGEST_PROJECT = 64, 128


def write(runs: Sequence[Exported], target: pathlib.Path) -> int:
    """Writes the runs that are not there yet; one that was broken off or has another record is replaced.

    Returns:
      how many were written.
    """
    there = {path.name.rpartition("-")[2]: path for path in (target / "wandb").glob("offline-run-*")}
    finished: list[tuple[pathlib.Path, str]] = []
    # wandb reads these when it starts: everything it keeps stays in the target, and it reports errors to nobody.
    surroundings = {name: str(target / "wandb" / "own") for name in
                    ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")}
    with mock.patch.dict(os.environ, {**surroundings, "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}):
        try:
            for run in runs:
                key = hashlib.sha256(f"{run.ablation}/{run.run_id}".encode()).hexdigest()[:16]
                if (old := there.get(key)) is not None:
                    if (old / _MARK).exists() and (old / _MARK).read_text() == run.digest:
                        continue
                    shutil.rmtree(old)
                finished.append((_write(run, key, target), run.digest))
        finally:
            if finished:
                import wandb

                wandb.teardown()  # its process still holds the end of what was logged
            for folder, digest in finished:
                (folder / _MARK).write_text(digest)
    return len(finished)


def _project(ablation: str) -> str:
    """Names the project, which may not be as long as an ablation's name may."""
    if len(ablation) <= _LONGEST_PROJECT:
        return ablation
    digest = hashlib.sha256(ablation.encode()).hexdigest()[:8]
    return f"{ablation[:_LONGEST_PROJECT - len(digest) - 1]}-{digest}"


def _write(run: Exported, key: str, target: pathlib.Path) -> pathlib.Path:
    """Writes one run and gives its folder."""
    import wandb  # an extra, and slow to import

    quiet = wandb.Settings(
        mode="offline", silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
        x_disable_stats=True, x_disable_meta=True)
    tags = [run.tags["cell"], f"seed={run.tags['seed']}", run.tags["dataset.name"], run.tags["status"]]
    with wandb.init(project=_project(run.ablation), id=key, name=run.run_id, group=run.tags["cell"], dir=str(target),
                    tags=[tag[:_LONGEST_TAG] for tag in tags], config={**run.tags, **run.parameters},
                    settings=quiet) as opened:
        for row in run.curve.to_dict("records"):
            opened.log({str(name): value for name, value in row.items()}, step=int(row["epoch"]))
        opened.summary.update(run.metrics)
        for path in run.files:
            copy = pathlib.Path(shutil.copy(path, opened.dir))
            opened.save(str(copy), base_path=opened.dir, policy="now")
        return pathlib.Path(opened.dir).parent
