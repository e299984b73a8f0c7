"""An ablation is found by its name, its file or its module; what its file loads is told, what is wrong is one line."""

import hashlib
import sys
import traceback
import types

import numpy as np
import pytest

from ablations import ABLATIONS, UnknownAblationError, lookup, own_code
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
BRIEF = "ABLATION = Ablation('Why?', RunConfig(dataset='digits'))\n"
PAST = """import importlib.util
spec = importlib.util.spec_from_file_location("past", __file__.replace("study", "past"))
past = importlib.util.module_from_spec(spec)
spec.loader.exec_module(past)
"""
LATE = """
def late():
    import json, package, harness.data, late as here
    package.inner()
    return here.NAME
"""
WIDTHS = "from sizes.small import SMALL\nLEVELS = {'small': (SMALL,), 'large': (64,)}\n"


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one's own, where one stands: a study, and modules that it loads and that it does not."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"my_study.py": STUDY, "widths.py": WIDTHS, "sizes/small.py": "SMALL = 8\n", "other.py": ""})
    yield tmp_path
    own_code.leave()


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
    own_code.leave()
    assert sys.path == before


def test_a_folder_may_have_a_colon_in_its_name(folder):
    write(folder, {"of 10:30/brief.py": HEAD + BRIEF})
    for text in ("of 10:30/brief.py", "of 10:30/brief.py:ABLATION"):
        assert lookup.find(text).origin == f"{folder}/of 10:30/brief.py"


def test_a_folder_may_have_a_comma_in_its_name(folder):
    write(folder, {"Doe, J/brief.py": HEAD + BRIEF})
    for text in ("Doe, J/brief.py", "Doe, J/brief.py:ABLATION"):
        assert lookup.named(text) == [text]
    many = [*["quickstart"] * 50, "my_study.py", "my_study.py:DEEP"]
    assert lookup.named(",".join(many)) == many, "longer than a file's name may be"


@pytest.mark.parametrize(("one", "other"), [
    ("データ", "写真"), ("folder:/a/b", "folder:a_b"), ("folder:/a/b", "folder:a/b"), ("npz:🙂", "npz:🙃"),
    ("_a", "a")])
def test_texts_of_any_script_name_folders_of_their_own(one, other):
    study = lookup.Study("mine", ABLATIONS["fashion_mlp"])
    names = [lookup.overridden(study, {"dataset": text}, (0,)).name for text in (one, other)]
    assert names[0] != names[1]
    assert not {"/", ":", " "} & set("".join(names))


@pytest.mark.parametrize(("settings", "name"), [
    ({"epochs": 5}, "epochs=5"), ({"model.hidden": (512, 256)}, "model.hidden=512_256"),
    ({"dataset": "fashion_mnist"}, "dataset=fashion_mnist"), ({"dataset": "データ"}, "dataset=データ"),
    ({"precision": "bfloat16"}, "precision=bfloat16"),
    ({"augment.flip": True, "optimizer.learning_rate": 1e-05}, "augment.flip=True,optimizer.learning_rate=1e-05")])
def test_what_is_usually_set_names_a_folder_as_it_stands(settings, name):
    assert lookup.overridden(lookup.Study("mine", ABLATIONS["fashion_mlp"]), settings, (0,)).name == f"mine,{name}"


def test_a_name_of_letters_that_take_bytes_is_as_long_as_a_folders_may_be():
    with pytest.raises(SpecError, match="are too many for a folder's name"):
        lookup.overridden(lookup.Study("mine", ABLATIONS["fashion_mlp"]), {"dataset": 100 * "写"}, (0,))


def test_a_file_whose_name_begins_with_a_tilde_is_itself(folder, monkeypatch):
    write(folder, {"~brief.py": HEAD + BRIEF, "home/brief.py": HEAD + BRIEF})
    with pytest.raises(SpecError, match=r"~brief\.py would name a folder"):
        lookup.find("~brief.py")
    with pytest.raises(UnknownAblationError, match=r"no file ~there is no such user\.py in "):
        lookup.find("~there is no such user.py")
    monkeypatch.setenv("HOME", f"{folder}/home")
    assert lookup.find("~/brief.py").origin == f"{folder}/home/brief.py"


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


def test_a_module_brings_what_lies_beside_its_package_and_nothing_installed(folder):
    write(folder, {
        "studies/__init__.py": "", "studies/first.py": STUDY + "from studies import parts\n", "studies/parts.py": "",
        "studies/second.py": "", "site-packages/bought.py": ""})
    buying = f"import sys; sys.path.append('{folder}/site-packages'); import bought\n"
    (folder / "widths.py").write_text(buying + WIDTHS)
    found = lookup.find("studies.first")
    assert found.sources.keys() == {"studies/__init__.py", "studies/first.py", "studies/parts.py", "widths.py",
                                    "sizes/small.py"}
    assert found.sources["widths.py"] == (folder / "widths.py").read_bytes()


def test_of_an_installed_package_the_package_alone_is_the_users(folder, monkeypatch):
    there = folder / "site-packages"
    write(there, {"studies/__init__.py": "", "studies/first.py": HEAD + BRIEF + "import bought\n",
                  "studies/late.py": "", "bought.py": ""})
    (there / "studies" / "__init__.py").write_text("def late():\n    from studies import late\n")
    monkeypatch.syspath_prepend(there)
    found = lookup.find("studies.first").sources
    assert found.keys() == {f"studies/{name}.py" for name in ("__init__", "first", "late")}


def test_modules_imported_earlier_or_past_pythons_list_are_the_users_too(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    write(folder, {"early.py": "", "past.py": "import further\n", "further.py": "", "study.py": HEAD + BRIEF + PAST})
    import early  # type: ignore[import-not-found]

    try:
        assert lookup.find("study.py").sources.keys() == {"study.py", "early.py", "past.py", "further.py"}
        lookup.find("my_study.py")
        assert sys.modules["early"] is early, "whose import it was not"
    finally:
        del sys.modules["early"]


def test_what_a_function_imports_is_the_users_and_is_found_when_it_is_called(folder, monkeypatch):
    """Also from elsewhere, and after another ablation with a module of that name was found."""
    for name in ("one", "two"):
        write(folder, {f"{name}/study.py": HEAD + BRIEF + LATE, f"{name}/late.py": f"NAME = '{name}'\n",
                       f"{name}/package/__init__.py": "def inner():\n    from . import deep\n",
                       f"{name}/package/deep.py": ""})
    monkeypatch.chdir("/")
    one, two = (lookup.find(f"{folder}/{name}/study.py") for name in ("one", "two"))
    assert one.sources.keys() == {"study.py", "late.py", "package/__init__.py", "package/deep.py"}
    assert one.hashes["late.py"] != two.hashes["late.py"]
    for study, name in ((two, "two"), (one, "one"), (two, "two")):
        own_code.use(study.code)
        assert sys.modules["ablation_file_study"].late() == name
    own_code.use(None)
    assert not {"late", "package", "ablation_file_study"} & sys.modules.keys()


def test_modules_that_a_library_makes_up_have_no_file(folder, monkeypatch):
    """As torch.classes, whose file is said to be "_classes.py"; and one that raises whatever it is asked."""

    class Classes(types.ModuleType):
        __file__ = "_classes.py"

    class Raising(types.ModuleType):
        def __getattr__(self, name):
            raise RuntimeError(name)

    relative = types.ModuleType("relative")
    relative.__file__ = "relative.py"
    made_up = {"classes": Classes("classes"), "raising": Raising("raising"), "relative": relative, "nothing": None,
               "gone": types.ModuleType("gone")}
    made_up["gone"].__file__ = f"{folder}/gone.py"
    write(folder, {"study.py": HEAD + BRIEF + "import sys; sys.modules.update(MADE_UP)\n", "_classes.py": "",
                   "relative.py": ""})
    monkeypatch.setattr("builtins.MADE_UP", made_up, raising=False)
    try:
        assert lookup.find("study.py").sources.keys() == {"study.py"}
        assert lookup.find("my_study.py").name == "my_study"
    finally:
        for name in made_up:
            sys.modules.pop(name, None)


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
    (HEAD + "import sys\nsys.exit()\n", r"bad\.py ends Python \(sys\.exit\) while it is read"),
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
    (":WIDE", 'no ablation ":WIDE": "" is neither a file such as my_study.py nor a module such as package.module'),
    ("..a:WIDE", 'no ablation "..a:WIDE": "..a" is neither a file'),
    ("a:b:WIDE", 'no ablation "a:b:WIDE": "a:b" is neither a file'),
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


@pytest.mark.parametrize("name", ["bench.py", "CON.py", "nul.py", "Com1.py", "aux.study.py", "study..py", "study .py"])
def test_a_folder_that_is_taken_or_not_allowed_everywhere_names_no_ablation(folder, name):
    (folder / name).write_text(BRIEF)
    with pytest.raises(SpecError, match="give the file another name"):
        lookup.find(name)


def test_only_objects_of_ones_own_classes_are_code_of_ones_own(folder):
    (folder / "net.py").write_text(HEAD + "import dataclasses\n@dataclasses.dataclass(frozen=True)\n"
                                   "class NetConfig(MLPConfig):\n    depth: int = 1\n"
                                   "ABLATION = Ablation('Why?', RunConfig(dataset='digits'))\n")
    lookup.find("net.py")
    own = sys.modules["ablation_file_net"].NetConfig()
    assert lookup.has_code_of_its_own(own)
    assert lookup.has_code_of_its_own((1, (own,)))
    assert not lookup.has_code_of_its_own(RunConfig(dataset="digits", model=MLPConfig(hidden=(8,))))
    assert not lookup.has_code_of_its_own(MLPConfig(hidden=(8,), dropout=np.float64(0.1)))
