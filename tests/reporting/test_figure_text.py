"""No text of any picture is clipped, lies over another, or lacks letters, whatever the classes and cells are called."""

import dataclasses

import canvas
import numpy as np
import pytest
import synthetic

from harness.analysis import predictions
from harness.analysis.summarize import summarize
from harness.reporting.figures import cells, curves, fonts, images, matrix, outcomes, pareto

LONG = "a name of forty characters, as some have"
JAPANESE = "半袖のシャツと長い名前の上着"
NAMES = {"short": lambda number: chr(97 + number % 26) + str(number // 26 or ""),
         "long": lambda number: f"{LONG[:-3]}{number:3}", "japanese": lambda number: f"{JAPANESE}{number}"}


def faults(draw):
    return canvas.faults(canvas.composed(draw))


def names(kind, number):
    return [NAMES[kind](place) for place in range(number)]


def ablation(kind, number):
    """Invents cells whose costs and scores lie close together, in places on one another."""
    runs = []
    for place, name in enumerate(names(kind, number)):
        for seed in range(2):
            run = synthetic.record({"a": name}, seed, 0.9 + 0.002 * (place % 7) + 0.001 * seed)
            cost = dataclasses.replace(
                run.cost, parameters=1_000_000 * (1 + place % 9), macs_per_example=50_000 << place % 5,
                memory_estimate_bytes=2**20 * (1 + place // 7))
            runs.append(dataclasses.replace(run, cost=cost))
    plan = synthetic.plan({"a": list(dict.fromkeys(run.labels["a"] for run in runs))}, runs)
    summary = summarize("made_up", plan, synthetic.as_read(*runs))
    drawn = {row.cell: [synthetic.curve(run) for run in runs if run.cell == row.cell] for row in summary.rows}
    return summary, drawn, {row.cell: [0.9, 0.91] for row in summary.rows}


def counts(classes):
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(classes), 1000 if classes <= 10 else 20)
    return np.stack([predictions.confusion(
        label=label, predicted=np.where(rng.random(len(label)) < 0.8, label, rng.integers(0, classes, len(label))),
        classes=classes) for _ in range(2)])


def titles(kind):
    return [f"{NAMES[kind](0)} (baseline, n=2)", f"{NAMES[kind](1)} (highest mean, n=2)"]


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("classes", [2, 10, 30, 100])
@pytest.mark.parametrize("draw", [matrix.confusion, outcomes.predicted_classes])
def test_pictures_of_classes(draw, classes, kind):
    panels = dict.fromkeys(titles(kind), counts(classes))
    assert faults(lambda: draw(panels, names(kind, classes))) == ([], [])


@pytest.mark.parametrize("kind", NAMES)
def test_calibration(kind):
    seed = predictions.reliability(np.repeat([0.25, 0.55, 0.95], [2, 40, 40]), np.arange(82) >= 22)
    assert faults(lambda: outcomes.calibration({key: [seed, seed] for key in titles(kind)})) == ([], [])


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(("classes", "number"), [(2, 3), (10, 25), (100, 75)])
def test_pictures_of_images(classes, number, kind):
    rng = np.random.default_rng(0)
    label = np.arange(number) % classes
    shown = {"images": np.zeros((number, 4, 4, 1), np.uint8), "label": label,
             "predicted": (label + rng.integers(1, classes, number)) % classes,
             "probability": np.linspace(0.2, 1, number)}
    pairs = dict.fromkeys(zip(label, shown["predicted"], strict=True), "1,000 of 1,000")
    first = {name: values[:25] for name, values in shown.items()}
    assert faults(lambda: images.test_images(**first, classes=names(kind, classes))) == ([], [])
    assert faults(lambda: images.mispredictions(**shown, pairs=pairs, classes=names(kind, classes))) == ([], [])


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("number", [1, 5, 9, pytest.param(60, marks=pytest.mark.slow)])
def test_pictures_of_cells(number, kind):
    summary, drawn, accuracies = ablation(kind, number)
    assert faults(lambda: cells.effects(summary, accuracies)) == ([], [])
    assert faults(lambda: curves.learning_curves(summary, drawn, "loss")) == ([], [])
    assert faults(lambda: curves.contrast(summary, summary.rows[:2], drawn)) == ([], [])
    if number > 1:
        assert faults(lambda: pareto.pareto(summary)) == ([], [])


@pytest.mark.parametrize(("low", "high"), [(0.28, 0.46), (0.1, 2), (1e-4, 2.3), (1e-7, 3)])
def test_a_loss_axis_has_a_few_ticks_whatever_it_spans(low, high):
    summary, drawn, _ = ablation("short", 5)
    for of_cell in drawn.values():
        for curve in of_cell:
            for split in ("train", "validation"):
                curve[f"{split}_loss"] = np.geomspace(high, low, len(curve))
    for draw in (lambda: curves.learning_curves(summary, drawn, "loss"),
                 lambda: curves.contrast(summary, summary.rows[:2], drawn)):
        figure = canvas.composed(draw)
        assert canvas.faults(figure) == ([], [])
        bottom, top = figure.axes[-1].get_ylim()
        assert 3 <= sum(bottom <= tick <= top for tick in figure.axes[-1].get_yticks()) <= 10


def test_a_cell_that_hardly_learns_does_not_flatten_the_curves_of_the_others():
    summary, drawn, _ = ablation("short", 9)
    first, *_ = curves.learning_curves(summary, drawn, "accuracy").axes
    assert first.get_ylim()[0] < 75, "the first epochs of all are in view"
    for curve in drawn[summary.rows[4].cell]:
        curve[["train_accuracy", "validation_accuracy"]] = 0.1
    figure = canvas.composed(lambda: curves.learning_curves(summary, drawn, "accuracy"))
    assert canvas.faults(figure) == ([], [])
    assert 50 < figure.axes[0].get_ylim()[0] < 75
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["▼ ends at 10.0 %"]


@pytest.mark.parametrize("cells", [5, 40])
def test_nor_where_all_cells_share_their_axes(cells):
    summary, drawn, _ = ablation("short", cells)
    for curve in drawn[summary.rows[2].cell]:
        curve[["train_accuracy", "validation_accuracy"]] = 0.1
    figure = curves.learning_curves(summary, drawn, "accuracy")
    assert {50 < axes.get_ylim()[0] < 75 for axes in figure.axes} == {True}
    assert curves.below(drawn) == {summary.rows[2].cell: pytest.approx(10.0)}


@pytest.mark.slow
def test_a_panel_for_each_of_36_cells_of_long_names():
    summary, drawn, _ = ablation("long", 36)
    assert faults(lambda: curves.learning_curves(summary, drawn, "accuracy")) == ([], [])


def test_what_no_font_has_is_named_by_its_code_point(monkeypatch):
    assert fonts.drawable("a\U00013000") == "a<U+13000>"
    monkeypatch.setattr(fonts, "families", lambda: ("DejaVu Sans",))
    with fonts.matplotlib.rc_context():
        assert fonts.drawable("あ 1") == "<U+3042> 1"
    found = counts(2)
    assert faults(lambda: matrix.confusion({"あ": found}, ["半袖", "長い"])) == ([], [])


def test_a_name_too_long_keeps_both_ends_and_fits():
    shown = fonts.fit(LONG, 1.0, 8)
    assert fonts.width(shown, 8) <= 1.0
    start, end = shown.split("…")
    assert LONG.startswith(start)
    assert LONG.endswith(end)
    assert len(start) >= 4
    assert len(end) >= 4


def test_a_name_of_two_lines_is_broken_between_words():
    first, second = fonts.wrap(LONG, 1.6, 8).split("\n")
    assert LONG.startswith(first + " ")
    assert fonts.width(second, 8) <= 1.6
