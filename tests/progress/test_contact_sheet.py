import numpy as np
import pytest

from harness.progress import contact_sheet

SHAPE = (28, 28, 1)


def colours(sheet):
    return {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}


def test_a_filter_is_grey_at_zero_black_and_white_at_its_extremes():
    kernel = np.zeros((2, 2, 1, 3))
    kernel[0, 0, 0] = [2.0, 0.0, -0.01]
    sheet = contact_sheet.filters(kernel, SHAPE)
    grey = (127, 127, 127)
    tile = 84
    first, second, third = (sheet[4:4 + tile, 4 + place * (tile + 4):][:, :tile] for place in range(3))
    assert colours(first) == {grey, (255, 255, 255)}
    assert colours(second) == {grey}
    assert colours(third) == {grey, (0, 0, 0)}
    np.testing.assert_array_equal(first[:tile // 2, :tile // 2], 255)


def test_a_dense_unit_is_shown_as_the_image_it_looks_at():
    """A unit that looks at the top left pixel alone."""
    kernel = np.zeros((28 * 28, 5))
    kernel[0] = 1.0
    sheet = contact_sheet.filters(kernel, SHAPE)
    np.testing.assert_array_equal(sheet[4:7, 4:7], 255)
    np.testing.assert_array_equal(sheet[7:88, 4:88], 127)


@pytest.mark.parametrize("shape", [(100, 10), (3, 3, 2, 8), (784,)])
def test_weights_that_do_not_act_on_an_image_have_no_picture(shape):
    assert contact_sheet.filters(np.ones(shape), SHAPE) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_the_most_confident_mistakes_come_first(channels):
    """Test image i is all of brightness 10 * i; 1 and 3 are wrong, 3 with more confidence."""
    images = np.broadcast_to(np.arange(0, 50, 10, dtype=np.uint8)[:, None, None, None], (5, 28, 28, channels))
    labels = np.asarray([0, 1, 2, 0, 1])
    predicted = np.asarray([0, 2, 2, 1, 1])
    probability = np.asarray([1.0, 0.6, 0.9, 0.8, 1.0], np.float16)
    sheet = contact_sheet.mistakes(images, labels, predicted, probability, ["a cat", "a dog", "W" * 99])
    assert colours(sheet[4:88, 4:88]) == {(30, 30, 30)}
    assert colours(sheet[4:88, 92:176]) == {(10, 10, 10)}
    captions = sheet[88:114]
    assert (captions < 128).any(axis=(0, 2))[4:88].any(), "no caption"
    assert sheet.shape == (4 + 84 + 26 + 4, 4 + 2 * 88, 3)


def test_a_run_without_mistakes_has_no_picture_of_them():
    labels = np.asarray([1, 0])
    assert contact_sheet.mistakes(np.zeros((2, 8, 8, 1), np.uint8), labels, labels, np.ones(2), "ab") is None


@pytest.mark.parametrize("channels", [2, 4])
def test_images_that_are_no_pictures_are_not_shown(channels):
    images, labels = np.zeros((2, 8, 8, channels), np.uint8), np.asarray([1, 0])
    assert contact_sheet.mistakes(images, labels, 1 - labels, np.ones(2), "ab") is None
