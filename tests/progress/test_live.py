import dataclasses
import io
import os
import re
import subprocess
import sys
import time

import commands
import pytest
import synthetic
from place import ROOT
from rich.console import Console
from terminals import Terminal
from watched import LEVELS, NOW, RUNS, progress

from harness.progress.live import watch
from harness.progress.screen import draw
from harness.progress.status import Reader
from harness.records import RunProgress

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
    console.print(draw(Reader(folder).read(NOW), width, lines))
    return console.file.getvalue()


def row(text, name):
    [line] = [line for line in text.splitlines() if line.startswith(name)]
    return re.split(r"\s{2,}", line.strip())


def test_the_table_says_where_each_run_is(folder):
    text = drawn(folder)
    assert text.splitlines()[0] == "made_up: Does it help?"
    assert "1 of 4 runs recorded, about 0:02:08 left, 500 examples/s" in text
    assert row(text, "regularizer=norm") == [
        "regularizer=norm", "training", "━━━╸", "3/8", "75.00", "0:00:48", "0.5000"]
    assert row(text, "regularizer=none") == [
        "regularizer=none", "done", "━━━━━━━━━━", "8", "91.00", "90.00", "0.3000", "0.2000"]
    assert row(text, "regularizer=drop") == ["regularizer=drop", "waiting"]


def test_what_trains_comes_first_and_what_does_not_fit_is_counted(folder):
    lines = [line for line in drawn(folder, lines=3).splitlines() if line.startswith(("regularizer", "and "))]
    assert [re.split(r"\s{2,}", line.strip())[:2] for line in lines] == [
        ["regularizer=norm", "training"], ["regularizer=none", "done"], ["and 2 more: 1 waiting, 1 missing"]]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (160, 50)])
def test_twelve_runs_are_told_apart_on_a_terminal(tmp_path, width, height):
    levels = ["batch_norm before the activation", "batch_norm behind it", "dropout", "none"]
    runs = [synthetic.record({"network": "convolutional, three blocks", "regularizer": level}, seed, 0.9)
            for level in levels for seed in range(3)]
    factors = {"network": ["convolutional, three blocks"], "regularizer": levels}
    folder = synthetic.write(tmp_path, synthetic.plan(factors, runs), *runs[:5])
    training = RunProgress("training", 3, 8, 10.0, 5.0)
    folder.keep_progress(progress(runs={synthetic.run_id(run): training for run in runs}))
    terminal = Terminal(width, height)

    def leave(seconds):
        raise KeyboardInterrupt

    watch([folder], terminal.console, pause=leave)
    assert terminal.widest <= width
    assert len(terminal.all_lines) < height
    rows = [line for line in terminal.screen if re.search("  (training|done)  ", line)]
    assert len({line.split("  ")[0] for line in rows}) == len(rows) == 12
    assert all(re.search(r"━ .* (8|3/8) ", line + " ") for line in rows)
    assert "5 of 12 runs recorded" in terminal.screen[1]


@pytest.mark.parametrize("damage", [
    '{"runs": []}', "{", '{"host": "x", "pid": 0, "process_started": 1, "written": 1, "runs": {}}'])
def test_a_damaged_progress_file_is_one_line(folder, damage):
    (folder.path / "progress.json").write_text(damage)
    failed = commands.here().run("harness.report", f"--results_dir={folder.path.parent}", "--watch")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.endswith("; move the file away to have it written again\n")
    assert failed.stderr.count("\n") == 1


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


def test_it_ends_when_all_is_recorded_and_the_process_that_trained_is_no_more(folder):
    """A command that has trained all of one stage may go on with another."""
    console, waits = terminal(), []

    def pause(seconds):
        waits.append(seconds)
        if len(waits) < 4:
            synthetic.write(folder.path.parent, None, RUNS[len(waits)])
        folder.keep_progress(progress(ended=len(waits) >= 3, **{"pid": 2**30} if len(waits) == 5 else {}))

    watch([folder], console, every_s=0.5, pause=pause)
    assert waits == [0.5] * 5
    assert "4 of 4 runs recorded" in console.file.getvalue()


@pytest.mark.parametrize(("change", "looks"), [({"ended": True}, 0), ({}, 1)], ids=["ended", "trains"])
def test_where_all_is_recorded_a_process_elsewhere_goes_on_until_it_says_that_it_has_ended(folder, change, looks):
    console, waits = terminal(), []
    synthetic.write(folder.path.parent, None, *RUNS[1:])
    folder.keep_progress(progress(time.time(), host="elsewhere", **change))

    def pause(seconds):
        waits.append(seconds)
        folder.keep_progress(progress(time.time(), host="elsewhere", ended=True))

    watch([folder], console, pause=pause)
    assert len(waits) == looks


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
