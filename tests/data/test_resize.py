"""A picture file of any mode and size becomes the same 8-bit pixels for whoever reads it, upright and on white."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from own_pictures import paint
from PIL import Image
from tiny_sets import message

from harness.data import DataError, resize
from harness.data.resize import Rule, picture

HALVES = np.zeros((20, 40, 3), np.uint8)
HALVES[:, :20] = 255  # white to the left, black to the right
ORIENTATION = 0x0112


def png(pixels: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file


def test_pixels_of_the_right_size_stay_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    for fit in ("crop", "pad", "stretch"):
        np.testing.assert_array_equal(picture(png(pixels), Rule((6, 9), 3, fit)), pixels)


def test_crop_takes_the_middle_pad_adds_black_and_stretch_keeps_all() -> None:
    seen = {fit: picture(png(HALVES), Rule((8, 8), 1, fit))[..., 0] for fit in ("crop", "pad", "stretch")}
    np.testing.assert_array_equal(seen["crop"][:, [0, 7]], [[255, 0]] * 8)
    assert seen["pad"][[0, 1, 6, 7]].max() == 0
    assert (seen["pad"][2:6, 0] == 255).all()
    np.testing.assert_array_equal(seen["stretch"][:, [0, 7]], [[255, 0]] * 8)
    wide = picture(png(np.hstack([np.full((20, 40, 3), 90, np.uint8), HALVES])), Rule((8, 8), 3, "crop"))
    assert {90} < set(wide.ravel().tolist())
    assert wide[0, 0, 0] == 90
    assert wide[0, -1, 0] == 255  # the right quarter, black, is cut away


def test_shrinking_averages_and_does_not_pick() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(picture(png(stripes), Rule((8, 8))) - 127.5).max() < 10


def test_a_picture_of_any_shape_can_be_brought_to_any_size() -> None:
    thin = np.zeros((1, 300, 3), np.uint8)
    for fit in ("crop", "pad", "stretch"):
        assert picture(png(thin), Rule((5, 3), 1, fit)).shape == (5, 3, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_as_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8))
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])
    stored = upright
    for method in undo:
        stored = stored.transpose(Image.Transpose(method))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(picture(tmp_path / "a.png", Rule((4, 6))), np.asarray(upright))


@pytest.mark.parametrize(("mode", "suffix"), [
    ("RGB", "png"), ("L", "png"), ("P", "gif"), ("RGBA", "webp"), ("LA", "png"), ("CMYK", "tif"), ("YCbCr", "tif"),
    ("RGB", "bmp"), ("RGB", "jpg"),
])
def test_every_mode_and_format_shows_its_colour(tmp_path: Path, mode: str, suffix: str) -> None:
    file = paint(tmp_path / f"a.{suffix}", (120, 120, 120), mode=mode)
    for channels in (1, 3):
        pixels = picture(file, Rule((4, 5), channels))
        assert pixels.shape == (4, 5, channels)
        assert pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int) - 120).max() <= 2


def test_sixteen_bits_keep_their_high_byte_and_one_bit_is_black_and_white() -> None:
    deep = np.array([[0, 255, 256, 65535]], np.uint16)
    np.testing.assert_array_equal(picture(png(deep), Rule((1, 4), 1))[0, :, 0], [0, 0, 1, 255])
    np.testing.assert_array_equal(picture(png(np.array([[True, False]])), Rule((1, 2), 1))[0, :, 0], [255, 0])


def test_sixteen_bits_of_which_twelve_are_used_are_told() -> None:
    dark = np.array([[0, 4095]], np.uint16)
    assert resize.read(png(dark), Rule((1, 2), 1)).is_dark
    assert not resize.read(png(dark + 1), Rule((1, 2), 1)).is_dark
    assert not resize.read(png(np.zeros((1, 2), np.uint8)), Rule((1, 2), 1)).is_dark


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_a_picture_with_damaged_exif_is_read_as_it_lies(tmp_path: Path, suffix: str) -> None:
    Image.new("L", (4, 4), 120).save(tmp_path / f"a.{suffix}", exif=b"Exif\0\0garbage not valid")
    assert abs(int(picture(tmp_path / f"a.{suffix}", Rule((4, 4), 1)).mean()) - 120) <= 1


def test_transparent_pixels_are_laid_on_white_and_told() -> None:
    clear = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    read = resize.read(png(clear), Rule((1, 2)))
    np.testing.assert_array_equal(read.pixels[0], [[255, 255, 255], [10, 20, 30]])
    assert read.is_transparent
    assert not resize.read(png(clear[:, 1:]), Rule((1, 1))).is_transparent


def test_the_first_frame_counts_and_further_ones_are_told(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    read = resize.read(tmp_path / "a.gif", Rule((4, 4), 1))
    assert read.is_animated
    assert set(read.pixels.ravel().tolist()) == {10}


def test_what_cannot_be_read_is_one_line_that_names_the_file(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("F", (2, 2)).save(tmp_path / "float.tif")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "lost.png").symlink_to("nowhere")
    wanted = {"empty.png": "no picture", "text.png": "no picture", "cut.jpg": "truncated", "float.tif": "mode F",
              "pipe.png": "no file", "lost.png": "No such file", "none.png": "No such file"}
    for name, reason in wanted.items():
        with pytest.raises(DataError, match=reason) as error:
            picture(tmp_path / name, Rule((4, 4)))
        assert str(tmp_path / name) in message(error)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="more than 2,000 pixels"):
        picture(tmp_path / "whole.jpg", Rule((4, 4)))
