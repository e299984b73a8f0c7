import dataclasses
import io
import os
import re
import subprocess
import sys

import pytest
import synthetic
from place import ROOT
from rich.console import Console
from watched import IDS, LEVELS, NOW, RUNS, progress

from harness.progress.live import render, watch
from harness.progress.status import Reader

HOSTILE = ["[bold red]no", "\x1b[31mred", "<script>", "x" * 300]


def plan(runs=RUNS, question="Does it help?"):
    return synthetic.plan({"regularizer": LEVELS}, runs, question)


@pytest.fixture
def folder(tmp_path):
    there = synthetic.write(tmp_path, plan(), RUNS[0])
    there.keep_progress(progress())
    return there


def drawn(folder, lines=10, width=110):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render(Reader(folder).read(NOW), lines))
    return console.file.getvalue()


def row(text, run_id):
    [line] = [line for line in text.splitlines() if line.startswith(run_id)]
    return re.split(r"\s{2,}", line.strip())


def test_the_table_says_where_each_run_is(folder):
    text = drawn(folder)
    assert text.splitlines()[0] == "made_up: Does it help?"
    assert "1 of 4 runs recorded, 500 examples/s, about 0:02:08 left" in text
    assert row(text, IDS[1]) == [IDS[1], "training", "3/8", "0.5000", "75.00", "0:00:48"]
    assert row(text, IDS[0]) == [IDS[0], "done", "8", "0.2000", "0.3000", "91.00", "90.00"]
    assert row(text, IDS[2]) == [IDS[2], "waiting"]


def test_on_a_narrow_terminal_only_names_are_cut(folder):
    text = drawn(folder, width=60)
    [line] = [line for line in text.splitlines() if "training" in line]
    assert line.split()[1:] == ["training", "3/8", "0.5000", "75.00", "0:00:48"]
    assert "…" in line.split()[0]


def test_what_trains_comes_first_and_what_does_not_fit_is_counted(folder):
    lines = [line for line in drawn(folder, lines=3).splitlines() if line.startswith(("regularizer", "and "))]
    assert [re.split(r"\s{2,}", line.strip())[:2] for line in lines] == [
        [IDS[1], "training"], [IDS[0], "done"], ["and 2 more", "1 waiting, 1 missing"]]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_are_shown_and_never_obeyed(tmp_path, hostile):
    run = synthetic.record({"f": "a"}, 0, 0.9)
    planned = plan([run], question=hostile)
    planned = dataclasses.replace(planned, runs=(dataclasses.replace(planned.runs[0], run_id=hostile),))
    text = drawn(synthetic.write(tmp_path, planned))
    assert "\x1b" not in text
    assert hostile[:8].replace("\x1b", "") in text.replace("\x1b", "")
    assert all(len(line) <= 110 for line in text.splitlines())


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=110, height=40)


def test_it_ends_when_all_is_recorded(folder):
    console, waits = terminal(), []

    def pause(seconds):
        waits.append(seconds)
        synthetic.write(folder.path.parent, None, RUNS[len(waits)])

    watch([folder], console, every_s=0.5, pause=pause)
    assert waits == [0.5, 0.5, 0.5]
    assert "4 of 4 runs recorded" in console.file.getvalue()


def test_ctrl_c_ends_it_without_a_trace(folder):
    def pause(seconds):
        raise KeyboardInterrupt

    console = terminal()
    watch([folder], console, pause=pause)
    assert "1 of 4 runs recorded" in console.file.getvalue()


def test_without_a_terminal_it_looks_once(folder):
    console = Console(file=io.StringIO(), width=110)
    watch([folder], console, pause=lambda seconds: pytest.fail("it waits"))
    assert "1 of 4 runs recorded" in console.file.getvalue()


def test_the_command_watches_without_jax(folder):
    watched = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harness.report", f"--results_dir={folder.path.parent}", "--watch"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "110"})
    assert "1 of 4 runs recorded" in watched.stdout
    imported = {line.rpartition("|")[2].strip() for line in watched.stderr.splitlines()}
    assert "harness.progress.live" in imported
    assert not imported & {"jax", "models", "tensorboardX", "mlflow", "wandb"}
