import dataclasses
import io
import time

import numpy as np
import pytest
import synthetic
from rich.console import Console
from rich.live import Live
from sweeps import ABLATION
from terminals import Terminal

from harness.progress import display
from harness.progress.display import SweepProgress
from harness.progress.tally import Tally
from harness.records import CURVE_COLUMNS
from harness.training.layout import Layout
from harness.training.watcher import Audience, Compiled, Epoch, Started

SIZES = [(80, 24), (100, 30), (160, 50)]
RUNS = ABLATION.runs()
SCORES = dict.fromkeys(CURVE_COLUMNS[1:], 0.5)


class Launch:
    """Tells a display what training would."""

    def __init__(self, console, **more):
        self.tally = Tally(RUNS, {run.run_id: 1e6 for run in RUNS}, {run.run_id: run.config.epochs for run in RUNS})
        self.later_s = 0.0
        self.display = SweepProgress("made_up", "Why?", self.tally, console,
                                     clock=lambda: self.tally.progress.written + self.later_s, **more)
        self.told = Audience([self.tally, self.display])

    def start(self, runs, epoch=0):
        for run in runs:
            self.told.starting(Started(run, epoch, np.zeros((epoch, 4)), ()))
        self.told.compiling(runs)

    def compile(self):
        self.told.compiled(Compiled(Layout(2), 1.0, is_new=True))

    def train(self, runs, epoch):
        self.told.epochs([Epoch(run, epoch, SCORES, 1.0, 150) for run in runs])

    def record(self, run, status="done", message=""):
        record = synthetic.record(dict(run.labels), run.seed, 0.9 if status == "done" else None, status=status,
                                  epochs=2)
        self.told.finished(run, dataclasses.replace(record, message=message))


def looked_at(terminal, launch):
    """Draws the display once more, and gives what is then on the screen."""
    launch.display._live.refresh()
    assert terminal.widest <= terminal.console.width
    return terminal.screen


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_launch_is_followed_from_compiling_to_its_last_record(width, height):
    terminal = Terminal(width, height)
    launch = Launch(terminal.console)
    launch.told.compiling(())
    launch.later_s = 7.0
    assert looked_at(terminal, launch)[1].endswith("0 of 6 runs recorded, compiling (7 s)")
    launch.start(RUNS[:2])
    lines = looked_at(terminal, launch)
    assert sum("compiling (7 s)" in line for line in lines) == 3
    assert lines[-1] == "and 4 more: 4 waiting"
    launch.compile()
    launch.later_s = 0.0
    launch.train(RUNS[:2], 1)
    lines = looked_at(terminal, launch)
    assert sum(" training " in line and " 1/2 " in line for line in lines) == 2
    assert "left" in lines[1]
    launch.record(RUNS[0])
    lines = looked_at(terminal, launch)
    assert lines[0] == "[1/6] rate=sound,seed=0: test 90.00 %, val. 91.00 % (epoch 2 of 2), 41.5 s"
    for run in RUNS[1:]:
        launch.record(run)
    launch.told.close()
    assert [line.partition(":")[0] for line in terminal.all_lines if line.startswith("[")] == [
        f"[{number}/6] {run.run_id}" for number, run in enumerate(RUNS, 1)]
    assert not any("waiting" in line or "━" in line for line in terminal.screen), "nothing but what is told is left"


def test_a_long_line_is_broken_between_words_and_nothing_of_it_is_lost():
    terminal = Terminal(80, 24)
    launch = Launch(terminal.console)
    launch.start(RUNS[:2])
    message = "XlaRuntimeError: RESOURCE_EXHAUSTED while one of the arrays was being allocated: " + "more " * 20 + "end"
    launch.record(RUNS[0], "oom", message)
    launch.told.close()
    assert terminal.widest <= 80
    assert f"oom: {message}" in " ".join(terminal.all_lines)


def slowed(method):
    """Lets other threads go on as soon as a line's place is known."""
    def slow(*arguments):
        found = method(*arguments)
        time.sleep(0.01)
        return found

    return slow


def test_no_line_is_drawn_over_however_often_the_display_changes_its_height(monkeypatch):
    monkeypatch.setattr(display, "_EVERY_S", 1e-3)
    monkeypatch.setattr(Live, "process_renderables", slowed(Live.process_renderables))
    terminal = Terminal(80, 24)
    launch = Launch(terminal.console)
    for _ in range(4):
        launch.start(RUNS[:4])
        for run in RUNS[:4]:
            launch.record(run)
    launch.told.close()
    told = [line.partition("]")[0] for line in terminal.all_lines if line.startswith("[")]
    assert told == [f"[{number}/6" for number in range(1, 17)]


def log(**more):
    out = io.StringIO()
    return Launch(Console(file=out, width=80), **more), out


def test_a_log_has_one_whole_line_for_each_run_that_ends():
    launch, out = log()
    launch.start(RUNS[:2])
    launch.compile()
    for epoch in (1, 2):
        launch.train(RUNS[:2], epoch)
    launch.record(RUNS[0])
    launch.record(RUNS[1], "error", "ValueError: " + "why " * 40)
    launch.told.close()
    assert out.getvalue().splitlines() == [
        "[1/6] rate=sound,seed=0: test 90.00 %, val. 91.00 % (epoch 2 of 2), 41.5 s",
        "[2/6] rate=sound,seed=1: error: ValueError: " + "why " * 40]


def test_epochs_and_what_was_compiled_are_told_where_asked_for():
    launch, out = log(verbose=True)
    launch.start(RUNS[:1], epoch=1)
    launch.compile()
    launch.train(RUNS[:1], 2)
    assert out.getvalue().splitlines() == [
        "rate=sound,seed=0: resumed after epoch 1", f"compiled in 1.0 s: {Layout(2)}",
        "rate=sound,seed=0: epoch 2/2, loss 0.5000, train 50.00 %, validation 50.00 %, 150 examples/s"]


def test_where_nothing_can_be_printed_nothing_ends():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    launch = Launch(Console(file=io.StringIO()))
    launch.display._console = Console(file=Full())
    launch.display.told("warning: there is no space left")
