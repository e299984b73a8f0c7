"""What is recorded is held against the user's code as it is."""

import types

import numpy as np
import pytest

from ablations import lookup, own_code
from ablations.spec import Ablation, RunConfig
from harness import data
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


def test_runs_whose_pictures_have_changed_since_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8), np.arange(40) % 2
    test = {"x_test": images[:8], "y_test": labels[:8]}
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, **test)
    config = RunConfig(dataset=f"npz:{tmp_path / 'own.npz'}", validation_size=4)
    facts = data.load(config.dataset, None, validation_size=4, tell=lambda line: None)
    record = types.SimpleNamespace(dataset=facts)
    folder = types.SimpleNamespace(path="results/study", record=lambda run_id: record)
    runs = Ablation("Why?", config, {}, seeds=(0, 1)).runs()
    assert planning.other_data(runs, (), folder, None) == []
    np.savez(tmp_path / "own.npz", x_train=images[::-1], y_train=labels, **test)
    [line] = planning.other_data(runs, (), folder, None)
    assert line.startswith("warning: 2 recorded runs saw other pictures than ")
    assert line.endswith("give another --results_dir, or move results/study away")
    assert planning.other_data(runs, {run.run_id for run in runs}, folder, None) == [], "they are trained now"
    (tmp_path / "own.npz").unlink()
    assert planning.other_data(runs, (), folder, None) == [], "of a file that is no longer there nothing is known"
