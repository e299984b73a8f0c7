"""What a worker makes of a job, before it trains."""

import copy
import pathlib

import jax
import pytest

from ablations import lookup
from ablations.spec import SpecError
from harness import records
from harness.executors import worker
from harness.records import configs
from harness.training import cohort
from harness.training.executor import Launch

OWN = """import dataclasses
from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig

@dataclasses.dataclass(frozen=True)
class Mine(MLPConfig):
    pass

ABLATION = Ablation("Why?", RunConfig(dataset="digits", model=Mine(hidden=(4,)), validation_size=200),
                    {"rate": Factor("optimizer.learning_rate", {"low": 0.01, "high": 0.1})})
"""


@pytest.fixture
def job(tmp_path):
    """Is a job of one run of an ablation of the user's own, overridden and with other seeds."""
    worker._loaded.cache_clear()
    (tmp_path / "mine.py").write_text(OWN)
    study = lookup.overridden(lookup.find(str(tmp_path / "mine.py")), {"epochs": 2, "model.hidden": (3,)}, (7, 9))
    runs = study.ablation.runs()
    source = worker.Source(str(tmp_path / "mine.py"), study.overrides, str(tmp_path))
    launch = Launch("Why?", runs, records.Folder(tmp_path, "mine"), wanted=frozenset(run.run_id for run in runs),
                    provenance=records.Provenance(study.origin, study.hashes | {"of_another.py": "0"}))
    yield runs, worker.job(launch, runs[1:2], cohort.partition(runs)[0], source)
    worker._loaded.cache_clear()


def test_a_job_is_names_and_the_worker_expands_the_ablation_as_the_launch_did(job):
    runs, made = job
    assert (made.run_ids, made.seeds, made.launch.planned) == ((runs[1].run_id,), (7, 9), ())
    expanded = worker._expanded(made)
    assert list(expanded) == [run.run_id for run in runs] == list(made.planned)
    for run in runs:
        assert configs.as_json(expanded[run.run_id].config) == configs.as_json(run.config)


@pytest.mark.parametrize(("devices", "set_to"), [(None, None), (2, "cpu")])
def test_a_task_without_gpus_of_its_own_leaves_those_of_its_node_alone(monkeypatch, devices, set_to):
    updated = {}
    monkeypatch.setattr(jax.config, "update", updated.__setitem__)
    assert worker._configured.__wrapped__(devices, 1.0) == (devices or jax.device_count())
    assert updated.get("jax_platforms") == set_to


@pytest.mark.parametrize("edit", [
    ("hidden=(4,)", "hidden=(4,), repeat=2"), ('"low": 0.01', '"lower": 0.01'), ("pass", "def build(self): return 1"),
], ids=["another configuration", "another name", "other code"])
def test_a_file_that_was_edited_after_the_launch_began_is_refused_in_one_line(job, tmp_path, monkeypatch, edit):
    monkeypatch.setattr(worker, "_configured", lambda *asked: 1)  # jax is in use here
    (tmp_path / "mine.py").write_text(OWN.replace(*edit))
    outcome = worker.work(job[1])
    assert isinstance(outcome.error, SpecError)
    assert str(outcome.error) == f"{tmp_path / 'mine.py'} was edited while it trained: give the command again"


def test_an_error_of_the_users_classes_is_told_in_words():
    class MineError(Exception):
        pass

    assert repr(worker._sendable(MineError("no"))) == repr(RuntimeError("MineError: no"))
    known = records.RecordError("no")
    assert worker._sendable(known) is known


def test_a_damaged_file_is_told_with_its_name_by_the_launch_as_well():
    error = records.files.DamagedFileError(pathlib.Path("a/record.json"), "is no object", "move it away")
    there = copy.deepcopy(worker._sendable(error))
    assert (type(there), str(there)) == (type(error), "a/record.json is no object; move it away")
    assert (there.path, there.about) == (error.path, error.about)


def test_an_error_that_cannot_be_made_anew_is_told_in_words(monkeypatch):
    class OwnError(Exception):
        def __init__(self, one, other):
            super().__init__(f"{one} and {other}")

    monkeypatch.setattr(OwnError, "__module__", "harness.training")
    sent = worker._sendable(OwnError("a", "b"))
    assert (type(sent), str(sent)) == (records.RecordError, "a and b")
