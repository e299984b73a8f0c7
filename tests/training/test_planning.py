"""What is recorded is held against the user's code as it is."""

import types

import pytest

from ablations import lookup, own_code
from harness.training import planning

STUDY = """import dataclasses

from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig


@dataclasses.dataclass(frozen=True)
class Own(MLPConfig):
    pass


ABLATION = Ablation("Why?", RunConfig(dataset="digits"), {"net": Factor("model", {"ours": MLPConfig(), "own": Own()})})
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "study.py").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    yield lookup.find("study.py")
    own_code.leave()


def told(study, sources):
    records = types.SimpleNamespace(path="results/study", record=lambda run_id: types.SimpleNamespace(sources=sources))
    runs = study.runs()
    assert planning.edited(study, runs, {run.run_id for run in runs}, records) == "", "they are trained now"
    return planning.edited(study, runs, (), records)


def test_runs_whose_code_has_changed_since_are_told(study):
    assert told(study, study.hashes) == ""
    assert told(study, {"another.py": "0" * 64}) == "", "of a file that is no longer there nothing is known"
    line = told(study, {"study.py": "0" * 64})
    assert line.startswith("warning: 3 recorded runs were trained with another study.py: what is recorded stays")
    assert line.endswith("give another --results_dir, or move results/study away")
