"""The user's code is found again beside the results."""

import types

import pytest

from ablations import lookup, own_code
from ablations.spec import SpecError
from harness.records import sources
from harness.records.configs import as_json, config_hash
from harness.records.kept import Code, KeptError
from harness.serving import configuration

STUDY = """from ablations.spec import Ablation, Factor, RunConfig
import widths
ABLATION = Ablation("Why?", RunConfig(dataset="digits"), {"width": Factor("model.hidden", widths.LEVELS)})
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study in a folder of its own, which is left at the end."""
    (tmp_path / "of 10:30").mkdir()
    (tmp_path / "of 10:30" / "~study.py").write_text(STUDY.replace("import widths\n", "").replace(
        "widths.LEVELS", "{'8': (8,), '16': (16,)}"))
    (tmp_path / "of 10:30" / "study.py").write_text((tmp_path / "of 10:30" / "~study.py").read_text())
    monkeypatch.chdir(tmp_path / "of 10:30")
    yield lookup.find("study.py")
    own_code.leave()


def test_a_configuration_written_before_a_field_was_added_is_found_again(study):
    *_, last = study.ablation.runs()
    stored = as_json(last.config)
    del stored["tta"], stored["model"]["dropout"]
    kept = types.SimpleNamespace(config=stored, config_hash=config_hash(stored), overrides={}, seed=last.seed,
                                 run_id=last.run_id)
    assert configuration._stated_by(study, kept, "study.py") == last.config
    kept.config = stored | {"batch_size": 7}
    with pytest.raises(KeptError, match="states no run with the configuration of"):
        configuration._stated_by(study, kept, "study.py")


def test_code_is_found_where_a_folder_has_a_colon_in_its_name(study, tmp_path):
    code = Code(study.origin, study.hashes)
    assert configuration._file_name(code) == "study.py"
    assert configuration._study(code, tmp_path / "runs" / "one", study.origin).ablation == study.ablation


def test_of_code_that_was_edited_since_the_copy_is_named_if_there_is_one(study, tmp_path):
    folder, code = tmp_path / "results" / "runs" / "one", Code(study.origin, study.hashes)
    (tmp_path / "of 10:30" / "study.py").write_text("# Edited.\n" + STUDY)
    with pytest.raises(KeptError, match=r"beside .*study\.py its sha256 is [0-9a-f]{64}$"):
        configuration._study(code, folder, study.origin)
    sources.keep(tmp_path / "results", study.sources)
    with pytest.raises(KeptError, match="; --trust_code in place of --ablation executes the copy"):
        configuration._study(code, folder, study.origin)
    assert configuration._study(code, folder, "").ablation == study.ablation


def test_code_in_a_file_whose_name_begins_with_a_tilde_is_refused_in_words(study, tmp_path):
    with pytest.raises(SpecError, match=r"~study\.py would name a folder"):
        configuration._study(Code(study.origin, study.hashes), tmp_path / "runs" / "one", "~study.py")


def test_the_copy_of_a_module_brings_what_lies_beside_its_package(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    (mine / "studies").mkdir(parents=True)
    (mine / "studies" / "first.py").write_text(STUDY)
    (mine / "widths.py").write_text("LEVELS = {'8': (8,), '16': (16,)}\n")
    monkeypatch.chdir(mine)
    study = lookup.find("studies.first")
    sources.keep(tmp_path / "results", study.sources)
    monkeypatch.chdir("/")
    (mine / "widths.py").write_text("raise RuntimeError\n")
    try:
        found = configuration._study(Code(study.origin, study.hashes), tmp_path / "results" / "runs" / "one", "")
        assert found.hashes == study.hashes
        assert found.ablation == study.ablation
    finally:
        own_code.leave()
