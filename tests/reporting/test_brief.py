import dataclasses
import io
import itertools
import re

import pytest
import synthetic
from reports import plain
from rich.console import Console
from terminals import Terminal

from harness.analysis.cells import View
from harness.analysis.summarize import summarize
from harness.records import narrow
from harness.records.loaded import Apart
from harness.reporting import answer
from harness.reporting.tables import report

WHERE = ["Page: my_results/made_up/report.html"]
LEVELS = {"network": ["mlp", "cnn"], "regularizer": ["none", "batch_norm", "dropout", "batch_norm+dropout"]}
MANY = {"units": list("123456"), "dropout": ["0", "0.1", "0.2", "0.3", "0.5"]}
LONG = {"which of the blocks is normalized": [
    f"the block between pooling and the dense head, {place}, momentum 0.{place}" for place in ("5", "25", "125")]}


def summary(factors=LEVELS, seeds=3, without=(), view=None, **changes):
    """Sums up a full factorial whose last cells are best."""
    cells = [dict(zip(factors, levels, strict=True)) for levels in itertools.product(*factors.values())]
    runs = [synthetic.record(labels, seed, 0.8 + 0.1 * place / len(cells) + 0.001 * seed, **changes)
            for place, labels in enumerate(cells) for seed in range(seeds)]
    plan = synthetic.plan({name: list(levels) for name, levels in factors.items()}, runs, changes.get(
        "question", "Which of these help a small network on Fashion-MNIST, alone and together?"))
    kept = [run for place, run in enumerate(runs) if place not in without]
    return summarize("made_up", plan, synthetic.as_read(*kept), view or View())


def shown(found, width=80, full=False):
    terminal = Terminal(width, 24)
    report.show(found, terminal.console, WHERE, full=full)
    assert terminal.widest <= width
    return terminal.all_lines


def pieces(text):
    return {piece for word in text.split() for piece in narrow._BREAK.split(word)}


def check_words(found, lines):
    """What is shown consists of whole words of the report, whole pieces of names, and what is cut and says so."""
    out = Console(file=io.StringIO(), width=10_000, highlight=False)
    report.show(found, out, WHERE, full=True)
    report.show(found, out, WHERE, full=False)
    whole = pieces(plain(out.file.getvalue())) | pieces(" ".join(column.header for table in report.tables(found)
                                                                 for column in table.columns))
    strange = {piece for line in lines for piece in pieces(line)
               if piece not in whole and "…" not in piece and not re.fullmatch(r"─+|\d+|[^ ]*[:;]", piece)}
    assert strange == set()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("factors", [LEVELS, MANY, LONG], ids=["usual", "thirty cells", "long labels"])
def test_it_fits_a_screen_with_question_answer_table_and_page(factors, width):
    found = summary(factors)
    lines = shown(found, width)
    assert len(lines) <= 30
    text = " ".join(lines)
    assert text.startswith(f"made_up: {found.question}")
    first, *others = answer.sentences(found)
    assert first in text
    assert "…" in text or all(sentence in text for sentence in others)
    assert "test acc. %" in text
    assert "difference" in text
    assert re.search(r"\d+ notes and \d tables more with --full", lines[-2])
    assert lines[-1] == WHERE[0]
    check_words(found, lines)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("factors", [LEVELS, MANY, LONG], ids=["usual", "thirty cells", "long labels"])
def test_all_of_it_has_no_broken_word_either(factors, width):
    found = summary(factors)
    lines = shown(found, width, full=True)
    check_words(found, lines)
    assert all(sentence in " ".join(lines) for table in report.tables(found) for sentence in table.notes)
    assert "…" not in "".join(lines)


def test_of_thirty_cells_the_best_and_the_baseline_are_shown_and_the_rest_counted():
    lines = shown(summary(MANY))
    start = next(place for place, line in enumerate(lines) if line.startswith("──")) + 1
    end = next(place for place, line in enumerate(lines) if "more; these are the best, with the baseline" in line)
    cells = [tuple(line.split()[:2]) for line in lines[start:end]]
    assert len(cells) >= 5
    assert cells[:-1] == list(reversed(list(itertools.product(*MANY.values()))))[:len(cells) - 1]
    assert cells[-1] == ("1", "0")
    assert lines[end].startswith(f"and {30 - len(cells)} cells more")


def test_with_losses_the_lowest_are_the_best():
    factors = {"units": [str(number) for number in range(30)]}
    runs = [synthetic.record({"units": level}, seed, 0.9) for level in factors["units"] for seed in range(2)]
    runs = [dataclasses.replace(run, best=dataclasses.replace(
        run.best, test_loss=0.5 - 0.01 * int(run.labels["units"]))) for run in runs]
    view = View(metric="test_loss")
    lines = shown(summarize("made_up", synthetic.plan(factors, runs), synthetic.as_read(*runs), view))
    place = next(place for place, line in enumerate(lines) if line.startswith("──"))
    assert [line.split()[0] for line in lines[place + 1:place + 4]] == ["29", "28", "27"]


def test_columns_go_by_rank_and_those_that_answer_stay():
    header = {width: " ".join(line for line in shown(summary(), width) if "[95 % CI]" in line)
              for width in (62, 80, 160)}
    for text in header.values():
        assert text.count("[95 % CI]") == 2
        assert text.startswith("network")
    assert "params" not in header[80]
    assert "acc. %" in header[80]
    assert "acc. %" not in header[62]
    assert all(f" {name} " in f"{header[160]} " for name in ("params", "MACs", "est.", "ex/s"))


def test_missing_and_failed_runs_and_warnings_are_always_told():
    warned = dataclasses.replace(synthetic.DATASET, warnings=("its pixels are not the official ones",))
    text = " ".join(shown(summary(without=(4, 5, 9), dataset=warned)))
    assert "24 planned; 21 done, 3 missing" in text
    assert "Warning: its pixels are not the official ones" in text
    assert "missing" not in " ".join(shown(summary()))


def test_what_a_star_and_an_interval_are_is_told_also_where_nothing_is_clear():
    found = summary({"a": ["x", "y"]}, seeds=2)
    assert not any(row.comparison and row.comparison.verdict != "unclear" for row in found.rows)
    assert "corrected; intervals are not." in " ".join(shown(found))
    assert "corrected; intervals" not in " ".join(shown(summary({"a": ["x"]})))


def test_what_is_missing_is_told_before_all_else_that_is_not_whole():
    found = summary(without=(4, 5, 9), dataset=dataclasses.replace(synthetic.DATASET, warnings=("a", "b", "c")))
    found = dataclasses.replace(found, apart=Apart(("runs/x/curve.csv is damaged",), {"gone": 2}))
    assert "3 missing" in " ".join(shown(found))


@pytest.mark.parametrize("width", [80, 120])
def test_endless_text_and_many_factors_still_fit_a_screen(width):
    factors = {f"factor_{number}_of_the_network": ["off", "on" * 20] for number in range(4)}
    found = summary(factors, question="word " * 200, dataset=dataclasses.replace(
        synthetic.DATASET, warnings=tuple(f"{number} " + "warning " * 60 for number in range(5))))
    assert len(shown(found, width)) <= 30
    shown(found, width, full=True)


@pytest.mark.parametrize("networks", [2, 12, 25])
def test_with_many_baselines_the_best_cells_are_shown_beside_their_own(networks):
    factors = {"network": [f"n{number:02}" for number in range(networks)], "reg": ["none", "a", "b"]}
    runs = [synthetic.record({"network": network, "reg": reg}, seed, 0.5 + 0.001 * place + 0.1 * at + 0.0001 * seed)
            for place, network in enumerate(factors["network"]) for at, reg in enumerate(factors["reg"])
            for seed in range(2)]
    plan = dataclasses.replace(synthetic.plan(factors, runs), within=("network",))
    lines = shown(summarize("made_up", plan, synthetic.as_read(*runs)))
    assert len(lines) <= 30
    best = factors["network"][-1]
    assert [line.split()[1] for line in lines if line.startswith(f"{best} ")][:1] == ["b" if networks > 2 else "none"]
    assert [best, "none"] in [line.split()[:2] for line in lines]
