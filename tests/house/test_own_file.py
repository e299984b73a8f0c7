"""Ablations of one's own: files outside the repository, in a folder that has names of the harness's packages."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import commands
import numpy as np
import PIL.Image
import pytest
from place import ROOT

from harness import cli, records
from harness.records import again, sources

STUDY = """from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig
import widths

WIDTHS = {"width": Factor("model.hidden", widths.LEVELS)}
ABLATION = Ablation(
    "Does width help?", RunConfig(dataset="digits", model=MLPConfig(), epochs=1, train_size=64, validation_size=200),
    WIDTHS, seeds=(0,), overrides={"batch_size": 32})
NOWHERE = Ablation("Where?", RunConfig(dataset="nowhere"), WIDTHS)
"""
LATE = """
import dataclasses
import numpy as np
from ablations.spec import Ablation, RunConfig
from harness.data import Splits
from models import MLPConfig

@dataclasses.dataclass(frozen=True)
class Data:
    def load(self):
        import late
        assert late.NAME == "{name}"
        examples = np.zeros((40, 4, 4, 1), np.uint8), np.arange(40) % 2
        return Splits(train=examples, test=examples, class_names=("a", "b"))

ABLATION = Ablation("When?", RunConfig(Data(), MLPConfig(hidden=(4,)), epochs=1, batch_size=8, validation_size=8))
"""
RUN = "width=8,seed=0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mine")
    (made / "my_study.py").write_text(STUDY)
    (made / "widths.py").write_text("LEVELS = {'8': (8,), '4x4': (4, 4)}\n")
    for name in ("models", "ablations"):
        (made / name).mkdir()
        (made / name / "__init__.py").write_text("raise RuntimeError('not the harness')\n")
    return made


@pytest.fixture(scope="module")
def trained(folder):
    """Two ablations in one command, the first of which fails; one run of the second is trained."""
    return commands.here().run("harness.run", "--ablation=my_study.py:NOWHERE,my_study.py", "--only=width=8",
                               "--set=optimizer.learning_rate=0.01", where=folder)


@pytest.fixture(scope="module")
def record(folder, trained):
    return there(folder).records()[RUN]


def there(folder):
    return records.Folder(folder / records.OWN_RESULTS, "my_study,optimizer.learning_rate=0.01")


def test_an_ablation_that_fails_stops_no_other_and_the_command_fails(folder, trained, record):
    assert trained.returncode == 1
    first, last = trained.stderr.splitlines()
    assert first.startswith("error: my_study.NOWHERE,optimizer.learning_rate=0.01: ")
    assert "nowhere" in first
    assert last == "error: 1 of 2 ablations failed: my_study.NOWHERE,optimizer.learning_rate=0.01"
    assert record.status == "done"


def test_record_and_plan_say_where_the_ablation_is_written_and_what_was_overridden(folder, record):
    plan = there(folder).plan()
    for one in (record, plan):
        assert one.origin == "my_study.py"
        assert one.sources.keys() == {"my_study.py", "widths.py"}
        assert one.overrides == {"optimizer.learning_rate": 0.01}
    assert record.config["optimizer"]["learning_rate"] == 0.01
    assert record.config["batch_size"] == 32, "what the file overrides stays"
    for name in record.sources:
        assert (sources.kept(there(folder).path, record.sources) / name).read_bytes() == (folder / name).read_bytes()


def test_the_command_of_a_page_is_one_that_trains_the_run_again(folder, record):
    _, _, module, *flags = shlex.split(again.commands(RUN, record)[-1])
    done = commands.here().run(module, *flags, "--dry_run", where=folder)
    assert done.returncode == 0, done.stderr
    assert "my_study,optimizer.learning_rate=0.01: 1 runs, 0 recorded, 1 to train, in again/" in done.stdout


def test_a_function_may_import_what_lies_beside_its_file(tmp_path):
    """When the data are loaded: from elsewhere, of two files that each have a module of that name."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(LATE.format(name=name))
        (tmp_path / name / "late.py").write_text(f"NAME = '{name}'\n")
    (tmp_path / "elsewhere").mkdir()
    done = commands.here().run("harness.run", "--ablation=../first/first.py,../second/second.py", "--dry_run",
                               where=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr


def test_another_file_of_that_name_is_refused_before_anything_is_read(folder, record):
    other = folder / "other"
    other.mkdir()
    (other / "my_study.py").write_text(STUDY.replace("import widths", "class widths: LEVELS = {'8': (8,)}"))
    refused = commands.here().run("harness.run", "--ablation=other/my_study.py", "--set=optimizer.learning_rate=0.01",
                                  where=folder)
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert "holds the results of my_study.py, not of other/my_study.py: rename one" in line


def test_folders_called_like_the_harness_packages_are_not_taken_for_them(folder):
    code = "import harness, importlib.util as u; print(u.find_spec('models').origin, u.find_spec('ablations').origin)"
    told = subprocess.run([sys.executable, "-c", code], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(ROOT / name / "__init__.py") for name in ("models", "ablations")]


def test_a_door_can_be_started_as_a_file(tmp_path):
    """Which puts harness/ on the path instead of the folder that it is in; told from what is installed by its words."""
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    place = tmp_path / "harness" / "records" / "folder.py"
    place.write_text(place.read_text().replace('"my_results"', '"their_results"'))
    told = subprocess.run([sys.executable, "harness/report.py"], cwd=tmp_path, check=False, capture_output=True,
                          text=True)
    assert told.stderr.splitlines() == [
        "error: no records in their_results or results; make some with: python -m harness.run --ablation=NAME"]


@pytest.mark.parametrize(("arguments", "code", "told"), [
    ([], 0, "usage: ablate COMMAND"), (["--help"], 0, "one of run, report, bench"),
    (["trian"], 2, 'error: no command "trian"; usage: ablate COMMAND'),
])
def test_ablate_says_which_commands_there_are(monkeypatch, capsys, arguments, code, told):
    monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
    try:
        cli.ablate()
        ended = 0
    except SystemExit as error:
        ended = error.code
    assert ended == code
    assert told in "".join(capsys.readouterr())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What would be committed, built as a wheel and installed beside the libraries of this Python."""
    place = tmp_path_factory.mktemp("installed")
    for name in ("harness", "models", "ablations"):
        shutil.copytree(ROOT / name, place / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, place / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", place, place / "source"], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", place / "site", *place.glob("*.whl")], check=True)
    return place / "site"


def mixed_pictures(place):
    """Two classes of pictures of unequal size and mode: dark and light ones."""
    generator = np.random.default_rng(0)
    for number in range(60):
        name, level = (("dark", 60), ("light", 190))[number % 2]
        height, width = generator.integers(20, 60, 2)
        pixels = np.clip(generator.normal(level, 30, (height, width, 3)), 0, 255).astype(np.uint8)
        mode, end = (("RGB", "jpg"), ("L", "png"), ("P", "gif"), ("RGB", "WEBP"))[number % 4]
        (place / name).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).convert(mode).save(place / name / f"{number}.{end}")


@pytest.mark.slow
@pytest.mark.parametrize(("example", "only"), [("own_pictures", "fit=pad"), ("residual_network", "batch_norm=with,")])
def test_an_example_trains_from_an_installed_wheel_elsewhere(example, only, installed, tmp_path):
    shutil.copy(ROOT / "ablations" / "examples" / f"{example}.py", tmp_path)
    mixed_pictures(tmp_path / "pictures")
    done = subprocess.run(
        [installed / "bin" / "ablate", "run", f"--ablation={example}.py", f"--only={only}", "--seeds=0", "--epochs=1"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [found] = (tmp_path / "my_results").glob(f"{example},*")
    records = [json.loads(path.read_text()) for path in found.glob("runs/*/record.json")]
    assert [record["status"] for record in records] == ["done"] * 2
    assert records[0]["environment"]["git_commit"] is None
    assert records[0]["origin"] == f"{example}.py"
    page = (found / "report.html").read_text()
    assert all(path.name in page for path in found.glob("runs/*"))
    assert (found / "curves_accuracy.png").exists()
