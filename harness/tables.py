"""A summary as text: Markdown, LaTeX, CSV and the terminal, with every string from a record made inert.

`harness.report` calls it. Numbers are rounded here and nowhere else; the CSV has them in full.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import rich.box
import rich.table
import rich.text
from rich.console import Console

from harness.records import Cost, Timing
from harness.stats import Estimate
from harness.summary import CellRow, Summary

DASH = "–"  # noqa: RUF001 - the typographic dash of an empty table cell
_LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
          "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
          # After the end of a row these would be read as its optional argument.
          "[": "{[}", "]": "{]}", "*": "{*}", DASH: "--"}


@dataclasses.dataclass(frozen=True)
class _Column:
    header: str
    text: Callable[[CellRow], str]
    is_label: bool = False
    is_marked: bool = False


def printable(text: str) -> str:
    """Makes a string from a record one line without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())


def escape_markdown(text: str) -> str:
    """Escapes what Markdown or HTML would act on; an underscore in a word and a bracket outside a link do nothing."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:]))", r"\\\1", text)


def escape_latex(text: str) -> str:
    """Escapes what LaTeX would act on."""
    return "".join(_LATEX.get(character, character) for character in printable(text))


def escape_csv(text: str) -> str:
    """Keeps a spreadsheet from reading text as a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def columns(summary: Summary) -> list[_Column]:
    """Lists the columns of a summary's table: what names the cell first."""
    return [*_labels(summary), *_ACCURACY, *_COST]


def markdown(summary: Summary) -> str:
    """Renders one table with the question above and the caption below."""
    shown = columns(summary)
    lines = [f"**{escape_markdown(summary.question)}**", "",
             f"| {' | '.join(escape_markdown(column.header) for column in shown)} |",
             f"|{'|'.join(' :-- ' if column.is_label else ' --: ' for column in shown)}|"]
    for row in summary.rows:
        cells = [(escape_markdown(column.text(row)), _bold(column, row)) for column in shown]
        lines.append(f"| {' | '.join(f'**{cell}**' if bold else cell for cell, bold in cells)} |")
    return "\n".join([*lines, "", *(f"- {escape_markdown(sentence)}" for sentence in summary.caption), ""])


def latex(summary: Summary) -> str:
    """Renders a fragment for booktabs: two tables, since one would be wider than a page."""
    caption = " ".join([summary.question, *summary.caption])
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering\footnotesize",
             r"\setlength{\tabcolsep}{4pt}", f"\\caption{{{escape_latex(caption)}}}"]
    for group in (_ACCURACY, _COST):
        columns = [*_labels(summary), *group]
        alignment = "".join("l" if column.is_label else "r" for column in columns)
        lines += [f"\\begin{{tabular}}{{{alignment}}}", r"\toprule",
                  " & ".join(escape_latex(column.header) for column in columns) + r" \\", r"\midrule"]
        for row in summary.rows:
            cells = [escape_latex(column.text(row)) for column in columns]
            cells = [cell if column.is_label else re.sub(r"-(?=\d)", "$-$", cell)
                     for column, cell in zip(columns, cells, strict=True)]
            lines.append(" & ".join(f"\\textbf{{{cell}}}" if _bold(column, row) else cell
                                    for column, cell in zip(columns, cells, strict=True)) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\par\medskip"]
    return "\n".join([*lines[:-1], r"\end{table}", ""])


def csv(summary: Summary) -> str:
    """Renders everything known about each cell, unrounded: accuracies as fractions, sizes in bytes."""
    return pd.DataFrame([_flat(row) for row in summary.rows], dtype=object).to_csv(index=False, lineterminator="\n")


def show(summary: Summary, console: Console) -> None:
    """Prints the table, in two parts where the terminal is too narrow for one."""
    console.print(rich.text.Text(f"{printable(summary.ablation)}: {printable(summary.question)}", style="bold"))
    whole = _terminal(summary, [*_ACCURACY, *_COST])
    unbounded = console.options.update(width=10_000)
    fits = console.measure(whole, options=unbounded).maximum <= console.width
    for table in [whole] if fits else [_terminal(summary, _ACCURACY), _terminal(summary, _COST)]:
        console.print("", table)
    console.print()
    for sentence in summary.caption:
        console.print(rich.text.Text(printable(sentence), style="yellow" if sentence.startswith("Warning") else "dim"))


def _terminal(summary: Summary, group: Sequence[_Column]) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    columns = [*_labels(summary), *group]
    for column in columns:
        table.add_column(rich.text.Text(column.header), justify="left" if column.is_label else "right",
                         vertical="bottom", overflow="fold" if column.is_label else "ellipsis")
    for row in summary.rows:
        table.add_row(*(rich.text.Text(printable(column.text(row)), style="bold" if _bold(column, row) else "")
                        for column in columns))
    return table


def _bold(column: _Column, row: CellRow) -> bool:
    return column.is_marked and row.is_best


def _labels(summary: Summary) -> list[_Column]:
    if not summary.factors:
        return [_Column("cell", lambda row: row.cell, is_label=True)]
    return [_Column(printable(name), lambda row, name=name: row.labels.get(name, DASH), is_label=True)  # type: ignore[misc]
            for name in summary.factors]


def _flat(row: CellRow) -> dict[str, Any]:
    estimates = ("test_accuracy", "validation_accuracy", "last_test_accuracy", "difference")
    costs = [("cost", row.cost, field.name) for field in dataclasses.fields(Cost) if field.name != "layers"]
    timings = [("timing", row.timing, field.name) for field in dataclasses.fields(Timing)]
    return ({"cell": escape_csv(row.cell)}
            | {escape_csv(f"labels.{name}"): escape_csv(label) for name, label in row.labels.items()}
            | {"is_baseline": row.is_baseline, "is_best": row.is_best}
            | {f"runs.{status}": number for status, number in row.runs.items()}
            | {f"{name}.{part}": value for name in estimates
               for part, value in dataclasses.asdict(getattr(row, name)).items()}
            | {f"{group}.{name}": getattr(part, name, None) for group, part, name in (*costs, *timings)})


def percent(estimate: Estimate, sign: str = "") -> str:
    """Writes a fraction and its interval in percent."""
    if estimate.mean is None:
        return DASH
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:{sign}.2f} [n/a]"
    return f"{100 * estimate.mean:{sign}.2f} [{100 * estimate.low:{sign}.2f}, {100 * estimate.high:{sign}.2f}]"


def _difference(row: CellRow) -> str:
    if row.is_baseline:
        return "baseline"
    if row.difference.n == 0:
        return "n/a" if row.runs["done"] else DASH
    return percent(row.difference, sign="+")


def _digits(value: float) -> str:
    """Writes three digits, or all before the point."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    power = 0
    while value >= step and power < len(units) - 1:
        value, power = value / step, power + 1
    return f"{_digits(value) if power else round(value)}{units[power]}"


def count(value: float) -> str:
    """Writes a count with a decimal unit."""
    return _scaled(value, 1000, ("", " k", " M", " G", " T"))


def size(value: float) -> str:
    """Writes bytes with a binary unit."""
    return _scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def _of(part: str, name: str, write: Callable[[float], str]) -> Callable[[CellRow], str]:
    """Reads a field of a row's cost or timing: a dash without a done run, n/a where the platform does not tell."""
    def text(row: CellRow) -> str:
        known = getattr(row, part)
        value = getattr(known, name) if known else None
        return DASH if not row.runs["done"] else "n/a" if value is None else write(value)
    return text


_ACCURACY = (
    _Column("n", lambda row: str(row.runs["done"])),
    _Column("test acc. %\n[95 % CI]", lambda row: percent(row.test_accuracy), is_marked=True),
    _Column("val.\nacc. %", lambda row: DASH if row.validation_accuracy.mean is None
            else f"{100 * row.validation_accuracy.mean:.2f}"),
    _Column("difference\n[95 % CI]", _difference),
)
_COST = (
    _Column("params", _of("cost", "parameters", count)),
    _Column("MACs", _of("cost", "macs_per_example", count)),
    _Column("memory\nest.", _of("cost", "memory_estimate_bytes", size)),
    _Column("compiled", _of("cost", "compiled_bytes", size)),
    _Column("train\nex/s", _of("timing", "throughput_examples_per_s", count)),
    _Column("compile\ns", _of("timing", "compile_s", _digits)),
    _Column("train\ns", _of("timing", "train_s", _digits)),
)
