"""Tables as they are printed and written, and texts from records that stay texts in every format."""

import csv
import dataclasses
import io
import re

import latex_documents
import numpy as np
import pytest
import synthetic
from markdown_it import MarkdownIt
from reports import plain, render, table_rows
from undrawn import undrawn

from ablations.claim import Claim
from harness.analysis.cells import View
from harness.analysis.summarize import summarize
from harness.records import BackboneFacts, Layer
from harness.report import ReportError
from harness.reporting import captions, rounded
from harness.reporting.render import printable
from harness.reporting.tables import evidence, report, scores

HOSTILE = ["a|b`c`", "<script>alert(1)</script>", "[x](http://e)", "=SUM(A1)", "[bold red]no", "$\\frac{$",
           "\x1b[31mred", "two\nlines", "100% \\input{x} #_^~&{}", "@now", "_start", "+1", "-1"]


LONG = "very long " * 500


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    with undrawn():
        yield


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Every text of a record or plan is an attack on some format: the folder, and what the terminal shows."""
    labels = [f"{text}" for text in HOSTILE]
    layers = tuple(Layer(text, (7,), 1, 2) for text in (*HOSTILE, LONG))
    dataset = dataclasses.replace(synthetic.DATASET, class_names=(*HOSTILE, LONG))
    runs = [synthetic.record({"[b]=f|": text, "=g": level}, seed, 0.9 + 0.001 * place + 0.002 * seed * place, epochs=2,
                             question=" ".join(HOSTILE),
                             dataset=dataclasses.replace(dataset, warnings=(text, LONG)))
            for place, text in enumerate(labels) for level in ("@a", "$b") for seed in range(2)]
    runs = [dataclasses.replace(run, cost=dataclasses.replace(run.cost, layers=layers)) for run in runs]
    claims = [Claim(text, "parameters", 1, protocol=f"{text} {LONG}") for text in HOSTILE]
    plan = synthetic.plan({"[b]=f|": labels, "=g": ["@a", "$b"]}, runs, " ".join([*HOSTILE, LONG]))
    plan = dataclasses.replace(plan, claims=synthetic.claimed(*claims))
    folder = synthetic.write(tmp_path_factory.mktemp("hostile"), plan, *runs, with_predictions=True)
    return folder.path, render(folder.path.parent, width=200, full=True)[1]


def test_strings_from_records_are_inert_on_the_terminal(hostile):
    _, terminal = hostile
    assert "[bold red]no" in plain(terminal)
    assert "\x1b[31m" not in terminal


def test_strings_from_records_are_inert_in_markdown(hostile):
    for name in ("table.md", "classes.md", "layers.md"):
        text = (hostile[0] / name).read_text()
        tokens = MarkdownIt().enable("table").parse(text)
        inline = [token.children or [] for token in tokens if token.type == "inline"]
        assert {child.type for children in inline for child in children} <= {"text", "text_special", "strong_open",
                                                                            "strong_close"}
        assert not {token.type for token in tokens} & {"html_block", "code_block", "fence", "hr", "blockquote_open"}
        shown = {"".join(child.content for child in children) for children in inline}
        assert {printable(hostile_text) for hostile_text in HOSTILE} <= shown
        assert max(map(len, text.splitlines())) < 30_000
        columns = [len(line.split(" | ")) for line in re.findall(r"^\|.*$", text, flags=re.MULTILINE)]
        assert min(columns) > 1


def test_strings_from_records_are_inert_in_csv(hostile):
    for name in ("table.csv", "effects.csv", "claims.csv", "classes.csv", "layers.csv"):
        rows = list(csv.reader(io.StringIO((hostile[0] / name).read_text())))
        assert len(rows) > len(HOSTILE)
        assert len({len(row) for row in rows}) == 1
        formulas = [cell for row in rows for cell in row
                    if cell.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"-[\d.e-]+", cell)]
        assert not formulas, name


def test_strings_from_records_are_inert_in_latex(hostile):
    latex_documents.check((hostile[0] / "table.tex").read_text())


@pytest.mark.skipif(not latex_documents.COMPILER, reason="no pdflatex here")
def test_strings_from_records_do_not_stop_latex(hostile, eventful, tmp_path):
    for path in (hostile[0], eventful):
        assert not latex_documents.complaints((path / "table.tex").read_text(), "", tmp_path)


def test_latex_is_well_formed(eventful):
    latex_documents.check((eventful / "table.tex").read_text())


def test_a_sure_best_is_bold_in_every_table():
    runs = [synthetic.record({"a": level}, seed, value + 0.001 * seed * (level == "y")) for level, value in
            {"x": 0.8, "y": 0.9}.items() for seed in range(3)]
    summary = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    assert "**90.10 [89.85, 90.35]**" in report.markdown(summary)
    assert r"\textbf{90.10 {[}89.85, 90.35{]}}" in report.latex(summary)
    assert report.markdown(summary).count("**9") + report.markdown(summary).count("**8") == 1


def test_numbers_print_with_three_digits_and_units():
    assert [rounded.count(value) for value in (7, 999, 1000, 12_345, 1_234_567, 2.5e9)] == [
        "7", "999", "1.00 k", "12.3 k", "1.23 M", "2.50 G"]
    assert [rounded.size(value) for value in (512, 1024, 47 * 1024**2, 3 * 1024**4)] == [
        "512 B", "1.00 KiB", "47.0 MiB", "3.00 TiB"]


def write_eventful(results_dir):
    """A 2 x 3 design: missing, diverged, oom and failed runs, and a single seed."""
    factors = {"norm": ["no", "yes"], "drop": ["0", "0.1", "0.5"]}
    runs = [synthetic.record({"norm": norm, "drop": drop}, seed,
                             0.80 + 0.05 * (norm == "yes") + 0.02 * place + 0.001 * seed * (1 + place))
            for norm in factors["norm"] for place, drop in enumerate(factors["drop"]) for seed in range(4)]
    plan = synthetic.plan(factors, runs)
    ends = {("no", "0.1"): {3: None}, ("no", "0.5"): {1: "diverged"}, ("yes", "0"): {0: "oom", 1: "error"},
            ("yes", "0.1"): {1: None, 2: None, 3: None}, ("yes", "0.5"): dict.fromkeys(range(4), "oom")}
    written = []
    for run in runs:
        status = ends.get((run.labels["norm"], run.labels["drop"]), {}).get(run.seed, "done")
        if status is not None:
            written.append(run if status == "done" else synthetic.record(run.labels, run.seed, None, status=status))
    claims = [Claim("the notebook", "test_accuracy", 0.99, "at_least"),
              Claim("the notebook", "parameters", 1_234_567, labels={"norm": "no", "drop": "0"})]
    plan = dataclasses.replace(plan, claims=synthetic.claimed(*claims))
    return synthetic.write(results_dir, plan, *written, with_predictions=True).path


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    path = write_eventful(tmp_path_factory.mktemp("eventful"))
    render(path.parent)
    return path


def test_coverage_is_counted_and_comparisons_are_called_balanced_or_partial(eventful):
    coverage = table_rows((eventful / "table.md").read_text(), 1)
    assert coverage == [
        ["norm", "drop", "planned", "done", "diverged", "oom", "failed", "missing", "comparison"],
        ["no", "0", "4", "4", "0", "0", "0", "0", "baseline"],
        ["no", "0.1", "4", "3", "0", "0", "0", "1", "partial, 3 pairs"],
        ["no", "0.5", "4", "3", "1", "0", "0", "0", "partial, 3 pairs"],
        ["yes", "0", "4", "2", "0", "1", "1", "0", "partial, 2 pairs"],
        ["yes", "0.1", "4", "1", "0", "0", "0", "3", "partial, 1 pair"],
        ["yes", "0.5", "4", "0", "0", "4", "0", "0", "–"]]  # noqa: RUF001


@pytest.mark.parametrize("planned", [True, False])
def test_a_run_that_diverged_is_counted_where_others_make_up_for_it_or_nothing_was_planned(planned):
    runs = [synthetic.record({"a": level}, seed, 0.9) for level in "xy" for seed in range(2)]
    ended = [runs[0], *runs[2:], dataclasses.replace(runs[1], seed=2),  # one outside the plan
             synthetic.record({"a": "x"}, 1, None, status="diverged")]
    plan = synthetic.plan({"a": ["x", "y"]}, runs) if planned else None
    summary = summarize("made_up", plan, synthetic.as_read(*ended))
    assert evidence.coverage(summary) is not None
    assert any("1 diverged (x: 1)" in sentence for sentence in captions.weighty(summary))


def test_one_cell_is_said_to_be_compared_with_nothing():
    runs = [synthetic.record({"a": "x"}, seed, 0.9 + 0.001 * seed) for seed in range(3)]
    text = report.markdown(summarize("made_up", synthetic.plan({"a": ["x"]}, runs), synthetic.as_read(*runs)))
    assert "There is one cell, and nothing it is compared with." in text
    assert "paired by seed" not in text


def test_effects_of_an_eventful_design_are_not_guessed(eventful):
    text = (eventful / "table.md").read_text()
    named = "norm=no, drop=0.1; norm=no, drop=0.5; norm=yes, drop=0; and 2 more"
    assert f"Main effects are n/a: no seed is done in every cell; short of runs: {named}." in text
    assert not (eventful / "effects.csv").exists()


def test_claims_stand_beside_what_was_measured(eventful):
    claims = table_rows((eventful / "table.md").read_text(), 2)
    assert claims[0] == ["source", "cell", "figure", "claimed", "measured [95 % CI]", "the claim", "its protocol"]
    assert claims[1][:6] == ["the notebook", "norm=no, drop=0", "test accuracy, last epoch", "at least 99.00",
                             "79.75 [79.54, 79.96]", "does not hold"]
    assert claims[5][3:6] == ["at least 99.00", "86.60 [n/a]", "cannot tell"]
    assert claims[6][4:6] == ["–", "not measured"]  # noqa: RUF001
    assert claims[7][2:6] == ["parameters", "1,234,567", "1,234,567", "holds"]


def test_p_values_stand_beside_the_headline_s(eventful):
    text = (eventful / "table.md").read_text()
    comparisons = table_rows(text, 3)
    assert [row[:3] for row in comparisons[1:]] == [
        ["no", "0.1", "partial, 3 pairs"], ["no", "0.5", "partial, 3 pairs"], ["yes", "0", "partial, 2 pairs"],
        ["yes", "0.1", "partial, 1 pair"]]
    assert comparisons[0][3:7] == ["headline p", "corrected", "p, these pairs alone", "corrected"]
    assert comparisons[4][3:] == ["n/a"] * 6
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", comparisons[1][7])


@pytest.mark.parametrize(("seeds", "shown"), [(5, False), (6, True)])
def test_sign_flips_are_shown_only_where_they_could_tell(seeds, shown):
    """Of five pairs the smallest p is 0.0625."""
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.001 * seed * place)
            for place, level in enumerate("xy") for seed in range(seeds)]
    text = report.markdown(summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs)))
    assert ("sign flips" in text) is shown


def test_class_scores_and_shared_examples_come_from_the_predictions(eventful):
    shared = table_rows((eventful / "table.md").read_text(), 4)
    assert shared[0][2:] == ["pairs", "gained", "lost", "difference [95 % CI]", "p, McNemar", "pairs with p &lt; 0.05"]
    assert [row[2] for row in shared[1:]] == ["3", "3", "2", "1"]
    classes = (eventful / "classes.md").read_text()
    assert classes.startswith("**norm=no, drop=0 (4 runs)**")
    assert [row[0] for row in table_rows(classes)[1:]] == [*"abcdefghij", "macro average", "weighted average"]
    with open(eventful / "classes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 12
    # The weighted recall is the accuracy; the invented predictions round it to whole examples.
    assert float(rows[11]["recall"]) == pytest.approx(0.8015, abs=0.003)


def test_predictions_without_classes_are_left_out_and_said_to_be(tmp_path):
    path = write_eventful(tmp_path)
    for file in path.glob("runs/*/predictions.npz"):
        with np.load(file) as stored:
            kept = {name: stored[name] for name in ("predicted", "probability")}
        np.savez(file, **kept)
    render(tmp_path)
    assert "are n/a: no run kept predictions with labels" in (path / "table.md").read_text()
    assert not (path / "classes.md").exists()


def test_damaged_predictions_are_named(tmp_path):
    file = next(write_eventful(tmp_path).glob("runs/norm=no,drop=0,*/predictions.npz"))
    file.write_bytes(b"PK")
    with pytest.raises(ReportError, match=re.escape(str(file))):
        render(tmp_path)


def test_layers_are_listed_with_their_total_once_per_network(tmp_path):
    layers = (Layer("conv_1", (13, 13, 4), 40, 27_040), Layer("dense_2", (10,), 6_770, 6_760))
    runs = [synthetic.record({"a": level}, 0, 0.9, ablation="nets") for level in "xyz"]
    runs = [dataclasses.replace(run, cost=dataclasses.replace(run.cost, layers=layers[:2 - (place == 2)]))
            for place, run in enumerate(runs)]
    folder = synthetic.write(tmp_path, synthetic.plan({"a": list("xyz")}, runs), *runs)
    render(tmp_path, "nets")
    text = (folder.path / "layers.md").read_text()
    memory, both, single = (table_rows(text, number) for number in range(3))
    assert memory[0] == ["cell", "parameters", "gradients", "optimizer state", "activations", "estimate",
                         "compiled program", "measured peak"]
    assert memory[1] == ["x", "4.71 MiB", "4.71 MiB", "9.42 MiB", "28.6 MiB", "47.4 MiB", "143 MiB", "n/a"]
    assert both[1:] == [["conv_1", "yes", "13 x 13 x 4", "40", "676", "27,040"],
                        ["dense_2", "yes", "10", "6,770", "10", "6,760"], ["total", "", "", "6,810", "686", "33,800"]]
    assert "**Layers of x; y**" in text
    assert "**Layers of z**" in text
    assert single[-1] == ["total", "", "", "40", "676", "27,040"]


def test_a_frozen_backbone_shows_what_is_trained_and_the_speed_with_its_features():
    facts = BackboneFacts("mobilenet_v2 1.0", 96, "none", "weights.h5", "c" * 64, False, 81.4, True)
    plain_run = synthetic.record({"a": "x"}, 0, 0.9)
    run = dataclasses.replace(plain_run, backbone=facts,
                              cost=dataclasses.replace(plain_run.cost, trainable_parameters=12_810))
    table = report.markdown(summarize("made_up", None, synthetic.as_read(run)))
    header, row = table_rows(table)[:2]
    assert row[header.index("trained params")] == "12.8 k"
    assert row[header.index("end to end ex/s")] == "12.6 k"
    assert ("Backbone: mobilenet_v2 1.0 at 96 px, frozen; weights weights.h5 (sha256 cccccccccccc, not proven "
            "official); the features of all images took 81 s, once for all runs.") in table
    without = report.markdown(summarize("made_up", None, synthetic.as_read(plain_run)))
    assert "trained params" not in without
    assert "Backbone" not in without


def test_a_score_that_some_runs_lack_says_of_how_many_it_is_the_mean():
    runs = [synthetic.record({"a": level}, seed, 0.9) for level in "xy" for seed in range(3)]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    values = {run_id: {"macro_f1": 0.5} for run_id in found.runs["a=x"][:1] + found.runs["a=y"]}
    [shown] = scores.tables(found, values)
    assert "Averaged over the runs that keep what it takes: macro_f1 of x, 1 of 3." in shown.notes
    [shown] = scores.tables(found, {run_id: {"macro_f1": 0.5} for run_id in found.records})
    assert "Averaged" not in " ".join(shown.notes)
    by_f1 = summarize("made_up", found.plan, found.records, View(metric="macro_f1"), more=values)
    [table, *_] = report.tables(by_f1)
    assert [row[1] for row in table.rows] == ["1", "3"]
