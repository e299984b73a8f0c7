import numpy as np
import pytest

from harness.analysis import predictions
from harness.reporting.figures import matrix
from harness.reporting.figures import outcomes as plots_predictions


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def counts(classes, seeds=2, examples=10):
    rng = np.random.default_rng(classes)
    label = np.repeat(np.arange(classes), examples)
    return np.stack([predictions.confusion(
        label=label, predicted=np.where(rng.random(len(label)) < 0.8, label, rng.integers(0, classes, len(label))),
        classes=classes) for _ in range(seeds)])


def names(classes):
    return [f"class {number}" for number in range(classes)]


def test_a_small_matrix_has_percent_and_mean_count_in_each_field():
    found = np.array([[[8, 2], [0, 5]], [[7, 3], [0, 5]]])
    figure = matrix.confusion({"a (n=2)": found}, names(2))
    shown = figure.axes[0].texts
    assert [text.get_text() for text in shown] == ["75", "7.5", "25", "2.5", "100", "5"]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[75, 25], [0, 100]])


def test_every_panel_has_its_matrix_and_names():
    panels = {"baseline": counts(10), "best": counts(10) * 2}
    figure = matrix.confusion(panels, names(10))
    for axes, (title, found) in zip(figure.axes, panels.items(), strict=False):
        assert axes.get_title() == title
        np.testing.assert_allclose(axes.images[0].get_array(), predictions.row_percent(found.mean(axis=0)))
        assert [label.get_text() for label in axes.get_xticklabels()] == names(10)


def test_a_hundred_classes_have_the_matrix_and_the_most_confused_pairs_by_name():
    found = counts(100)
    figure = matrix.confusion({"baseline": counts(100) * 0, "best": found}, names(100))
    assert figure.axes[0].images[0].get_array().shape == (100, 100)
    assert not figure.axes[0].texts
    pairs = predictions.confused_pairs(found.mean(axis=0))[:20]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == [
        f"class {true} → class {guess}" for true, guess in pairs]
    lengths = [bar.get_width() for bar in figure.axes[1].patches]
    assert lengths == [found.mean(axis=0)[pair] for pair in pairs]


def test_bars_are_the_mean_of_predicted_classes_and_lines_the_true_ones():
    panels = {"baseline": counts(4), "best": counts(4, seeds=3)}
    [axes] = plots_predictions.predicted_classes(panels, names(4)).axes
    heights = np.array([bar.get_height() for bar in axes.patches]).reshape(2, 4)
    np.testing.assert_allclose(heights, [found.sum(axis=1).mean(axis=0) for found in panels.values()])
    assert heights.sum() == pytest.approx(2 * 40)
    lines = axes.collections[-1].get_segments()
    assert [line[0, 1] for line in lines] == [10, 10, 10, 10]


def test_of_a_hundred_classes_the_most_over_and_under_predicted_are_named():
    found = counts(100)
    found[:, :50] *= 3
    excess = found.mean(axis=0).sum(axis=0) - np.repeat([30, 10], 50)
    [axes] = plots_predictions.predicted_classes({"best": found}, names(100)).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == pytest.approx(2000)
    named = [int(label.get_text().split()[1]) for label in axes.get_xticklabels()]
    assert sorted(excess[named]) == sorted(np.sort(excess)[[*range(5), *range(-5, 0)]])


def test_calibration_pools_seeds_and_averages_their_errors():
    probability = np.repeat([0.25, 0.55, 0.95], [2, 40, 40])
    seeds = [predictions.reliability(probability, np.arange(82) >= first_right) for first_right in (22, 42)]
    figure = plots_predictions.calibration({"best (n=2)": seeds})
    above, below = figure.axes
    points, hollow = (line for line in above.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xdata(), [0.55, 0.95])
    np.testing.assert_allclose(points.get_ydata(), [0.25, 1.0])
    np.testing.assert_allclose(hollow.get_xydata(), [[0.25, 0.0]])
    assert hollow.get_markerfacecolor() == "white"
    assert sum(bar.get_height() for bar in below.patches) == pytest.approx(100)
    errors = [100 * seed.error for seed in seeds]
    assert f"ECE {np.mean(errors):.2f} %\n({min(errors):.2f} to {max(errors):.2f} over 2 seeds)" in texts(figure)


def test_calibration_without_rare_bins_has_its_layout():
    seed = predictions.reliability(np.repeat([0.55, 0.95], 40), np.arange(80) > 20)
    figure = plots_predictions.calibration({"baseline": [seed], "best": [seed]})
    assert all(len(line.get_xdata()) for axes in figure.axes for line in axes.lines)


def test_hostile_class_names_are_inert():
    hostile = ["$\\frac{$", "two\nlines", "\x1b[31mred"]
    panels = {"best": counts(3)}
    for figure in (matrix.confusion(panels, hostile), plots_predictions.predicted_classes(panels, hostile)):
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert labels == ["$\\frac{$", "two lines", "[31mred"]
