"""README's findings are the sentences that the shipped records give, and nobody's own."""

import io
import json
import textwrap

import pytest
from place import ROOT
from rich.console import Console

from harness import records
from harness.analysis.summarize import summarize
from harness.benchmark import tables as bench_tables
from harness.records.loaded import Loaded
from harness.reporting import answer
from harness.reporting.render import escape_markdown
from harness.reporting.tables import report

README = (ROOT / "README.md").read_text()
SHIPPED = {name: Loaded(records.Folder(ROOT / "results", name)) for name in records.ablations_in(ROOT / "results")}


def summary(name):
    loaded = SHIPPED[name]
    return summarize(name, loaded.plan, loaded.records, predictions=loaded.predictions)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_was_found_is_what_the_table_answers(name):
    found = summary(name)
    done = sum(row.runs["done"] for row in found.rows)
    words = " | ".join(map(escape_markdown, (found.question, " ".join(answer.sentences(found)))))
    assert f"| [{name}]({name}/table.md) | {done} | {words} |" in (ROOT / "results" / "README.md").read_text()


def printed(width):
    """What a report of the main job prints, as README and the page on what is printed show it."""
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    report.show(summary("fashion_regularization"), console, ["Page: results/fashion_regularization/report.html"],
                full=False)
    return textwrap.indent("\n".join(line.rstrip() for line in console.file.getvalue().strip().splitlines()), "    ")


def test_what_a_report_prints_is_what_is_shown():
    assert f"\n{printed(116)}\n" in README
    assert f"\n{printed(80)}\n" in (ROOT / "harness/reporting/README.md").read_text()


def test_goals_that_the_benchmark_missed_are_said():
    results = json.loads((ROOT / "results" / "bench" / "amd_epyc_2_cores" / "bench.json").read_text())
    [missed] = [note for note in bench_tables.markdown(results).splitlines() if note.startswith("- Goals missed")]
    assert missed.removeprefix("- ") in README.replace("\n", " ")
