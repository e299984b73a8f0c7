import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import synthetic
import synthetic_outcomes
from markdown_it import MarkdownIt
from place import ROOT

from harness.analysis.summarize import summarize
from harness.records.configs import config_hash
from harness.records.loaded import Loaded
from harness.reporting import answer
from harness.reporting.figures import figures
from harness.reporting.figures.style import Picture

ALL = ["curves_accuracy", "curves_loss", "baseline_vs_best", "effects", "pareto", "confusion", "predicted_classes",
       "calibration", "test_images", "mispredictions", "weights", "filters"]
HOSTILE = ["$\\frac{$", "<script>alert(1)</script>", "two\nlines", "\x1b[31mred", "a|b`c`", "[x](http://e)", "\u3042",
           "=1+1", "x" * 200, "![y](z)"]


@pytest.fixture
def unrendered(monkeypatch):
    """Has pictures composed as ever, but not rendered, which is what takes time."""
    def compose(draw, *, vector, pdf):
        draw()
        return Picture(b"\x89PNG", b"%PDF" if vector and pdf else None)
    monkeypatch.setattr("harness.reporting.figures.style.render", compose)


def material(results_dir, *runs, factors=None, **kept):
    factors = factors or {name: list(dict.fromkeys(run.labels[name] for run in runs)) for name in runs[0].labels}
    folder = synthetic.write(results_dir, synthetic.plan(factors, list(runs)), *runs)
    synthetic_outcomes.write(folder, *runs, **kept)
    return read(folder)


def read(folder):
    loaded = Loaded(folder)
    return loaded, summarize(folder.ablation, loaded.plan, loaded.records)


def three_cells(**changes):
    runs = [synthetic.record({"regularizer": level}, seed, 0.85 + 0.03 * place + 0.002 * seed * (place + 1), **changes)
            for place, level in enumerate(("none", "norm")) for seed in range(2)]
    runs[2:] = [costing(run, 2000) for run in runs[2:]]
    return [*runs, synthetic.record({"regularizer": "late"}, 0, None, status="diverged", **changes)]


def costing(run, parameters):
    return dataclasses.replace(run, cost=dataclasses.replace(run.cost, parameters=parameters))


def by_name(drawn):
    return {figure.name: figure for figure in drawn}


def drawn_already(names):
    return dict.fromkeys(names, Picture(b"\x89PNG", b"%PDF"))


def captions(given):
    """What is said of each picture, which is not drawn."""
    return {figure.name: figure.caption for figure in figures.draw(*given, kept=drawn_already(ALL))[0]}


def test_all_pictures_are_drawn_with_captions_and_the_same_bytes_again(tmp_path):
    given = material(tmp_path, *three_cells())
    first, left_out = figures.draw(*given, pdf=True)
    assert [figure.name for figure in first] == ALL
    assert left_out == {}
    assert all(figure.png.startswith(b"\x89PNG") for figure in first)
    assert [figure.name for figure in first if figure.pdf] == ALL[:8]
    assert all(figure.caption.endswith(".") and len(figure.caption) > 60 for figure in first)
    again = figures.draw(*read(given[0].folder))[0]
    assert [figure.png for figure in again] == [figure.png for figure in first]
    assert not any(figure.pdf for figure in again)
    assert sum(len(figure.png) for figure in first) < 600_000


def test_captions_state_the_answer(tmp_path):
    given = material(tmp_path, *three_cells())
    told = captions(given)
    assert answer.lead(given[1]) in told["confusion"]
    assert "norm (highest mean, n=2) " in told["calibration"] or "norm (best, n=2) " in told["calibration"]
    assert "by norm, seed 0" in told["test_images"]
    assert "of dense_2, the first 41 of its 256 units" in told["weights"]
    known = given[0].predictions["regularizer=norm,seed=0"]
    wrong = int(np.sum(known["predicted"][:25] != known["label"][:25]))
    assert f"the wrong ones, {wrong};" in told["test_images"]


def test_a_lead_within_its_interval_is_no_best(tmp_path):
    runs = [synthetic.record({"a": level}, seed, value) for level, values in
            {"x": (0.80, 0.84), "y": (0.81, 0.84)}.items() for seed, value in enumerate(values)]
    given = material(tmp_path, *runs)
    assert not any(row.is_best for row in given[1].rows)
    caption = captions(given)["confusion"]
    assert "Highest mean: y, 82.50" in caption
    assert "not clearly ahead of x." in caption


def test_the_best_is_shown_beside_the_baseline_and_the_baseline_beside_the_next(tmp_path):
    runs = [synthetic.record({"a": level}, seed, value) for level, value in
            {"low": 0.80, "top": 0.90, "next": 0.85}.items() for seed in range(2)]
    for levels, expected in ((["low", "top", "next"], "low (baseline, n=2), and of top (highest mean, n=2)"),
                             (["top", "low", "next"], "top (baseline, highest mean, n=2), and of next (n=2)")):
        given = material(tmp_path / levels[0], *runs, factors={"a": levels})
        assert expected in captions(given)["baseline_vs_best"]


def test_an_ablation_of_one_cell_has_what_needs_no_other(tmp_path):
    given = material(tmp_path, synthetic.record({}, 0, 0.9))
    drawn, left_out = figures.draw(*given)
    assert list(left_out) == ["baseline_vs_best", "pareto"]
    assert [figure.name for figure in drawn] == [name for name in ALL if name not in (
        "baseline_vs_best", "pareto")]


def test_without_a_done_run_nothing_is_drawn(tmp_path):
    folder = synthetic.write(tmp_path, synthetic.plan({"a": ["x"]}, []), synthetic.record(
        {"a": "x"}, 0, None, status="oom"))
    assert figures.draw(*read(folder)) == ([], dict.fromkeys(ALL, "no run is done"))


def test_old_folders_have_what_their_records_allow_and_the_reasons(tmp_path, unrendered):
    runs = three_cells()
    folder = material(tmp_path, *runs)[0].folder
    for path in folder.path.glob("runs/*/*.npz"):
        with np.load(path) as stored:
            old = {name: stored[name] for name in stored.files if name != "label"}
        path.unlink()
        if path.name == "predictions.npz":
            np.savez(path, **old)
    drawn, reasons = figures.draw(*read(folder))
    assert [figure.name for figure in drawn] == ALL[:5]
    assert set(reasons) == set(ALL[5:])
    assert "true classes" in reasons["confusion"]
    assert "exhibits.npz" in reasons["weights"]


@pytest.mark.parametrize(("file", "damage", "missing"), [
    ("predictions.npz", None, ALL[5:10]),
    ("predictions.npz", {"label": np.arange(500)}, ALL[5:10]),
    ("predictions.npz", {"label": np.arange(3) % 2}, ALL[5:10]),
    ("predictions.npz", {"probability": np.ones(3)}, ALL[5:10]),
    ("exhibits.npz", None, ALL[8:]),
    ("exhibits.npz", {"image": np.zeros((2, 28, 28, 1), np.uint8)}, ALL[8:10]),
    ("exhibits.npz", {"index": np.full(75, 10_000)}, ALL[8:10]),
    ("exhibits.npz", {"trained": np.zeros((3, 2))}, ALL[10:]),
    ("exhibits.npz", {"trained": np.full((784, 41), np.inf)}, ALL[10:]),
    ("exhibits.npz", {"trained": np.zeros((3, 2)), "initial": np.zeros((3, 2))}, ALL[11:]),
])
def test_a_damaged_file_costs_its_pictures_alone(tmp_path, file, damage, missing):
    runs = three_cells()
    folder = material(tmp_path, *runs)[0].folder
    for path in folder.path.glob(f"runs/*/{file}"):
        if damage is None:
            path.write_bytes(b"PK\x03\x04 cut off")
        else:
            with np.load(path) as stored:
                np.savez(path, **(dict(stored) | damage))
    of_file = ALL[5:10] if file == "predictions.npz" else ALL[8:]
    drawn, left_out = figures.draw(*read(folder), kept=drawn_already(set(ALL) - set(of_file)))
    assert list(left_out) == missing
    assert [figure.name for figure in drawn] == [name for name in ALL if name not in missing]


def test_a_cell_whose_runs_kept_nothing_leaves_the_next(tmp_path):
    folder = material(tmp_path, *three_cells())[0].folder
    (folder.run("regularizer=norm,seed=0") / "exhibits.npz").unlink()
    caption = captions(read(folder))["test_images"]
    assert "by regularizer=none, seed 0" in caption


def test_a_hundred_classes_and_colour_images_and_a_convolution(tmp_path, unrendered):
    data = dataclasses.replace(synthetic.DATASET, class_names=tuple(f"class {number}" for number in range(100)),
                               image_shape=(32, 32, 3))
    given = material(tmp_path, *three_cells(dataset=data), kernel=(3, 3, 3, 32))
    drawn = by_name(figures.draw(*given)[0])
    assert list(drawn) == ALL
    assert "its 32 units" in drawn["filters"].caption


@pytest.mark.slow
def test_hostile_names_are_inert_in_pictures_and_captions(tmp_path):
    data = dataclasses.replace(synthetic.DATASET, class_names=tuple(HOSTILE))
    runs = [costing(synthetic.record({"a": label}, 0, 0.5 + 0.01 * place, dataset=data), 1000 * (1 + place))
            for place, label in enumerate(HOSTILE)]
    given = material(tmp_path, *runs)
    drawn, _ = figures.draw(*given)
    assert [figure.name for figure in drawn] == ALL
    assert all(figure.caption.isprintable() for figure in drawn)
    assert all(len(figure.caption) < 3000 for figure in drawn)
    page = figures.markdown(given[1], drawn, {})
    tokens = MarkdownIt("commonmark").parse(page)
    children = [child for token in tokens for child in token.children or []]
    assert {child.type for child in children} <= {"text", "text_special", "strong_open", "strong_close", "image",
                                                  "softbreak"}
    assert [child.attrs["src"] for child in children if child.type == "image"] == [f"{name}.png" for name in ALL]
    shown = "".join(child.content for child in children)
    assert HOSTILE[0] in shown
    assert HOSTILE[-1] in shown


def test_a_page_says_what_is_not_drawn():
    summary = summarize("made_up", None, synthetic.as_read(synthetic.record({}, 0, 0.9)))
    assert "- Not drawn, weights: no file.\n" in figures.markdown(summary, [], {"weights": "no file"})


def test_pictures_need_neither_jax_nor_models():
    code = ("import harness.reporting.files, sys; "
            "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'models')))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_of_several_baselines_the_best_cell_s_own_is_beside_it(tmp_path):
    """As where cells are compared within the levels of a factor."""
    runs = [synthetic.record({"net": net, "drop": drop}, seed, value) for (net, drop), value in
            {("mlp", "0"): 0.7, ("mlp", "1"): 0.75, ("cnn", "0"): 0.8, ("cnn", "1"): 0.9}.items() for seed in range(2)]
    plan = dataclasses.replace(synthetic.plan({"net": ["mlp", "cnn"], "drop": ["0", "1"]}, runs), within=("net",))
    loaded = Loaded(synthetic.write(tmp_path, plan, *runs))
    summary = summarize("made_up", loaded.plan, loaded.records, predictions=loaded.predictions)
    assert sum(row.is_baseline for row in summary.rows) == 2
    caption = captions((loaded, summary))["baseline_vs_best"]
    assert "net=cnn, drop=0 (baseline, n=2), and of net=cnn, drop=1 (" in caption


def test_the_highest_cell_is_named_inert_whatever_it_is_called(tmp_path):
    for place, label in enumerate(HOSTILE):
        runs = [synthetic.record({"a": name}, seed, value) for name, value in (("x", 0.8), (label, 0.9))
                for seed in range(2)]
        caption = captions(material(tmp_path / str(place), *runs))["baseline_vs_best"]
        assert caption.isprintable()
        assert (label if label.isprintable() and len(label) < 40 else label[-3:]) in caption


def test_classes_are_those_of_the_highest_cell_and_cells_on_other_data_are_left_out(tmp_path, unrendered):
    digits = dataclasses.replace(synthetic.DATASET, name="mnist", class_names=tuple("0123456"), test_examples=700)
    runs = [synthetic.record({"data": data}, seed, accuracy + 0.001 * seed, dataset=facts)
            for data, facts, accuracy in (("fashion", synthetic.DATASET, 0.85), ("mnist", digits, 0.97))
            for seed in range(2)]
    runs = [dataclasses.replace(run, config=(changed := run.config | {"dataset": run.dataset.name}),
                                config_hash=config_hash(changed)) for run in runs]
    given = material(tmp_path, *runs)
    told = captions(given)
    assert "data=fashion" not in told["confusion"]
    assert "Cells on data of other classes (1) are left out." in told["confusion"]
    assert by_name(figures.draw(*given)[0])["confusion"].png
