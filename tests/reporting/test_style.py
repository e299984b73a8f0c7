import dataclasses
import io

import numpy as np
import pytest
import synthetic
from PIL import Image

from harness.analysis.summarize import summarize
from harness.reporting.figures import curves, style


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def made_up(cells, seeds=2, **changes):
    runs = [synthetic.record({"size": f"{cell:03}"}, seed, 0.8 + 0.001 * cell, **changes)
            for cell in range(cells) for seed in range(seeds)]
    plan = synthetic.plan({"size": sorted({run.labels["size"] for run in runs})}, runs)
    summary = summarize("made_up", plan, synthetic.as_read(*runs))
    return summary, {row.cell: [synthetic.curve(run) for run in runs if run.cell == row.cell] for row in summary.rows}


@pytest.mark.parametrize("cells", [1, 6, 7, 20])
def test_every_number_of_cells_is_drawn_and_labelled(cells):
    summary, drawn = made_up(cells)
    drawn[summary.rows[-1].cell] = []
    found = texts(curves.learning_curves(summary, drawn, "accuracy"))
    for row in summary.rows:
        assert any(text.startswith(f"{row.label} (n={len(drawn[row.cell])})") for text in found)


def test_more_cells_than_fit_are_all_drawn_and_two_are_named():
    summary, drawn = made_up(50, seeds=1)
    figure = curves.learning_curves(summary, drawn, "loss")
    [collection] = figure.axes[1].collections
    lines = [segment[:, 1] for segment in collection.get_segments()]
    assert len(lines) == 50
    np.testing.assert_allclose(lines[7], drawn[summary.rows[7].cell][0]["validation_loss"])
    assert {"size=000 (n=1), baseline", "size=049 (n=1), highest mean"} <= set(texts(figure))


def test_curves_draw_the_mean_with_a_band_only_above_one_seed():
    runs = [synthetic.record({"a": "x"}, seed, 0.9, epochs=4 + seed) for seed in range(2)]
    runs.append(synthetic.record({"a": "y"}, 0, 0.8, epochs=6))
    summary = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    two, one = [synthetic.curve(run) for run in runs[:2]], [synthetic.curve(runs[2])]
    figure = curves.learning_curves(summary, {"a=x": two, "a=y": one}, "loss")
    validation = figure.axes[1]
    mean = (two[0]["validation_loss"] + two[1]["validation_loss"][:4]) / 2
    assert validation.lines[0].get_ydata() == pytest.approx(mean[:4].to_numpy(), abs=1e-12)
    assert validation.lines[1].get_ydata() == pytest.approx(one[0]["validation_loss"].to_numpy(), abs=1e-12)
    assert len(validation.collections) == 1
    assert "to the last epoch that all seeds reached" in figure.get_suptitle()


def test_the_contrast_has_both_splits_of_both_cells_and_metrics():
    summary, drawn = made_up(2)
    figure = curves.contrast(summary, summary.rows, drawn)
    for axes, metric, factor in zip(figure.axes, ("accuracy", "loss"), (100, 1), strict=True):
        expected = [factor * np.mean([curve[f"{split}_{metric}"] for curve in drawn[row.cell]], axis=0)
                    for row in summary.rows for split in ("train", "validation")]
        np.testing.assert_allclose([line.get_ydata() for line in axes.lines], expected)
    assert {"baseline: size=000 (n=2), training", "size=001 (n=2), validation"} <= set(texts(figure))


def test_a_picture_is_the_same_whatever_the_readers_settings(monkeypatch):
    summary, drawn = made_up(2)

    def picture():
        return style.render(lambda: curves.contrast(summary, summary.rows, drawn), vector=True, pdf=True)

    first = picture()
    monkeypatch.setitem(style.matplotlib.rcParams, "font.size", 20)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert picture() == first
    assert first.pdf.startswith(b"%PDF")
    assert b"CreationDate" not in first.pdf
    assert b"Matplotlib" not in first.pdf
    assert b"Matplotlib" not in first.png


def test_a_palette_changes_no_pixel_to_be_seen():
    summary, drawn = made_up(6)
    figures = []
    picture = style.render(
        lambda: figures.append(curves.learning_curves(summary, drawn, "accuracy")) or figures[-1], vector=True)
    image = Image.open(io.BytesIO(picture.png))
    whole = np.asarray(figures[-1].canvas.buffer_rgba())[..., :3].astype(int)
    off = np.abs(np.asarray(image.convert("RGB")).astype(int) - whole).max(axis=2)
    assert off.max() < 100
    assert (off > 20).mean() < 0.01, "but for some pixels at the edges of lines"
    assert image.mode == "P"
    assert (255, 255, 255) in {colour for _, colour in image.convert("RGB").getcolors()}
    for colour in ("#D55E00", "#0072B2", "#009E73"):
        rgb = np.array([int(colour[place:place + 2], 16) for place in (1, 3, 5)])
        distance = np.abs(np.asarray(image.convert("RGB")).astype(int) - rgb).sum(axis=2)
        assert distance.min() <= 24


def test_each_cell_looks_the_same_in_all_curves_and_the_baseline_is_black():
    summary, drawn = made_up(3)
    rows = [dataclasses.replace(row, is_baseline=place == 1) for place, row in enumerate(summary.rows)]
    summary = dataclasses.replace(summary, rows=tuple(rows))
    every = curves.learning_curves(summary, drawn, "accuracy").axes[1].lines
    two = curves.contrast(summary, summary.rows[1:], drawn).axes[0].lines[1::2]
    assert [line.get_color() for line in every[1:]] == [line.get_color() for line in two]
    assert [line.get_marker() for line in every[1:]] == [line.get_marker() for line in two]
    assert two[0].get_color() == "#000000"


def test_short_strings_are_inert_and_as_long_as_asked():
    assert style.short("two\nlines", 20) == "two lines"
    assert style.short("a" * 20 + "b" * 20, 10) == "aaaaa…bbbb"
