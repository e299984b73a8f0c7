"""LaTeX tables fit the page of `article`, in one column and two, whatever the cells are called and however many."""

import functools
import re

import latex_documents
import numpy as np
import pytest
import synthetic
from matplotlib import font_manager, get_data_path
from matplotlib.textpath import TextToPath
from place import ROOT

from ablations.claim import Claim
from harness.analysis.cells import View
from harness.analysis.summarize import summarize
from harness.records import Folder
from harness.records.loaded import Loaded
from harness.reporting.latex import floats, parts, text
from harness.reporting.render import DASH, Cell, Column, Table
from harness.reporting.tables import report

PAGE_PT = 345  # \textwidth of article at 10 pt
SHIPPED = sorted(path.parent.name for path in (ROOT / "results").glob("*/plan.json"))
FONT = font_manager.FontProperties(fname=f"{get_data_path()}/fonts/ttf/cmr10.ttf", size=8)
FORTY = "a_name+of=forty/characters and no more_"
WORD = "W" * 40
INVENTED = {"1 cell": (1, "x"), "5 cells of one long word": (5, WORD), "60 cells": (60, FORTY)}


def invented(cells, name):
    """Tables of a made-up ablation with claims; level and factor names are as long as told."""
    generator = np.random.default_rng(0)
    levels = [f"{name[:38]}{place}" for place in range(cells)]
    runs = [synthetic.record({name: level}, seed, float(generator.normal(0.9, 0.01))) for level in levels
            for seed in range(3)]
    runs[-1] = synthetic.record({name: levels[-1]}, 2, None, status="oom")
    claims = [Claim(name, "test_accuracy", 0.9, "at_least", protocol=f"{name} " * 9, labels={name: levels[0]})]
    plan = synthetic.plan({name: levels}, runs, f"Does {name} help? " * 5, claims)
    known = {one_id: synthetic.predictions(one) for one_id, one in synthetic.as_read(*runs).items() if one.best}
    return report.tables(summarize("made_up", plan, synthetic.as_read(*runs), View(), known))


def shipped(name):
    loaded = Loaded(Folder(ROOT / "results", name))
    return report.tables(summarize(name, loaded.plan, loaded.records, View(), loaded.predictions))


@pytest.fixture(scope="module", params=[*INVENTED, *SHIPPED])
def tables(request):
    return invented(*INVENTED[request.param]) if request.param in INVENTED else shipped(request.param)


@pytest.mark.skipif(not latex_documents.COMPILER, reason="no pdflatex here")
@pytest.mark.parametrize("options", ["", "twocolumn"])
def test_nothing_sticks_out_of_a_page(tables, options, tmp_path):
    assert not latex_documents.complaints(floats.render(tables), options, tmp_path)


@functools.cache
def set_width(cell):
    """Measures a cell of LaTeX as matplotlib sets it, in points; 8 pt letters are wider than 10 pt ones reduced."""
    shown = cell.removeprefix(r"\textbf{").replace(r"\allowbreak{}", "")
    shown = re.sub(r"\$-\$|\$\\pm\$|\\_", "+", shown)
    shown = re.sub(r"\\text(less|greater){}", "+", re.sub(r"\\dag{}|--", "0", shown))
    shown = re.sub(r"\\([%&#])|{([\[\]*])}|}$", lambda found: found[1] or found[2] or "", shown)
    wide, *_ = TextToPath().get_text_width_height_descent(shown, FONT, ismath=False)
    return 1.0625 * wide * (1.154 if cell.startswith(r"\textbf") else 1)


def test_columns_side_by_side_are_narrower_than_the_page(tables):
    found = re.findall(r"\\begin{tabular}{@{}(.*)@{}}\n((?:.*\n)*?)\\bottomrule", floats.render(tables))
    assert len(found) >= len(tables)
    for columns, body in found:
        kinds = columns.replace(r">{\raggedright\arraybackslash}", "")
        widths = [float(points or 0) for points in re.findall(r"[lr]|p{([\d.]+)pt}", kinds)]
        rows = [row.removesuffix(r" \\").split(" & ") for row in body.splitlines() if row.endswith(r" \\")]
        for cells in rows:
            assert len(cells) == len(widths)
        shown = [width or max(set_width(cells[place]) for cells in rows) for place, width in enumerate(widths)]
        assert sum(shown) + 8 * (len(shown) - 1) <= PAGE_PT


# What pdflatex's \settowidth says, in points, at 8 pt.
@pytest.mark.parametrize(("shown", "points"), [
    ("0", 4.24896), ("m", 7.0816), ("W", 8.72565), ("%", 7.0816), ("_", 6.6095), ("-1", 6.6112 + 4.24896),
    ("[", 2.36053), ("<", 6.6095), (DASH, 4.24896), ("a a", 11.33057)])
def test_text_is_as_wide_as_latex_sets_it(shown, points):
    assert text.width(shown) == pytest.approx(points, rel=0.005)


def test_what_the_fonts_lack_is_as_wide_as_its_code_point():
    assert text.width("\N{GREEK SMALL LETTER ALPHA}") == text.width("U+03B1")


@pytest.mark.parametrize("width_pt", [20.0, 60.0, 200.0])
@pytest.mark.parametrize("words", [FORTY, WORD, "short words alone", "a" * 300, "%_-1" * 20])
def test_broken_lines_fit_their_width_and_lose_nothing(words, width_pt):
    lines = text.wrapped(words, width_pt)
    assert max(map(text.width, lines)) <= width_pt
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    assert text.breakable(words, width_pt).replace(r"\allowbreak{}", "") == text.escape(words)


def test_names_break_after_a_sign():
    assert text.wrapped("batch_norm+dropout", 60.0) == ["batch_norm+", "dropout"]


def table(*columns, rows=2, cell="0123456789"):
    return Table("Title", tuple(columns), tuple((Cell(cell),) * len(columns) for _ in range(rows)))


def test_what_fits_stays_together_and_what_names_a_row_is_in_every_part():
    key, figure, other = Column("key", is_text=True), Column("a"), Column("b", group=1)
    assert [list(part.widths) for part in parts.split(table(key, figure, other))] == [[0, 1, 2]]
    groups = parts.split(table(key, *[figure] * 4, *[other] * 4))
    assert [list(part.widths) for part in groups] == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    greedy = parts.split(table(key, *[figure] * 9))
    assert [list(part.widths) for part in greedy] == [[0, 1, 2, 3, 4, 5], [0, 6, 7, 8, 9]]


def test_every_cell_is_there_once_and_each_caption():
    many = Table("Title", (Column("key", is_text=True), Column("a")),
                 tuple((Cell(f"row {n}"), Cell(f"{n}.5")) for n in range(200)),
                 notes=("A note.",))
    found = floats.render([many])
    assert re.findall(r"^row (\d+) & \1\.5 ", found, flags=re.MULTILINE) == [str(n) for n in range(200)]
    assert found.count(r"\caption{") == 1
    assert found.count("A note.") == 1
    assert found.count(r"Table \thetable, continued") == found.count(r"\begin{table*}") - 1 > 1


def test_a_table_without_rows_keeps_its_notes():
    empty = floats.render([Table("Title", (Column("a"),), (), lead=("Nothing yet.",))])
    assert "Nothing yet." in empty
    assert "tabular" not in empty
