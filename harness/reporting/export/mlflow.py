"""Writes runs into an MLflow store of its own: an SQLite file and a folder of artifacts.

The ablation is the experiment, each record a run.
"""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

from harness.reporting.export.exported import Exported

_RUN, _DIGEST = "harness.run_id", "harness.record_sha256"
_NOT_IN_NAMES = re.compile(r"[^/\w.\- :]")  # Source: mlflow/utils/validation.py
_MOST_PARAMETERS, _MOST_METRICS = 100, 1000  # in one call; Source: mlflow/utils/validation.py


def write(runs: Sequence[Exported], target: pathlib.Path) -> int:
    """Writes the runs that are not in the store yet; one that was broken off or has another record is replaced.

    Returns:
      how many were written.
    """
    from mlflow import MlflowClient  # an extra, and slow to import

    client = MlflowClient(tracking_uri=f"sqlite:///{target / 'mlflow.db'}")
    experiments = {name: _experiment(client, name, target) for name in {run.ablation: None for run in runs}}
    there = {(name, run.data.tags[_RUN]): run for name, experiment in experiments.items()
             for run in _stored(client, experiment)}
    written = 0
    for run in runs:
        if (old := there.get((run.ablation, run.run_id))) is not None:
            if old.info.status != "RUNNING" and old.data.tags[_DIGEST] == run.digest:
                continue
            client.delete_run(old.info.run_id)
        _write(client, experiments[run.ablation], run)
        written += 1
    return written


def _experiment(client: Any, name: str, target: pathlib.Path) -> str:
    if (experiment := client.get_experiment_by_name(name)) is not None:
        return experiment.experiment_id
    return client.create_experiment(name, (target / "artifacts" / name).as_uri())


def _stored(client: Any, experiment: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        found += [run for run in page if _RUN in run.data.tags]
        if not (token := page.token):
            return found


def _write(client: Any, experiment: str, run: Exported) -> None:
    from mlflow.entities import Metric, Param

    tags = {**run.tags, _RUN: run.run_id, _DIGEST: run.digest}
    started, finished = (round(1000 * seconds) for seconds in (run.started_s, run.finished_s))
    number = client.create_run(experiment, start_time=started, tags=tags, run_name=run.run_id).info.run_id
    parameters = [Param(_NOT_IN_NAMES.sub("_", name), str(value)) for name, value in run.parameters.items()]
    # Only the order of epochs is recorded, so they get the time of the record.
    metrics = [Metric(name, float(value), finished, int(row["epoch"])) for row in run.curve.to_dict("records")
               for name, value in row.items() if name != "epoch" and value == value]
    metrics += [Metric(name, value, finished, 0) for name, value in run.metrics.items()]
    for start in range(0, len(parameters), _MOST_PARAMETERS):
        client.log_batch(number, params=parameters[start:start + _MOST_PARAMETERS])
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(number, metrics=metrics[start:start + _MOST_METRICS])
    for path in run.files:
        client.log_artifact(number, str(path))
    client.set_terminated(number, "FINISHED" if run.done else "FAILED", finished)  # last: the run is whole
