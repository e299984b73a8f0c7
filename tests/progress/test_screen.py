import dataclasses
import re
import textwrap

import pytest
from place import ROOT
from terminals import Terminal

from harness.progress import screen
from harness.progress.status import launched
from harness.records import Progress, RunProgress

SIZES = [(80, 24), (100, 30), (160, 50)]
NAMES = [f"network={network},regularizer={regularizer},seed={seed}" for network in ("mlp", "cnn")
         for regularizer in ("none", "batch_norm+dropout") for seed in range(3)]
TRAINING = RunProgress("training", 7, 30, 2.5, 3000.0, 0.4567, 0.9, 0.5678, 0.91)
QUESTION = "Which regularizers help, alone and together, and does that depend on the network?"


def shown(runs, width=80, height=24, active_alone=False, **more):
    """Draws runs as in `harness.run` or, with rows for all, as in --watch, and gives what is on the screen."""
    terminal = Terminal(width, height)
    sweep = launched("quickstart", QUESTION, Progress("here", 1, 0.0, 1000.0, runs, **more), 1002.0)
    terminal.console.print(screen.draw(sweep, width, height - 1 - screen.AROUND, active_alone=active_alone))
    assert terminal.widest <= width
    assert len(terminal.all_lines) < height, "a line is left for the cursor"
    return terminal.screen


@pytest.mark.parametrize("width", [20, 40])
def test_news_take_one_line_however_narrow_the_screen(width):
    news = "no news for 1:01:01 from process 1234 on a host with a long name"
    sweep = launched("quickstart", QUESTION, Progress("here", 1, 0.0, 1000.0, dict.fromkeys(NAMES, TRAINING)), 1002.0)
    drawn = [len(Terminal(width, 24).console.render_lines(screen.draw(dataclasses.replace(sweep, news=text), width, 5)))
             for text in ("", news)]
    assert drawn[1] == drawn[0] + 1


def rows(lines, word="training"):
    return [line for line in lines if f" {word}" in line and "more:" not in line]


@pytest.mark.parametrize("active_alone", [True, False])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_bar_count_epoch_and_what_tells_runs_apart_are_on_the_screen(width, height, active_alone):
    lines = shown(dict.fromkeys(NAMES, TRAINING), width, height, active_alone, left_s=754.0)
    assert "0 of 12 runs recorded, about 0:12:32 left" in lines[1]
    assert lines[1].startswith("━")
    found = rows(lines)
    assert len(found) == 12
    assert all(re.search(r"training +━[━╸╺ ]* +7/30", line) for line in found)
    assert len({line.split()[0] for line in found}) == 12


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_no_word_is_broken_and_only_the_question_is_cut(width, height):
    lines = shown(dict.fromkeys(NAMES, TRAINING), width, height)
    assert [line for line in lines[1:] if "…" in line] == []


def test_on_a_narrow_screen_scores_go_first_and_then_words_of_names():
    runs = dict.fromkeys(NAMES, TRAINING)
    wide, usual, narrow = (shown(runs, width) for width in (160, 80, 50))
    assert "network=cnn,regularizer=none,seed=0" in "\n".join(wide)
    assert rows(wide)[0].split()[-4:] == ["91.00", "0:00:56", "0.5678", "0.4567"]
    assert rows(usual)[0].split()[-3:] == ["91.00", "0:00:56", "0.5678"]
    assert any(line.startswith("network,") for line in usual)
    assert rows(narrow)[0].split()[-2:] == ["7/30", "91.00"]
    assert len({line.split()[0] for line in rows(narrow)}) == 12


def test_a_program_that_compiles_is_told_with_its_seconds():
    runs = {name: RunProgress("compiling" if place < 2 else "waiting", 0, 30) for place, name in enumerate(NAMES)}
    lines = shown(runs, active_alone=True, compiling_since=995.0)
    assert len(rows(lines, "compiling (7 s)")) == 2 + 1  # and the line of all
    assert lines[-1] == "and 10 more: 10 waiting"


def test_while_layouts_are_timed_there_are_no_rows_yet():
    lines = shown(dict.fromkeys(NAMES, RunProgress("waiting", 0, 30)), active_alone=True, compiling_since=995.0)
    assert lines[1].endswith("0 of 12 runs recorded, compiling (7 s)")
    assert lines[2:] == ["12 waiting"]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_of_more_runs_than_lines_those_that_fit_are_shown_and_the_rest_counted(width, height):
    runs = {f"rate={number},seed=0": TRAINING if number % 2 else RunProgress("waiting", 0, 30) for number in range(400)}
    for active_alone in (True, False):
        lines = shown(runs, width, height, active_alone)
        found = rows(lines)
        assert len(found) >= height - 1 - screen.AROUND - 1
        assert lines[-1] == f"and {400 - len(found)} more: {200 - len(found)} training, 200 waiting"


@pytest.mark.parametrize("width", [40, 80])
def test_wide_characters_and_endless_names_fit(width):
    lines = shown({f"層={'畳' * 200}{number}": TRAINING for number in range(3)} | {"x" * 300: TRAINING}, width)
    assert len(rows(lines)) == 4


def as_shown(lines):
    return textwrap.indent("\n".join(line.rstrip() for line in lines).rstrip(), "    ", lambda line: bool(line.strip()))


def test_what_build_shows_of_a_launch_is_what_is_drawn():
    runs = {name: (TRAINING if place < 2 else RunProgress("compiling", 0, 30) if place < 4 else
                   RunProgress("waiting", 0, 30)) for place, name in enumerate(NAMES)}
    lines = shown(runs, active_alone=True, compiling_since=995.0, left_s=754.0)
    assert f"\n{as_shown(lines)}\n" in (ROOT / "harness/reporting/README.md").read_text()
