"""Ablations of one's own: files outside the repository, in a folder that has names of the harness's packages."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import commands
import pytest
from place import ROOT

from harness import cli, records
from harness.reporting.page import runs as page_runs

STUDY = """from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig
import widths

WIDTHS = {"width": Factor("model.hidden", widths.LEVELS)}
ABLATION = Ablation(
    "Does width help?", RunConfig(dataset="digits", model=MLPConfig(), epochs=1, train_size=64, validation_size=200),
    WIDTHS, seeds=(0,), overrides={"batch_size": 32})
NOWHERE = Ablation("Where?", RunConfig(dataset="nowhere"), WIDTHS)
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
        assert (there(folder).path / "sources" / name).read_bytes() == (folder / name).read_bytes()


def test_the_command_of_a_page_is_one_that_trains_the_run_again(folder, record):
    _, _, module, *flags = shlex.split(page_runs.command(RUN, record))
    again = commands.here().run(module, *flags, "--dry_run", where=folder)
    assert again.returncode == 0, again.stderr
    assert "my_study,optimizer.learning_rate=0.01: 1 runs, 0 recorded, 1 to train, in again/" in again.stdout


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


@pytest.mark.slow
def test_an_installed_wheel_trains_an_ablation_of_ones_own(folder, tmp_path):
    """Built from what would be committed, installed beside the libraries of this Python, and run from elsewhere."""
    for name in ("harness", "models", "ablations"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, tmp_path / "source"], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", *tmp_path.glob("*.whl")], check=True)
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine, ignore=shutil.ignore_patterns("my_results"))
    done = subprocess.run([tmp_path / "site" / "bin" / "ablate", "run", "--ablation=my_study.py", "--only=width=8"],
                          cwd=mine, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((mine / "my_results" / "my_study" / "runs" / RUN / "record.json").read_text())
    assert record["environment"]["git_commit"] is None
    assert record["origin"] == "my_study.py"
    assert (mine / "my_results" / "my_study" / "report.html").stat().st_size > 10_000
    assert (mine / "my_results" / "my_study" / "curves_accuracy.png").exists()
