import csv
import dataclasses
import io
import pathlib
import re
import subprocess
import sys

import pytest
import synthetic
from absl import flags
from markdown_it import MarkdownIt
from rich.console import Console

from harness import plots, tables
from harness.records import RecordError
from harness.report import ReportError, report
from harness.summary import MixtureError, summarize

FILES = ["curves_accuracy.png", "curves_loss.png", "report.html", "table.csv", "table.md", "table.tex"]
HOSTILE = ["a|b`c`", "<script>alert(1)</script>", "[x](http://e)", "=SUM(A1)", "[bold red]no", "$\\frac{$",
           "\x1b[31mred", "two\nlines", "100% \\input{x} #_^~&{}", "@now", "_start", "+1", "-1"]


def render(results_dir, *names, width=120):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False)
    return report(str(results_dir), names, console), console.file.getvalue()


def plain(terminal):
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal)


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
    assert sorted(path.name for path in paths[:-1]) == FILES
    assert paths[-1] == results / "index.html"
    assert plain(terminal).rstrip().endswith(f"Open in a browser:\n{results}/made_up/report.html\n{results}/index.html")
    assert all(path.is_file() and str(path) in plain(terminal) for path in paths)
    assert {path.name for path in (results / "made_up").iterdir()} == {*FILES, "plan.json", "runs"}


def test_same_records_give_the_same_bytes(results):
    first = {path: path.read_bytes() for path in render(results)[0]}
    for path in first:
        path.unlink()
    assert {path: path.read_bytes() for path in render(results, width=80)[0]} == first


def test_single_and_absent_runs_show_as_such(results):
    render(results)
    rows = (results / "made_up" / "table.md").read_text().splitlines()[4:7]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0] == ["none", "3", "90.10 [89.85, 90.35]", "91.10", "baseline", "1.23 M", "13.3 M", "47.4 MiB",
                        "143 MiB", "13.2 k", "3.25", "42.5"]
    assert cells[1][:5] == ["norm", "1", "91.00 [n/a]", "92.00", "+1.00 [n/a]"]
    assert cells[2] == ["late", "0"] + ["–"] * 10  # noqa: RUF001


def test_a_figure_the_platform_does_not_tell_is_not_zero(tmp_path):
    run = synthetic.record({}, 0, 0.9)
    run = dataclasses.replace(run, cost=dataclasses.replace(run.cost, compiled_bytes=None))
    synthetic.write(tmp_path, synthetic.plan({}, [run]), run)
    render(tmp_path)
    row = (tmp_path / "made_up" / "table.md").read_text().splitlines()[4]
    assert row.split(" | ")[8] == "n/a"


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
def test_the_terminal_table_is_whole_at_any_usual_width(results, width):
    text = plain(render(results, width=width)[1]).split("\n\n/")[0]  # what follows are paths, never wrapped
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert text.startswith("made_up: Does it help?")
    for shown in ("90.10 [89.85, 90.35]", "+1.00 [n/a]", "baseline", "1.23 M", "47.4 MiB", "13.2 k", "1 diverged"):
        assert shown in text


def test_strings_from_records_are_inert(tmp_path):
    runs = [synthetic.record({"[b]=f|": text}, 0, 0.9 + 0.001 * place, epochs=2, question=" ".join(HOSTILE),
                             dataset=dataclasses.replace(synthetic.DATASET, warnings=(text,)))
            for place, text in enumerate(HOSTILE)]
    folder = synthetic.write(tmp_path, synthetic.plan({"[b]=f|": HOSTILE}, runs, " ".join(HOSTILE)), *runs)
    _, terminal = render(tmp_path, width=200)

    assert "[bold red]no" in plain(terminal)
    assert "\x1b[31m" not in terminal

    tokens = MarkdownIt().enable("table").parse((folder.path / "table.md").read_text())
    inline = [token.children or [] for token in tokens if token.type == "inline"]
    assert {child.type for children in inline for child in children} <= {"text", "text_special", "strong_open",
                                                                        "strong_close"}
    shown = ["".join(child.content for child in children) for children in inline]
    assert shown[0] == " ".join(map(tables.printable, HOSTILE))
    assert shown[1:2] + shown[1 + 12::12][:len(HOSTILE)] == ["[b]=f|", *map(tables.printable, HOSTILE)]

    cells = list(csv.reader(io.StringIO((folder.path / "table.csv").read_text())))
    assert len(cells) == 1 + len(HOSTILE)
    assert not [cell for row in cells for cell in row[:2] if cell.startswith(("=", "+", "-", "@"))]

    check_latex((folder.path / "table.tex").read_text())


def check_latex(text):
    """Stands in for a compiler: environments and braces close, rows have their cells, nothing special is left."""
    body = re.sub(r"^%.*\n", "", text)
    assert re.findall(r"\\begin{(\w+)}", body) == ["table", "tabular", "tabular"]
    assert len(re.findall(r"\\end{(\w+)}", body)) == 3
    for kind in ("toprule", "midrule", "bottomrule"):
        assert body.count(f"\\{kind}\n") == 2
    bare = re.sub(r"\\[\\{}$&#_%]", lambda found: found[0] if found[0] == r"\\" else "", body)
    assert bare.count("{") == bare.count("}")
    assert not set(re.findall(r"[#%_^~<>]", bare))
    assert bare.count("$") == 2 * bare.count("$-$")
    assert not re.search(r"\\\\\s*[\[*]", bare)
    known = ("begin|end|centering|footnotesize|setlength|tabcolsep|caption|toprule|midrule|bottomrule|par|medskip|"
             "textbf|textbackslash|textasciicircum|textasciitilde|textless|textgreater")
    assert set(re.findall(r"\\([a-z]+)", bare)) <= set(known.split("|"))
    for columns, rows in re.findall(r"\\begin{tabular}{(\w+)}\n(.*?)\\end{tabular}", bare, flags=re.DOTALL):
        for line in rows.splitlines():
            if not re.fullmatch(r"\\\w+rule", line):
                assert line.endswith(r" \\")
                assert line.count("&") == len(columns) - 1


def test_latex_is_well_formed(results):
    render(results)
    check_latex((results / "made_up" / "table.tex").read_text())


def test_a_sure_best_is_bold_in_every_table():
    runs = [synthetic.record({"a": level}, seed, value + 0.001 * seed * (level == "y")) for level, value in
            {"x": 0.8, "y": 0.9}.items() for seed in range(3)]
    summary = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    assert "**90.10 [89.85, 90.35]**" in tables.markdown(summary)
    assert r"\textbf{90.10 {[}89.85, 90.35{]}}" in tables.latex(summary)
    assert tables.markdown(summary).count("**9") + tables.markdown(summary).count("**8") == 1


def test_numbers_print_with_three_digits_and_units():
    assert [tables.count(value) for value in (7, 999, 1000, 12_345, 1_234_567, 2.5e9)] == [
        "7", "999", "1.00 k", "12.3 k", "1.23 M", "2.50 G"]
    assert [tables.size(value) for value in (512, 1024, 47 * 1024**2, 3 * 1024**4)] == [
        "512 B", "1.00 KiB", "47.0 MiB", "3.00 TiB"]


@pytest.mark.parametrize("cells", [1, 6, 7, 20])
def test_every_number_of_cells_is_drawn_and_labelled(cells, monkeypatch):
    runs = [synthetic.record({"size": f"{cell:02}"}, seed, 0.9) for cell in range(cells) for seed in range(2)]
    plan = synthetic.plan({"size": sorted({run.labels["size"] for run in runs})}, runs)
    summary = summarize("made_up", plan, synthetic.as_read(*runs))
    curves = {row.cell: [synthetic.curve(run) for run in runs if run.cell == row.cell] for row in summary.rows}
    del curves[summary.rows[-1].cell]
    texts = []
    save = plots.Figure.savefig

    def look(figure, *args, **kwargs):
        texts.extend(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))
        save(figure, *args, **kwargs)

    monkeypatch.setattr(plots.Figure, "savefig", look)
    assert plots.learning_curves(summary, curves, "accuracy").startswith(b"\x89PNG")
    for row in summary.rows:
        assert any(text.startswith(f"{row.label} (n={2 if row.cell in curves else 0})") for text in texts)


def test_curves_draw_the_mean_with_a_band_only_above_one_seed(monkeypatch):
    runs = [synthetic.record({"a": "x"}, seed, 0.9, epochs=4 + seed) for seed in range(2)]
    runs.append(synthetic.record({"a": "y"}, 0, 0.8, epochs=6))
    summary = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    two, one = [synthetic.curve(run) for run in runs[:2]], [synthetic.curve(runs[2])]
    seen = []
    monkeypatch.setattr(plots.Figure, "savefig", lambda figure, *_, **__: seen.append(figure))
    plots.learning_curves(summary, {"a=x": two, "a=y": one}, "loss")
    validation = seen[0].axes[1]
    mean = (two[0]["validation_loss"] + two[1]["validation_loss"][:4]) / 2
    assert validation.lines[0].get_ydata() == pytest.approx(mean[:4].to_numpy(), abs=1e-12)
    assert validation.lines[1].get_ydata() == pytest.approx(one[0]["validation_loss"].to_numpy(), abs=1e-12)
    assert len(validation.collections) == 1
    assert "to the last epoch that all seeds reached" in seen[0].get_suptitle()


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


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"cell": 1}'])
def test_a_damaged_record_is_named(results, content):
    path = results / "made_up" / "runs" / "regularizer=none,seed=1" / "record.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=re.escape(str(path))):
        render(results)
    assert not (results / "made_up" / "table.md").exists()


@pytest.mark.parametrize("content", ["", "epoch\n1\n", None])
def test_a_damaged_curve_is_named(results, content):
    path = results / "made_up" / "runs" / "regularizer=none,seed=1" / "curve.csv"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RecordError, match="regularizer=none,seed=1"):
        render(results)


def test_importing_defines_no_flags():
    assert "ablation" not in flags.FLAGS


def program(*args):
    root = pathlib.Path(__file__).parents[1]
    return subprocess.run([sys.executable, *args], cwd=root, capture_output=True, text=True, timeout=60, check=False)


def test_the_program_imports_neither_jax_nor_models(results):
    code = ("import runpy, sys\n"
            "try: runpy.run_module('harness.report', run_name='__main__', alter_sys=True)\n"
            "except SystemExit as stop: assert not stop.code, stop.code\n"
            "print('IMPORTED', sorted({name.split('.')[0] for name in sys.modules}"
            " & {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'models', 'ablations', 'tensorflow'}))")
    done = program("-c", code, f"--results_dir={results}")
    assert done.stdout.splitlines()[-1] == "IMPORTED []", done.stderr
    assert "90.10 [89.85, 90.35]" in done.stdout


@pytest.mark.parametrize(("args", "line"), [
    (["--nope"], "nope"),
    (["stray"], 'unexpected argument "stray"'),
    (["--ablation=none"], "there are records of: made_up"),
])
def test_a_mistake_is_one_line_and_fails(results, args, line):
    failed = program("-m", "harness.report", f"--results_dir={results}", *args)
    assert failed.returncode in (1, 2)
    assert line in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert failed.stdout == ""


def test_a_mixture_stops_the_report(results):
    elsewhere = synthetic.ENVIRONMENT | {"device": "NVIDIA H200"}
    synthetic.write(results, None, synthetic.record({"regularizer": "norm"}, 2, 0.9, environment=elsewhere))
    with pytest.raises(MixtureError, match=r"environment\.device"):
        render(results)
