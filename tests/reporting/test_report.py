import collections
import contextlib
import csv
import dataclasses
import io
import os
import pathlib
import re
import subprocess
import sys

import commands
import pytest
import synthetic
from place import ROOT
from reports import plain, render, table_rows
from rich.console import Console
from undrawn import undrawn

from ablations.claim import Claim
from harness import records
from harness.analysis.cells import View, ViewError
from harness.analysis.summarize import summarize
from harness.records import RecordError
from harness.records.loaded import Loaded
from harness.records.pooling import MixtureError
from harness.report import ReportError, _entry, report
from harness.reporting.page import cells

FILES = ["figures.md", "pictures.json", "report.html", "table.csv", "table.md", "table.tex"]
PICTURES = [f"{name}.png" for name in ("baseline_vs_best", "curves_accuracy", "curves_loss", "effects")]


@pytest.fixture(autouse=True)
def no_pictures(request):
    """Pictures are drawn in test_figures, and here where they matter."""
    drawn = request.node.name in ("test_same_records_give_the_same_bytes", "test_a_report_reads_each_file_once")
    with contextlib.nullcontext() if drawn else undrawn():
        yield


@pytest.fixture
def results(tmp_path):
    """Three cells of three runs: whole, one diverged and one missing, none done."""
    levels = ["none", "norm", "late"]
    runs = [synthetic.record({"regularizer": level}, seed, 0.9 + 0.01 * place + 0.001 * seed * (place + 1), epochs=4)
            for place, level in enumerate(levels) for seed in range(3)]
    plan = synthetic.plan({"regularizer": levels}, runs, "Does it help?")
    synthetic.write(tmp_path, plan, *runs[:4], synthetic.record({"regularizer": "norm"}, 1, None, status="diverged"),
                    synthetic.record({"regularizer": "late"}, 0, None, status="oom"))
    return tmp_path


def test_files_are_written_and_named(results):
    paths, terminal = render(results)
    assert sorted(path.name for path in paths[:-1]) == sorted(FILES + PICTURES)
    assert paths[-1] == results / "index.html"
    assert plain(terminal).rstrip().endswith(f"Page: {results}/made_up/report.html")
    assert plain(terminal).count(str(results)) == 1, "one path is enough"
    assert all(path.is_file() for path in paths)
    assert {path.name for path in (results / "made_up").iterdir()} == {*FILES, *PICTURES, "plan.json", "runs"}


def test_same_records_give_the_same_bytes(results):
    first = {path: path.read_bytes() for path in render(results)[0]}
    for path in first:
        path.unlink()
    assert {path: path.read_bytes() for path in render(results, width=80)[0]} == first


def test_single_and_absent_runs_show_as_such(results):
    render(results)
    cells = table_rows((results / "made_up" / "table.md").read_text())[1:]
    assert cells[0] == ["none", "3", "90.10 [89.85, 90.35]", "91.10", "baseline", "1.23 M", "13.3 M", "47.4 MiB",
                        "143 MiB", "13.2 k", "3.25", "42.5"]
    assert cells[1][:5] == ["norm", "1", "91.00 [n/a]", "92.00", "+1.00 [n/a]"]
    assert cells[2] == ["late", "0"] + ["–"] * 10  # noqa: RUF001


def test_a_figure_the_platform_does_not_tell_is_not_zero(tmp_path):
    run = synthetic.record({}, 0, 0.9)
    run = dataclasses.replace(run, cost=dataclasses.replace(run.cost, compiled_bytes=None))
    synthetic.write(tmp_path, synthetic.plan({}, [run]), run)
    render(tmp_path)
    [header, row] = table_rows((tmp_path / "made_up" / "table.md").read_text())
    assert row[header.index("compiled")] == "n/a"


def test_csv_has_exact_fractions_and_bytes(results):
    render(results)
    with open(results / "made_up" / "table.csv", newline="") as file:
        none, norm, late = csv.DictReader(file)
    assert float(none["test_accuracy.mean"]) == pytest.approx(0.901, abs=1e-15)
    assert float(none["last_test_accuracy.mean"]) == pytest.approx(0.897, abs=1e-15)
    assert [none[f"cost.{part}_bytes"] for part in ("parameters", "gradients", "optimizer", "activations")] == [
        "4938268", "4938268", "9876544", "30000000"]
    assert (none["cost.memory_estimate_bytes"], none["cost.measured_peak_bytes"]) == ("49753080", "")
    assert (norm["runs.diverged"], norm["runs.missing"], norm["test_accuracy.low"]) == ("1", "1", "")
    assert (late["runs.done"], late["runs.oom"]) == ("0", "1")
    assert (late["test_accuracy.mean"], late["cost.parameters"]) == ("", "")


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_whole_terminal_report_is_whole_at_any_usual_width(results, width):
    text = plain(render(results, width=width, full=True)[1]).split("Page: ")[0]  # what follows are paths, never wrapped
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert text.startswith("made_up: Does it help?")
    for shown in ("90.10 [89.85, 90.35]", "+1.00 [n/a]", "baseline", "1.23 M", "47.4 MiB", "13.2 k", "1 diverged"):
        assert shown in text


def test_a_plan_without_records_is_reported_as_missing(tmp_path):
    runs = [synthetic.record({"a": level}, 0, 0.9) for level in ("x", "y")]
    synthetic.write(tmp_path, synthetic.plan({"a": ["x", "y"]}, runs))
    paths, terminal = render(tmp_path)
    assert sorted(path.name for path in paths[:-1]) == FILES
    assert "2 planned; 0 done, 2 missing (x: 1; y: 1)" in plain(terminal)


def test_an_unknown_name_lists_those_with_records(results):
    with pytest.raises(ReportError, match=r'no records of "none" in .*; there are records of: made_up$'):
        render(results, "none")


def test_an_empty_folder_names_the_command_that_fills_it(tmp_path):
    with pytest.raises(ReportError, match=r"python -m harness\.run --ablation="):
        render(tmp_path / "absent")


def test_an_ablation_of_which_nothing_can_be_read_is_named_and_has_no_table(tmp_path):
    run = synthetic.record({}, 0, 0.9)
    path = synthetic.write(tmp_path, None, run).run(synthetic.run_id(run)) / "record.json"
    path.write_text("{")
    with pytest.raises(RecordError, match=re.escape(str(path))):
        render(tmp_path)
    assert not (tmp_path / "made_up" / "table.md").exists()


def test_a_run_without_its_curve_counts_and_the_curve_is_missed(results):
    path = results / "made_up" / "runs" / "regularizer=none,seed=1" / "curve.csv"
    path.unlink()
    with pytest.raises(ReportError, match=re.escape(str(path))):
        render(results)
    assert table_rows((results / "made_up" / "table.md").read_text())[1][1] == "3"


def test_importing_defines_no_flags():
    code = ("from absl import app, flags\nbefore = set(flags.FLAGS)\nimport harness.report\n"
            "print(set(flags.FLAGS) - before)")
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"


def test_the_program_imports_neither_jax_nor_models(results):
    code = ("import runpy, sys\n"
            "try: runpy.run_module('harness.report', run_name='__main__', alter_sys=True)\n"
            "except SystemExit as stop: assert not stop.code, stop.code\n"
            "print('IMPORTED', sorted({name.split('.')[0] for name in sys.modules}"
            " & {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'models', 'ablations', 'tensorflow'}))")
    done = subprocess.run([sys.executable, "-c", code, f"--results_dir={results}"], capture_output=True, text=True,
                          cwd=ROOT, check=False)
    assert done.stdout.splitlines()[-1] == "IMPORTED []", done.stderr
    assert "90.10 [89.85, 90.35]" in done.stdout


@pytest.mark.parametrize(("args", "line"), [
    (["--nope"], "nope"),
    (["stray"], 'unexpected argument "stray"'),
    (["--ablation=none"], "there are records of: made_up"),
    (["--metric=accuracy"], "--metric=accuracy must be one of train_loss, train_accuracy, validation_loss"),
    (["--select=best"], "--select=best must be one of best_validation, last"),
    (["--baseline=nome"], "--baseline=nome must be one of regularizer=none; regularizer=norm; regularizer=late"),
])
def test_a_mistake_is_one_line_and_fails(results, args, line):
    failed = commands.here().run("harness.report", f"--results_dir={results}", *args)
    assert failed.returncode in (1, 2)
    assert line in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert failed.stdout == ""


def test_a_mixture_stops_the_report(results):
    elsewhere = dataclasses.replace(synthetic.ENVIRONMENT, device="NVIDIA H200")
    synthetic.write(results, None, synthetic.record({"regularizer": "norm"}, 2, 0.9, environment=elsewhere))
    with pytest.raises(MixtureError, match=r"environment\.device"):
        render(results)


def test_another_view_has_files_of_its_own(results):
    render(results)
    before = {path: path.read_bytes() for path in (results / "made_up").iterdir() if path.is_file()}
    paths, terminal = render(results, view=View(baseline="regularizer=norm", metric="test_loss", select="last"))
    assert sorted(path.name for path in paths) == [
        f"table,baseline=regularizer=norm,metric=test_loss,select=last.{kind}" for kind in ("csv", "md", "tex")]
    assert {path: path.read_bytes() for path in before} == before
    assert "test loss" in plain(terminal)
    assert "0.3100" in paths[0].read_text()


def test_a_metric_of_ones_own_is_a_column_and_a_view_and_n_a_where_it_has_no_value(results):
    for seed in range(3):
        (results / f"made_up/runs/regularizer=none,seed={seed}/scores.json").write_text(f'{{"kappa": 0.5{seed}}}')
    render(results)
    header, none, norm, late = table_rows((results / "made_up/scores.md").read_text())
    place = header.index("kappa [95 % CI]")
    assert [row[place] for row in (none, norm, late)] == ["0.5100 [0.4852, 0.5348]", "n/a", "–"]  # noqa: RUF001
    assert none[header.index("macro F1 % [95 % CI]")] == "n/a"
    paths, _ = render(results, view=View(metric="kappa", own_metrics=("kappa",)))
    table = next(path for path in paths if path.suffix == ".md").read_text()
    assert [row[2] for row in table_rows(table)] == [
        "kappa [95 % CI]", "0.5100 [0.4852, 0.5348]", "n/a", "–"]  # noqa: RUF001
    assert "kappa is known of 3 of 4 done runs, over which alone it is averaged." in table


def test_a_baseline_belongs_to_one_ablation(results):
    synthetic.write(results, None, synthetic.record({"a": "x"}, 0, 0.9, ablation="other"))
    with pytest.raises(ReportError, match="--baseline=x needs --ablation=NAME, one of: made_up, other"):
        render(results, view=View(baseline="x"))
    with pytest.raises(ViewError, match="must be one of a=x"):
        render(results, "other", view=View(baseline="y"))


def test_ones_own_records_hide_the_shipped_ones_of_the_same_name_and_it_is_told(tmp_path, monkeypatch):
    """Each ablation is taken from the first folder that has it; nothing of both is ever in one table."""
    monkeypatch.chdir(tmp_path)
    for where, names in (("my_results", ("both", "mine")), ("results", ("both", "shipped"))):
        for name in names:
            run = synthetic.record({}, 0, 0.9 if where == "results" else 0.8, ablation=name)
            synthetic.write(tmp_path / where, synthetic.plan({}, [run]), run)
    console = Console(file=io.StringIO(), width=120)
    paths = report(["my_results", "results"], [], console, kept="results")
    told = console.file.getvalue()
    assert [str(path.relative_to(tmp_path)) for path in paths if path.name in ("table.md", "index.html")] == [
        "my_results/both/table.md", "my_results/mine/table.md", "results/index.html",
        "my_results/index.html"]
    assert "80.00" in (tmp_path / "my_results/both/table.md").read_text()
    assert "results/both has other records, not shown: --results_dir=results --ablation=both does" in told
    assert told.endswith("All of them: results/index.html\nAll of them: my_results/index.html\n\n")
    assert not (tmp_path / "results/both/report.html").exists()
    assert {path.name for path in (tmp_path / "results/shipped").iterdir()} == {"plan.json", "runs", "report.html"}
    report(["my_results", "results"], ["both"], console, View(baseline="baseline"))
    with pytest.raises(ReportError, match=r'no records of "none" in my_results or results; .* both, mine, shipped$'):
        report(["my_results", "results"], ["none"], console)


def watch(event, arguments):
    """Hears of every file that this process opens to read; a hook stays for good."""
    reading = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if watched and reading and isinstance(arguments[0], str | bytes):
        watched[0](pathlib.Path(os.fsdecode(arguments[0])))


watched: list = []
sys.addaudithook(watch)


def test_a_report_reads_each_file_once(tmp_path):
    """With its pictures, page and index."""
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.01 * seed) for level in "xy" for seed in range(2)]
    folder = synthetic.write(tmp_path, synthetic.plan({"a": ["x", "y"]}, runs), *runs, with_predictions=True)
    read = collections.Counter()
    watched.append(lambda path: read.update([path.relative_to(folder.path)]) if folder.path in path.parents else None)
    try:
        render(tmp_path)
    finally:
        watched.clear()
    runs_read = {path for path in read if path.parts[0] == "runs"}
    assert {path.name for path in runs_read} == {"record.json", "predictions.npz", "curve.csv"}
    assert len(runs_read) == 3 * len(runs)
    assert {path: number for path, number in read.items() if number > 1 and path.suffix != ".png"} == {}


@pytest.fixture(params=[Claim("a notebook", "macro_recall", 0.9, "at_least", state="best_validation"),
                        Claim("a notebook", "smallest_test_class", 1000)], ids=lambda claim: claim.metric)
def two_ablations(request, tmp_path):
    """One whose source claims what only predictions tell, and one without claims."""
    for name, claims in (("claimed", [request.param]), ("plain", [])):
        runs = [synthetic.record({}, seed, 0.95 + 0.01 * seed, ablation=name) for seed in range(3)]
        plan = dataclasses.replace(synthetic.plan({}, runs, claims=claims), ablation=name)
        synthetic.write(tmp_path, plan, *runs, with_predictions=True)
    return tmp_path


def test_the_index_says_the_same_of_an_ablation_whichever_was_asked_for(two_ablations):
    for name, claimed in (("claimed", "cell by cell, 1 holds"), ("plain", "")):
        loaded = Loaded(records.Folder(two_ablations, name))
        asked_for = summarize(name, loaded.plan, loaded.records, View(), loaded.predictions)
        assert cells.answer(_entry(loaded.folder).summary) == cells.answer(asked_for)
        assert claimed in " ".join(cells.answer(asked_for))


def test_an_ablation_that_was_not_asked_for_has_predictions_compared_only_where_a_claim_needs_them(
        two_ablations, monkeypatch):
    read = []
    whole = Loaded.predictions.func
    monkeypatch.setattr(Loaded, "predictions", property(
        lambda loaded: read.append(loaded.folder.ablation) or whole(loaded)))
    entries = [_entry(records.Folder(two_ablations, name)) for name in ("claimed", "plain")]
    assert read == ["claimed"]
    assert [entry.summary.claims[0].verdict if entry.summary.claims else None for entry in entries] == ["holds", None]
