"""The user's code is found again beside the results."""

from ablations import lookup, own_code
from harness.records import sources
from harness.records.kept import Code
from harness.serving import configuration

STUDY = """from ablations.spec import Ablation, Factor, RunConfig
import widths
ABLATION = Ablation("Why?", RunConfig(dataset="digits"), {"width": Factor("model.hidden", widths.LEVELS)})
"""


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
