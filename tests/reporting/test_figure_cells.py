import dataclasses

import canvas
import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.summarize import summarize
from harness.reporting.figures import cells as plots_cells
from harness.reporting.figures import pareto

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def made_up(accuracies, parameters=None, seeds=3):
    runs = []
    for place, accuracy in enumerate(accuracies):
        for seed in range(seeds):
            run = synthetic.record({"a": f"{place:03}"}, seed, accuracy and accuracy + 0.001 * seed * (place + 1),
                                   status="done" if accuracy else "diverged")
            if parameters and run.cost:
                run = dataclasses.replace(run, cost=dataclasses.replace(run.cost, parameters=parameters[place]))
            runs.append(run)
    plan = synthetic.plan({"a": sorted({run.labels["a"] for run in runs})}, runs)
    summary = summarize("made_up", plan, synthetic.as_read(*runs))
    return summary, {row.cell: [run.best.test_accuracy for run in runs if run.cell == row.cell and run.best]
                     for row in summary.rows}


@given(POINTS)
def test_the_front_is_what_nothing_dominates_and_dominates_the_rest(points):
    front = pareto.pareto_front([cost for cost, _ in points], [accuracy for _, accuracy in points])

    def dominates(one, other):
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    for place, point in enumerate(points):
        assert front[place] == (not any(dominates(other, point) for other in points))
    for place, point in enumerate(points):
        assert front[place] or any(dominates(points[other], point) for other in np.flatnonzero(front))


def test_costs_are_counted_and_less_of_them_is_better():
    summary, _ = made_up([0.8, 0.9, 0.85], parameters=[1000, 3000, 4000])
    fronts = pareto.fronts(summary)
    assert {title: [row.label for row in rows] for title, rows in fronts.items()} == {"parameters": ["a=001", "a=000"]}


def test_speed_is_no_cost_however_it_differs():
    summary, _ = made_up([0.8, 0.9])
    rows = [dataclasses.replace(row, timing=dataclasses.replace(row.timing, throughput_examples_per_s=speed))
            for row, speed in zip(summary.rows, (300.0, 100.0), strict=True)]
    assert pareto.costs(dataclasses.replace(summary, rows=tuple(rows))) == {}


def test_a_cost_within_a_percent_is_the_same():
    assert pareto.costs(made_up([0.8, 0.9], parameters=[116_110, 116_510])[0]) == {}
    assert list(pareto.costs(made_up([0.8, 0.9], parameters=[116_110, 118_000])[0])) == ["parameters"]


def test_every_cell_is_named_and_the_front_is_joined():
    summary, _ = made_up([0.8, 0.9, 0.85, 0.86], parameters=[1000, 3000, 4000, 2000])
    figure = pareto.pareto(summary)
    [axes] = figure.axes
    assert {"a=000", "a=001", "a=002", "a=003"} <= set(texts(figure))
    joined = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert list(joined.get_xdata()) == [1000, 2000, 3000]
    assert np.all(np.diff(joined.get_ydata()) > 0)


def test_many_cells_have_numbers_and_a_key_that_names_each():
    numbers = range(1, 10)
    summary, _ = made_up([0.8 + 0.01 * number for number in numbers], parameters=[1000 * number for number in numbers])
    found = texts(pareto.pareto(summary))
    assert {f"{number}: a={9 - number:03}" for number in range(1, 10)} <= set(found)
    assert {str(number) for number in range(1, 10)} <= set(found)


@pytest.mark.parametrize(("parameters", "ticks"), [
    ([1_000_000, 2_300_000], {"1 M", "1.5 M", "2 M"}), ([112_000, 118_000], {"112 k", "114 k", "116 k", "118 k"}),
    ([20_000, 900_000], {"20 k", "50 k", "100 k", "200 k", "500 k"})])
def test_ticks_are_counts_with_a_unit(parameters, ticks):
    summary, _ = made_up([0.8, 0.9], parameters=parameters)
    [axes] = canvas.composed(lambda: pareto.pareto(summary)).axes
    low, high = axes.get_xlim()
    shown = {label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high}
    assert ticks <= shown
    assert "0" not in shown


def test_a_cell_far_below_is_an_arrow():
    summary, _ = made_up([0.90, 0.902, 0.901, 0.10], parameters=[2000, 3000, 4000, 1000])
    figure = pareto.pareto(summary)
    assert figure.axes[0].get_ylim()[0] > 80
    assert "a=003 ▼ 10.4" in texts(figure)


def test_effects_draw_each_estimate_and_seed():
    summary, accuracies = made_up([0.8, 0.83, None])
    figure = plots_cells.effects(summary, accuracies)
    left, right = figure.axes
    row = summary.rows[1]
    drawn = [[line.get_xdata(), line.get_ydata()] for line in left.lines]
    assert any(len(x) == 3 and np.allclose(x, [83, 83.2, 83.4]) for x, _ in drawn)
    assert any(np.allclose(x, 100 * row.test_accuracy.mean) and list(y) == [1] for x, y in drawn if len(x) == 1)
    ends = [100 * row.difference.low, 100 * row.difference.high]
    assert any(len(line.get_xdata()) == 2 and np.allclose(line.get_xdata(), ends) for line in right.lines)
    assert {"no done run", "a=000", "a=001", "a=002"} <= set(texts(figure))
    assert "baseline" in [text.strip() for text in texts(figure)]


def test_names_that_would_be_cut_to_the_same_leave_out_what_stands_above_them():
    summary, accuracies = made_up([0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87])
    labels = [f"optimizer=adam, learning_rate={rate}, weight_decay={decay}, batch_size={batch}, warmup_epochs=2.0"
              for rate in (0.001, 0.002) for decay in (0.01, 0.02) for batch in (64, 128)]
    rows = tuple(dataclasses.replace(row, label=label) for row, label in zip(summary.rows, labels, strict=True))
    figure = plots_cells.effects(dataclasses.replace(summary, rows=rows), accuracies)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:3] == ["0.001,0.01,64", "0.001,0.01,128", "0.001,0.02,64"]
    assert "learning_rate,weight_decay,batch_size" in texts(figure)


def test_a_difference_is_filled_only_where_it_is_clear():
    """The last one's interval excludes zero, and so many comparisons leave it unclear."""
    summary, accuracies = made_up([0.8, 0.83, 0.8005])
    [_, clear, unclear] = summary.rows
    row = dataclasses.replace(unclear, difference=clear.difference)
    assert row.difference.low > 0
    summary = dataclasses.replace(summary, rows=(*summary.rows[:2], row))
    right = plots_cells.effects(summary, accuracies).axes[1]
    filled = [line.get_markerfacecolor() for line in right.lines if line.get_marker() == "o"]
    assert filled == ["#0072B2", "white"]


def test_no_difference_is_in_view_as_well():
    summary, accuracies = made_up([0.5, 0.675, 0.676])
    figure = canvas.composed(lambda: plots_cells.effects(summary, accuracies))
    low, high = figure.axes[1].get_xlim()
    assert low < 0 < 17 < high
    [word] = [text for text in figure.axes[1].texts if text.get_text().strip() == "baseline"]
    inside, drawn = figure.axes[1].get_window_extent(), word.get_window_extent()
    assert inside.x0 <= drawn.x0 < drawn.x1 <= inside.x1, "the word is not cut"


def test_one_cell_far_off_does_not_flatten_the_others():
    summary, accuracies = made_up([0.80, 0.81, 0.82, 0.81, 0.10])
    left, right = (figure_axes for figure_axes in plots_cells.effects(summary, accuracies).axes)
    assert left.get_xlim()[0] > 50
    assert right.get_xlim()[0] > -40
    assert {"◀ 10.5", "◀ -69.6"} <= set(texts(left.figure))


@pytest.mark.parametrize("means", [[0.9], [0.9, 0.905]])
def test_every_seed_is_in_view_however_narrow_the_interval(means):
    summary, accuracies = made_up(means, seeds=25)
    left = plots_cells.effects(summary, accuracies).axes[0]
    low, high = left.get_xlim()
    values = [100 * value for of_cell in accuracies.values() for value in of_cell]
    assert low < min(values) < max(values) < high
    assert not any("▶" in text or "◀" in text for text in texts(left.figure))


def test_a_seed_far_off_is_an_arrow_with_its_figure():
    summary, accuracies = made_up([0.9, 0.905], seeds=25)
    accuracies |= {summary.rows[0].cell: [0.1, *[0.9] * 24]}
    left = plots_cells.effects(summary, accuracies).axes[0]
    assert left.get_xlim()[0] > 80
    assert "◀ 10.0" in texts(left.figure)


@pytest.mark.parametrize("cells", [1, 60, 90])
def test_effects_show_every_cell_up_to_a_limit_and_then_the_highest(cells):
    summary, accuracies = made_up([0.7 + 0.001 * place for place in range(cells)])
    labels = [label.get_text() for label in plots_cells.effects(summary, accuracies).axes[0].get_yticklabels()]
    highest = [f"a={place:03}" for place in reversed(range(1, cells))][:plots_cells.MOST_ROWS - 1]
    assert labels == ["a=000",
                      *(highest if cells > plots_cells.MOST_ROWS else reversed(highest))]


def test_what_all_cells_share_is_no_cost():
    summary, _ = made_up([0.8, 0.9])
    assert pareto.costs(summary) == {}
