"""The house has walls: rooms import downwards alone, flags are read at the doors, files stay small."""

import ast
import pathlib
import subprocess
import sys

import pytest
from place import ROOT

HOUSES = {"models": {"models"}, "ablations": {"models", "ablations"}, "harness": {"models", "ablations", "harness"}}
# Room of harness/ -> rooms that it may import; the doors, files at the top, may import all of them.
# Flags are read by the doors and by "cli", which they share.
ROOMS = {
    "records": set(),
    "data": {"records"},
    "training": {"data", "records"},
    "serving": {"training", "data", "records"},
    "progress": {"training", "data", "records"},
    "executors": {"progress", "training", "data", "records"},
    "cli": {"executors", "progress", "training", "data", "records"},
    "analysis": {"records"},
    "reporting": {"analysis", "records"},
    "benchmark": {"training", "data", "reporting", "records"},
}
DOORS = {"run.py", "report.py", "bench.py", "predict.py", "__init__.py"}


def modules(house=None):
    return [path for name in ([house] if house else HOUSES) for path in sorted((ROOT / name).rglob("*.py"))]


def named(path):
    return str(path.relative_to(ROOT))


def imported(path):
    """Gives full names, those of `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=named)
def test_imports_go_one_way(path):
    house = path.relative_to(ROOT).parts[0]
    assert {name.partition(".")[0] for name in imported(path)} & set(HOUSES) <= HOUSES[house]


@pytest.mark.parametrize("path", [path for path in modules("harness") if path.parent.name != "harness"], ids=named)
def test_no_room_imports_upwards(path):
    room = path.relative_to(ROOT / "harness").parts[0]
    others = {name.split(".")[1] for name in imported(path) if name.startswith("harness.")} - {room}
    assert others <= ROOMS[room]


def test_rooms_have_a_floor_each_and_no_way_round():
    """A room may import those that stand above it in the table, and only these."""
    for number, (room, below) in enumerate(ROOMS.items()):
        assert below <= set(list(ROOMS)[:number]), room
    assert {path.name for path in (ROOT / "harness").iterdir() if path.is_dir() and path.name[0] != "_"} == set(ROOMS)
    assert {path.name for path in (ROOT / "harness").glob("*.py")} == DOORS


@pytest.mark.parametrize("room", ["records", "analysis", "reporting.files", "reporting.export.exporters", "report"])
def test_reading_and_reporting_records_needs_neither_jax_nor_networks(room):
    code = (f"import pkgutil, importlib, sys, harness.{room} as room\n"
            "for found in pkgutil.walk_packages(getattr(room, '__path__', []), room.__name__ + '.'):\n"
            "    importlib.import_module(found.name)\n"
            "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'models')))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", [
    path for path in modules() if named(path).rpartition("/")[0] not in ("harness", "harness/cli")], ids=named)
def test_flags_are_read_by_commands_alone(path):
    assert not any(name.partition(".")[0] == "absl" for name in imported(path))


def test_orbax_is_known_to_the_checkpoints_alone():
    users = {path.name for path in modules() if any(name.startswith("orbax") for name in imported(path))}
    assert users == {"checkpoint.py"}


@pytest.mark.parametrize("path", modules(), ids=named)
def test_files_stay_small_and_have_telling_names(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    assert path.stem not in {"utils", "util", "common", "misc", "helpers", "base", "manager"}


def test_tests_stand_in_the_rooms_of_what_they_test():
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms == {*ROOMS, "models", "ablations", "fixtures", "house"}
    assert not list((ROOT / "tests").glob("test_*.py"))
    assert not list(pathlib.Path(ROOT / "tests" / "fixtures").glob("test_*.py"))
