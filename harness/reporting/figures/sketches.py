"""Each picture of a report in words: whether the files allow it, its caption with the main figures, who draws it."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.analysis import predictions
from harness.analysis.cells import CellRow
from harness.reporting.figures import cells as plots_cells
from harness.reporting.figures import curves, images, matrix, pareto
from harness.reporting.figures import outcomes as plots_predictions
from harness.reporting.figures.material import Material
from harness.reporting.figures.style import short


class Sketch(NamedTuple):
    """A picture not drawn yet: see `harness.reporting.figures.figures.Figure`."""

    title: str
    caption: str
    draw: Callable[[], Figure]
    is_vector: bool = True


def sketches(material: Material) -> dict[str, Sketch | str]:
    """Gives each picture of an ablation, or the reason why its files do not allow it, by name."""
    if not material.ranked:
        return dict.fromkeys(_PICTURES, "no run is done")
    return {name: sketch(material) for name, sketch in _PICTURES.items()}


_NO_LABELS = "no predictions.npz of the cells shown has the true classes"
_NO_EXHIBITS = "no run has an exhibits.npz"
_SEEDS = "mean over seeds, band from the lowest to the highest"


def _learning_curves(material: Material, metric: curves.Metric) -> Sketch | str:
    text = []
    for row in material.shown:
        end = np.mean([getattr(material.found[run].last, f"validation_{metric}") for run in material.done[row.cell]])
        text.append(f"{short(row.label, 60)} {f'{100 * end:.2f} %' if metric == 'accuracy' else f'{end:.3f}'}")
    return Sketch(
        f"learning curves, {metric}",
        f"{metric.capitalize()} of every cell by epoch: training, measured during the epoch with dropout on and "
        f"parameters moving, and validation, after it; {_SEEDS}. Mean of each run's last validation {metric}: "
        f"{'; '.join(text)}{_uneven(material.curves.values())}{_below(material) if metric == 'accuracy' else ''}.",
        lambda: curves.learning_curves(material.summary, material.curves, metric))


def _uneven(drawn: Iterable[Sequence[pd.DataFrame]]) -> str:
    """Says where curves end, if the runs of a cell differ in their epochs."""
    return (". Runs end apart, and curves are drawn to the last epoch that all seeds reached"
            if curves.is_uneven(drawn) else "")


def _below(material: Material) -> str:
    """Says which cells' curves are cut off."""
    lost = [f"{short(row.label, 60)} ({end:.1f} %)" for row in material.summary.rows
            if (end := curves.below(material.curves).get(row.cell)) is not None]
    more = f"; and {len(lost) - 4} more" if len(lost) > 4 else ""
    return f". The axis begins above the end of {'; '.join(lost[:4])}{more}" if lost else ""


def _contrast(material: Material) -> Sketch | str:
    if len(material.shown) < 2 or not material.shown[0].is_baseline:
        return "it needs done runs of the baseline and of another cell"
    baseline, other = material.shown

    def name(row: CellRow) -> str:
        return material.name(row, material.curves[row.cell])

    return Sketch(
        "baseline against the highest other cell",
        f"Training and validation curves of the baseline, {name(baseline)}, and of {name(other)}; "
        f"{_SEEDS}{_uneven([material.curves[row.cell] for row in material.shown])}. {material.choice()}",
        lambda: curves.contrast(material.summary, material.shown, material.curves))


def _effects(material: Material) -> Sketch | str:
    drawn, cells = plots_cells.rows_drawn(material.summary), len(material.summary.rows)
    sure = [row for row in material.ranked if row.comparison and row.comparison.verdict != "unclear"]
    text = "; ".join(f"{short(row.label, 60)} {100 * (row.difference.mean or 0.0):+.2f}" for row in sure[:8])
    accuracies = {cell: [material.accuracy(run) for run in runs]
                  for cell, runs in material.done.items()}
    compared = any(row.difference.n for row in drawn)
    clear = f"Clear: {text}{'; and more' if len(sure) > 8 else ''}." if sure else "No single difference is clear."
    right = f"Right: difference from the baseline in percentage points; a dot is filled where it is clear. {clear} "
    return Sketch(
        "accuracy per cell" + (" and difference from the baseline" if compared else ""),
        f"{'Left: test' if compared else 'Test'} accuracy of each cell, mean (dot) and 95 % interval (line), its seeds "
        "(ticks below), and the baseline's mean (grey). " + (right if compared else "")
        + "A cell or a seed far off is an arrow with its figure, and intervals are cut at the frame."
        + (f" Drawn are the baseline and the highest of {cells} cells." if len(drawn) < cells else ""),
        lambda: plots_cells.effects(material.summary, accuracies))


def _pareto(material: Material) -> Sketch | str:
    if not pareto.costs(material.summary):
        return "no two cells differ by more than 1 % in MACs, parameters or memory"
    fronts = "; ".join(f"{title}: {', '.join(short(row.label, 40) for row in rows[:6])}"
                       + (f" and {len(rows) - 6} more" if len(rows) > 6 else "")
                       for title, rows in pareto.fronts(material.summary).items())
    return Sketch(
        "accuracy against cost",
        "Mean test accuracy with its 95 % interval against each cost in which cells differ. Filled points on the line "
        "are the Pareto front: no other cell costs no more and is at least as accurate, and better in one of the two; "
        "hollow points are the other cells. The front goes by means alone: within overlapping intervals it may be "
        "chance. MACs and parameters are the whole network's, memory is the estimate; speed is not drawn, since "
        f"records do not say what else the machine did. On the fronts, {fronts}.",
        lambda: pareto.pareto(material.summary))


def _confusion(material: Material) -> Sketch | str:
    if not material.counts:
        return _NO_LABELS
    name, counts = list(material.counts.items())[-1]
    mean = counts.mean(axis=0)
    pairs = "; ".join(f"{short(material.classes[true], 24)} as {short(material.classes[guess], 24)} "
                      f"({mean[true, guess]:,.1f} of {mean[true].sum():,.0f})"
                      for true, guess in predictions.confused_pairs(mean)[:5])
    figures = "percent of the true class"
    if len(material.classes) <= matrix.MOST_FIGURES:
        figures += " above test examples"
    return Sketch(
        "confusion matrix",
        f"Rows are true classes, columns predicted ones: {figures}, mean over seeds; the steps of the shades "
        f"widen, so that rare errors show. {material.choice()} Most confused in {name}: {pairs or 'none'}.",
        lambda: matrix.confusion(material.counts, material.classes))


def _predicted_classes(material: Material) -> Sketch | str:
    if not material.counts:
        return _NO_LABELS
    name, counts = list(material.counts.items())[-1]
    mean = counts.mean(axis=0)
    excess = mean.sum(axis=0) - mean.sum(axis=1)
    ends = [(f"{short(material.classes[at], 24)} ({mean[:, at].sum():,.1f} for {mean[at].sum():,.0f})")
            for at in (int(np.argmin(excess)), int(np.argmax(excess)))]
    return Sketch(
        "predicted classes",
        f"How often each class is predicted, mean over seeds and their range, against how many test examples it has. "
        f"In {name}, predicted too rarely most of all: {ends[0]}; too often: {ends[1]}.",
        lambda: plots_predictions.predicted_classes(material.counts, material.classes))


def _calibration(material: Material) -> Sketch | str:
    panels = {material.name(row, known): [
        predictions.reliability(one["probability"], one["predicted"] == one["label"]) for one in known]
        for row in material.shown if (known := material.predictions.get(row.cell))}
    if not panels:
        return _NO_LABELS
    errors = "; ".join(f"{name} {100 * np.mean([seed.error for seed in seeds]):.2f} %"
                       for name, seeds in panels.items())
    return Sketch(
        "calibration",
        f"Share of right predictions against the predicted class's probability, in {predictions.BINS} bins of equal "
        "width, all seeds' examples together; thin bars span the seeds, the broad ones the gap to the diagonal, below "
        "which the network is too sure. Beneath, where the examples lie. ECE, the expected calibration error, is the "
        "mean of "
        "|accuracy - mean probability| over bins, weighted by their examples, per seed and then averaged: "
        f"{errors}. Hollow points, of fewer than {plots_predictions.FEW} examples, vary by chance.",
        lambda: plots_predictions.calibration(panels))


def _test_images(material: Material) -> Sketch | str:
    if not material.exhibit:
        return _NO_EXHIBITS
    if not material.images:
        return _NO_LABELS
    first = material.images["index"] < 25
    shown = {name: values[first][:25] for name, values in material.images.items() if name != "index"}
    if not first.any():
        return "exhibits.npz has none of the first 25 test images"
    wrong = int(np.sum(shown["label"] != shown["predicted"]))
    return Sketch(
        "test images",
        f"The first {int(first.sum())} test images, predicted class and its probability, by {_run(material)}. "
        + (f"A frame marks the wrong ones, {wrong}; the true class stands below." if wrong else "None is wrong."),
        lambda: images.test_images(**shown, classes=material.classes), is_vector=False)


def _mispredictions(material: Material) -> Sketch | str:
    if not material.exhibit:
        return _NO_EXHIBITS
    if not material.images:
        return _NO_LABELS
    _, once = np.unique(material.images["index"], return_index=True)
    wrong = once[(material.images["label"] != material.images["predicted"])[once]]
    shown = {name: values[wrong] for name, values in material.images.items() if name != "index"}
    if not len(wrong):
        return "none of the images kept is mispredicted"
    known = material.usable(material.exhibit[1])
    assert known is not None
    counted = predictions.confusion(label=known["label"], predicted=known["predicted"], classes=len(material.classes))
    pairs = {(true, guess): f"{counted[true, guess]:,} of {counted[true].sum():,}"
             for true, guess in predictions.confused_pairs(counted)}
    most = "; ".join(f"{short(material.classes[true], 24)} as {short(material.classes[guess], 24)} ({text})"
                     for (true, guess), text in list(pairs.items())[:images.MOST_PAIRS])
    return Sketch(
        "mispredictions",
        f"Test images that {_run(material)} gets wrong: up to three of each of its most confused pairs, with the "
        f"predicted class's probability below each image, then the errors it is surest of. Most confused: {most}.",
        lambda: images.mispredictions(**shown, pairs=pairs, classes=material.classes), is_vector=False)


def _kernels(material: Material) -> tuple[np.ndarray, np.ndarray, str] | str:
    if not material.exhibit:
        return _NO_EXHIBITS
    stored = material.exhibit[2]
    if {"initial", "trained", "layer", "units"} - stored.keys():
        return "exhibits.npz has no weights"
    initial, trained = (np.asarray(stored[name], dtype=np.float32) for name in ("initial", "trained"))
    if initial.shape != trained.shape or initial.ndim not in (2, 4) or not initial.size:
        return "the weights in exhibits.npz are not two states of one kernel"
    if not (np.isfinite(initial).all() and np.isfinite(trained).all()):
        return "weights in exhibits.npz are not finite"
    units = int(stored["units"])
    layer = short(str(stored["layer"]), 40)
    shown = "" if initial.shape[-1] == units else f"the first {initial.shape[-1]} of "
    text = f"of {layer}, {shown}its {units:,} units, before and after training: {_run(material)}"
    return initial, trained, text


def _weights(material: Material) -> Sketch | str:
    if isinstance(found := _kernels(material), str):
        return found
    initial, trained, text = found
    return Sketch(
        "weights of the first layer",
        f"Weights {text}. Both maps share one scale, whose ends hold 99.5 % of the weights. Standard deviation "
        f"{initial.std():.3g} before and {trained.std():.3g} after.",
        lambda: images.weights(initial, trained), is_vector=False)


def _filters(material: Material) -> Sketch | str:
    if isinstance(found := _kernels(material), str):
        return found
    before, after = (images.as_pictures(kernel, material.data.image_shape) for kernel in found[:2])
    if before is None or after is None:
        return "the first layer's weights do not lie over an image"
    return Sketch(
        "filters of the first layer",
        f"Weights {found[2]}, drawn as images over the input: mid-grey is zero, and each is scaled by its own largest "
        "weight.",
        lambda: images.filters(before, after), is_vector=False)


def _run(material: Material) -> str:
    assert material.exhibit is not None
    row, run, _ = material.exhibit
    return f"{short(row.label, 60)}, seed {material.found[run].seed}"


_PICTURES: dict[str, Callable[[Material], Sketch | str]] = {
    "curves_accuracy": functools.partial(_learning_curves, metric="accuracy"),
    "curves_loss": functools.partial(_learning_curves, metric="loss"),
    "baseline_vs_best": _contrast,
    "effects": _effects,
    "pareto": _pareto,
    "confusion": _confusion,
    "predicted_classes": _predicted_classes,
    "calibration": _calibration,
    "test_images": _test_images,
    "mispredictions": _mispredictions,
    "weights": _weights,
    "filters": _filters,
}
