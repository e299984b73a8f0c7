import numpy as np
import pytest

from harness.reporting.figures import images

CLASSES = ["cat", "dog", "owl"]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def shown(number, channels=1):
    rng = np.random.default_rng(number)
    return {"images": rng.integers(0, 256, (number, 6, 6, channels)).astype(np.uint8),
            "label": np.zeros(number, np.uint8), "predicted": np.zeros(number, np.uint8),
            "probability": np.linspace(0.2, 0.9, number).astype(np.float16)}


@pytest.mark.parametrize("channels", [1, 3])
def test_each_test_image_is_shown_with_its_prediction(channels):
    given = shown(7, channels)
    figure = images.test_images(**given, classes=CLASSES)
    for drawn, image in zip(figure.axes[0].images, given["images"], strict=True):
        np.testing.assert_array_equal(drawn.get_array(), image[..., 0] if channels == 1 else image)
    assert texts(figure)[:2] == ["cat 20 %", "cat 32 %"]
    assert not any("true" in text for text in texts(figure))


def test_wrong_predictions_stand_out_without_colour():
    given = shown(3)
    given["predicted"][1] = 2
    figure = images.test_images(**given, classes=CLASSES)
    widths = [line.get_linewidth() for line in figure.axes[0].lines]
    assert widths[1] > 3 * widths[0]
    assert widths[0] == widths[2]
    assert texts(figure) == ["cat 20 %", "owl 55 %", "true: cat", "cat 90 %"]


def test_mispredictions_are_grouped_by_pair_then_by_confidence():
    given = shown(4)
    given["predicted"][:] = [1, 2, 1, 2]
    pairs = {(0, 1): "30 of 100", (1, 0): "20 of 100", (0, 2): "10 of 100"}
    figure = images.mispredictions(**given, pairs=pairs, classes=CLASSES)
    assert texts(figure) == [
        "cat seen as dog, 30 of 100", "20 %", "67 %", "cat seen as owl, 10 of 100", "43 %", "90 %",
        "the most confident errors", "owl 90 %", "true: cat", "dog 67 %", "true: cat", "owl 43 %", "true: cat",
        "dog 20 %", "true: cat"]
    order = [0, 2, 1, 3, 3, 2, 1, 0]
    for drawn, place in zip(figure.axes[0].images, order, strict=True):
        np.testing.assert_array_equal(drawn.get_array(), given["images"][place, ..., 0])


@pytest.mark.parametrize("shape", [(36, 5), (3, 3, 2, 20)])
def test_both_states_are_on_one_scale_and_whole(shape):
    initial = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    figure = images.weights(initial, 2 * initial)
    first, second = (axes.images[0] for axes in figure.axes[:2])
    assert first.get_clim() == second.get_clim()
    np.testing.assert_allclose(second.get_array(), 2 * first.get_array(), rtol=1e-6)
    assert first.get_array().size == initial.size
    steps = [patch.get_data().values for axes in figure.axes for patch in axes.patches if hasattr(patch, "get_data")]
    np.testing.assert_allclose([values.sum() for values in steps], [100, 100])


def test_a_dense_unit_is_an_image_over_its_input():
    kernel = np.arange(6 * 5 * 3 * 4).reshape(90, 4)
    pictures = images.as_pictures(kernel, (6, 5, 3))
    np.testing.assert_array_equal(pictures[2].reshape(90), kernel[:, 2])
    convolution = np.arange(3 * 3 * 1 * 4).reshape(3, 3, 1, 4)
    np.testing.assert_array_equal(images.as_pictures(convolution, (6, 5, 1))[1], convolution[..., 1])


@pytest.mark.parametrize("shape", [(1280, 4), (3, 3, 32, 8), (1, 1, 3, 8)])
def test_weights_over_features_are_no_images(shape):
    assert images.as_pictures(np.zeros(shape), (6, 5, 3)) is None


def test_filters_have_mid_grey_at_zero_and_use_their_whole_scale():
    units = np.array([[[[-0.2], [0.0]], [[0.1], [0.2]]]])
    figure = images.filters(units, 0 * units)
    before, after = (image.get_array() for image in figure.axes[0].images)
    assert before.tolist() == [[0, 128], [191, 255]]
    assert set(np.ravel(after)) == {128}
