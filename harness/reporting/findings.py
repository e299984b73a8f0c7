"""What every ablation of a results folder found, as a table in its README.md, between two marks that a report fills."""

from collections.abc import Sequence

from harness.reporting.page.cells import answer
from harness.reporting.page.index import Entry
from harness.reporting.render import escape_markdown

START, END = "<!-- found -->", "<!-- /found -->"


def filled(text: str, entries: Sequence[Entry]) -> str:
    """Puts question and answer of each ablation between the marks; text without them stays as it is."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{start}\n{table(entries)}{end}{after}" if end else text


def table(entries: Sequence[Entry]) -> str:
    """Renders a row for each ablation that can be summed up, as Markdown."""
    lines = ["| ablation | runs | asked | found |", "|---|--:|---|---|"]
    for entry in entries:
        if entry.summary:
            done = sum(row.runs["done"] for row in entry.summary.rows)
            words = (escape_markdown(text) for text in (entry.summary.question, " ".join(answer(entry.summary))))
            lines.append(f"| [{entry.ablation}]({entry.ablation}/table.md) | {done} | {' | '.join(words)} |")
    return "\n".join([*lines, ""])
