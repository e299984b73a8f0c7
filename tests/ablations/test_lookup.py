"""An ablation is found by its name, its file or its module; what its file loads is told, what is wrong is one line."""

import hashlib
import sys
import traceback

import pytest

from ablations import ABLATIONS, UnknownAblationError, lookup
from ablations.spec import RunConfig, SpecError
from models import MLPConfig

HEAD = """from __future__ import annotations
from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig
"""
STUDY = HEAD + """
import widths

ABLATION = Ablation("Why?", RunConfig(dataset="digits"), {"width": Factor("model.hidden", widths.LEVELS)})
DEEP = Ablation("Deep?", RunConfig(dataset="digits", model=MLPConfig(hidden=(8, 8))))
"""
WIDTHS = "from sizes.small import SMALL\nLEVELS = {'small': (SMALL,), 'large': (64,)}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one's own, where one stands: a study, and modules that it loads and that it does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sizes").mkdir()
    files = {"my_study.py": STUDY, "widths.py": WIDTHS, "sizes/small.py": "SMALL = 8\n", "other.py": ""}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in lookup._loaded:
        del sys.modules[name]
    lookup._loaded.clear()


def test_a_shipped_ablation_has_a_name_and_no_file():
    found = lookup.find("quickstart")
    assert (found.ablation, found.origin, found.sources) == (ABLATIONS["quickstart"], "", {})


@pytest.mark.parametrize(("text", "name", "question", "origin"), [
    ("my_study.py", "my_study", "Why?", "{}/my_study.py"),
    ("my_study.py:ABLATION", "my_study", "Why?", "{}/my_study.py"),
    ("my_study.py:DEEP", "my_study.DEEP", "Deep?", "{}/my_study.py:DEEP"),
    ("my_study:DEEP", "my_study.DEEP", "Deep?", "my_study:DEEP"),
    ("studies.first", "studies.first", "Why?", "studies.first:ABLATION"),
])
def test_a_file_and_a_module_give_the_ablation_they_name(folder, text, name, question, origin):
    (folder / "studies").mkdir()
    (folder / "studies" / "first.py").write_text(STUDY)
    found = lookup.find(text)
    assert (found.name, found.ablation.question, found.origin) == (name, question, origin.format(folder))


def test_a_file_may_lie_anywhere(folder, monkeypatch):
    before = list(sys.path)
    monkeypatch.chdir("/")
    assert len(lookup.find(f"{folder}/my_study.py").ablation.runs()) == 6
    assert sys.path == before


def test_what_a_file_loads_from_its_folder_is_told_as_it_was_read(folder):
    (folder / "site-packages").mkdir()
    (folder / "site-packages" / "bought.py").write_text("")
    buying = f"import sys; sys.path.append('{folder}/site-packages'); import bought\n"
    (folder / "widths.py").write_text(buying + WIDTHS)
    found = lookup.find("my_study.py")
    assert found.sources.keys() == {"my_study.py", "widths.py", "sizes/small.py"}
    assert found.hashes["my_study.py"] == hashlib.sha256(STUDY.encode()).hexdigest()
    (folder / "sizes" / "small.py").write_text("SMALL = 16\n# edited\n")
    again = lookup.find("my_study.py")
    assert {name for name in found.hashes if found.hashes[name] != again.hashes[name]} == {"sizes/small.py"}
    assert again.ablation.runs()[0].config.model.hidden == (16,)


def test_modules_of_one_name_in_two_folders_are_two(folder):
    there = folder / "there"
    there.mkdir()
    (there / "my_study.py").write_text(STUDY)
    (there / "widths.py").write_text("LEVELS = {'tiny': (2,)}\n")
    assert lookup.find("my_study.py").ablation.runs()[0].config.model.hidden == (8,)
    assert lookup.find("there/my_study.py").ablation.runs()[0].config.model.hidden == (2,)


CONFIG = 'BASE = RunConfig(dataset="digits", {})\n'


@pytest.mark.parametrize(("text", "line"), [
    (HEAD + "ABLATION = Ablation(\n", r"bad\.py:4: .* was never closed"),
    (HEAD + "import no_such_module\n", r"bad\.py:4: No module named 'no_such_module'$"),
    (HEAD + "from models.mine import Net\n", r"bad\.py:4: No module .*'models\.mine' \(\"models\" is a package of th"),
    (HEAD + 'ABLATION = Ablation(" ", RunConfig(dataset="digits"))\n', r"bad\.py:4: an ablation needs a question"),
    (HEAD + CONFIG.format("epochz=3"), r"bad\.py:4: RunConfig.* unexpected keyword argument 'epochz'"),
    (HEAD + CONFIG.format("epochs=0"), r"bad\.py:4: epochs must be"),
    (HEAD + "import inner\n", r"inner\.py:2: invalid syntax"),
    (HEAD + "BAD = 1 + 'a'\n", r"bad\.py:4: unsupported operand"),
])
def test_what_is_wrong_with_a_file_is_one_line_with_its_place(folder, text, line):
    (folder / "bad.py").write_text(text)
    (folder / "inner.py").write_text("\n1 1\n")
    with pytest.raises(SpecError, match=line) as caught:
        lookup.find("bad.py")
    assert "\n" not in str(caught.value)


def test_a_bug_in_a_file_keeps_its_traceback_and_names_the_file(folder):
    (folder / "bad.py").write_text("def level(x):\n    return {}[x]\nlevel('a')\n")
    with pytest.raises(KeyError) as caught:
        lookup.find("bad.py")
    told = "".join(traceback.format_exception(caught.value))
    assert "in level" in told
    assert "raised while the ablation bad.py was loaded" in told


@pytest.mark.parametrize(("text", "line"), [
    ("no_file.py", "no file no_file.py in "),
    ("my_study", "did you mean the file my_study.py?"),
    ("my_study.py:WIDE", "my_study.py has no WIDE; there are my_study.py:ABLATION, my_study.py:DEEP"),
    ("my_study.py:widths", "widths of my_study.py is no Ablation but <module"),
    ("widths.py", r"widths.py has no ABLATION; it needs a line ABLATION = Ablation\(...\)"),
    ("epochs=5", "what a command changes is set by --set=epochs=5"),
])
def test_an_ablation_that_is_not_there_is_one_line(folder, text, line):
    with pytest.raises(UnknownAblationError, match=line) as caught:
        lookup.find(text)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_is_one_line(folder):
    with pytest.raises(SpecError, match="nowhere: No module named 'nowhere'"):
        lookup.find("nowhere:ABLATION")


def test_a_files_name_has_to_do_for_a_folder(folder):
    (folder / "what?.py").write_text(STUDY)
    with pytest.raises(SpecError, match=r"what\?\.py would name a folder"):
        lookup.find("what?.py")


def test_only_objects_of_ones_own_classes_are_code_of_ones_own(folder):
    (folder / "net.py").write_text(HEAD + "import dataclasses\n@dataclasses.dataclass(frozen=True)\n"
                                   "class NetConfig(MLPConfig):\n    depth: int = 1\n"
                                   "ABLATION = Ablation('Why?', RunConfig(dataset='digits'))\n")
    lookup.find("net.py")
    own = sys.modules["ablation_file_net"].NetConfig()
    assert lookup.has_code_of_its_own(own)
    assert lookup.has_code_of_its_own((1, (own,)))
    assert not lookup.has_code_of_its_own(RunConfig(dataset="digits", model=MLPConfig(hidden=(8,))))
