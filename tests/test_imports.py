import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ALLOWED = {"models": {"models"}, "ablations": {"models", "ablations"}, "harness": {"models", "ablations", "harness"}}
COMMANDS = {"run.py", "report.py", "bench.py", "cli.py"}


def modules():
    return [path for house in ALLOWED for path in sorted((ROOT / house).rglob("*.py"))]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    house = path.relative_to(ROOT).parts[0]
    houses = {name.partition(".")[0] for name in imported(path)} & set(ALLOWED)
    assert houses <= ALLOWED[house]


@pytest.mark.parametrize("path", [path for path in modules() if path.name not in COMMANDS], ids=str)
def test_flags_are_read_by_commands_alone(path):
    assert not any(name == "absl" or name.startswith("absl.") for name in imported(path))


def test_orbax_is_known_to_the_checkpoints_alone():
    users = {path.name for path in modules() if any(name.startswith("orbax") for name in imported(path))}
    assert users == {"checkpoint.py"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small_and_have_telling_names(path):
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in {"utils", "util", "common", "misc", "helpers", "base", "manager"}
