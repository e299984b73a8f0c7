"""README's findings are the sentences that the shipped records give, and nobody's own."""

import json

import pytest
from place import ROOT

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


def test_the_first_table_is_the_shipped_one():
    found = summary("fashion_regularization")
    shipped = report.markdown(found).splitlines()
    for sentence in answer.sentences(found):
        assert escape_markdown(sentence) in README.replace("\n", " ")
    rows = [line for line in shipped if line.startswith(tuple(f"| {row.label} | " for row in found.rows))][:5]
    assert len(rows) == 5
    for row in rows:
        assert " | ".join(row.split(" | ")[:8]) in README


def test_goals_that_the_benchmark_missed_are_said():
    results = json.loads((ROOT / "results" / "bench" / "amd_epyc_2_cores" / "bench.json").read_text())
    [missed] = [note for note in bench_tables.markdown(results).splitlines() if note.startswith("- Goals missed")]
    assert missed.removeprefix("- ") in README.replace("\n", " ")
