"""Every mode of Pillow is converted to the right values of 8 bits, or refused in one line."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sets import message

from harness.data import DataError, pictures, resize

GREY = np.array([0, 1, 127, 128, 254, 255], np.uint8)
DEEP = np.array([0, 127, 255, 256, 257, 32768, 65279, 65535], np.uint16)
COLOUR = np.random.default_rng(0).integers(0, 256, (64, 3), np.uint8)


def cmyk(values: np.ndarray) -> np.ndarray:
    ink = values.astype(float) / 255
    return 255 * (1 - ink[:, :3]) * (1 - ink[:, 3:])


def ycbcr(values: np.ndarray) -> np.ndarray:
    """Source: JFIF 1.02, "Conversion to and from RGB"."""
    y, cb, cr = values.astype(float).T - np.array([[0], [128], [128]])
    return np.clip(np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=1), 0, 255)


def opaque(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.full((len(values), 1), 255, np.uint8)], axis=1)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values).reshape(-1, 1), 3, axis=1)


# What RGB can show: beyond it, luma and clipped colour part ways.
SEEN = np.round(COLOUR @ [[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]]
                + [0, 128, 128]).clip(0, 255).astype(np.uint8)
INK = np.random.default_rng(1).integers(0, 256, (64, 4), np.uint8)
# Mode -> the bytes of a row of pixels, and the RGB values that it shows.
ROWS = {
    "1": (b"\xaa", grey([255, 0] * 4)),
    "L": (GREY.tobytes(), grey(GREY)),
    "LA": (opaque(GREY[:, None]).tobytes(), grey(GREY)),
    "La": (opaque(GREY[:, None]).tobytes(), grey(GREY)),
    "P": (bytes(range(64)), COLOUR),
    "PA": (opaque(np.arange(64, dtype=np.uint8)[:, None]).tobytes(), COLOUR),
    "RGB": (COLOUR.tobytes(), COLOUR),
    "RGBA": (opaque(COLOUR).tobytes(), COLOUR),
    "RGBa": (opaque(COLOUR).tobytes(), COLOUR),
    "RGBX": (INK.tobytes(), INK[:, :3]),
    "CMYK": (INK.tobytes(), cmyk(INK)),
    "YCbCr": (SEEN.tobytes(), ycbcr(SEEN)),
    "I;16": (DEEP.astype("<u2").tobytes(), grey(DEEP // 256)),
    "I;16L": (DEEP.astype("<u2").tobytes(), grey(DEEP // 256)),
    "I;16B": (DEEP.astype(">u2").tobytes(), grey(DEEP // 256)),
    "I;16N": (DEEP.tobytes(), grey(DEEP // 256)),
}


def row(mode: str, content: bytes) -> Image.Image:
    width = len(ROWS[mode][1]) if mode in ROWS else 1
    image = Image.frombytes(mode, (width, 1), content)
    if mode in ("P", "PA"):
        image.putpalette(COLOUR.tobytes())
    return image


def read(image: Image.Image, channels: int, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Reads a picture as if a file held it: no format has all modes."""
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", lambda _: image)
        found = pictures.read(io.BytesIO(), channels, "tiny")
    assert found.dtype == np.uint8
    return found[0]


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_is_converted_to_the_values_it_shows_or_refused(mode: str, monkeypatch) -> None:
    if mode not in ROWS:
        with pytest.raises(DataError, match=rf"^tiny: .* mode {mode},.*; store the pictures as 8-bit") as error:
            read(Image.new(mode, (1, 1)), 3, monkeypatch)
        assert message(error)
        return
    content, expected = ROWS[mode]
    luma = expected @ [0.299, 0.587, 0.114]
    most = 1 if mode in ("CMYK", "YCbCr") else 0
    colour, alpha = (read(row(mode, content), channels, monkeypatch) for channels in (3, 4))
    np.testing.assert_allclose(colour, expected, atol=0.5 + most if most else 0)
    np.testing.assert_array_equal(alpha[:, :3], colour)
    assert (alpha[:, 3] == 255).all()
    one, two = (read(row(mode, content), channels, monkeypatch) for channels in (1, 2))
    np.testing.assert_allclose(one[:, 0], luma, atol=0.51 + most)
    np.testing.assert_array_equal(two, opaque(one))


def test_sixteen_bits_use_the_whole_range_and_keep_pictures_that_were_scaled_up(monkeypatch) -> None:
    deep = np.arange(2**16, dtype=np.uint16)
    found = read(Image.fromarray(deep[None]), 1, monkeypatch)[:, 0]
    np.testing.assert_array_equal(np.bincount(found), np.full(256, 256))
    eight = np.arange(256, dtype=np.uint16)
    for factor in (256, 257):
        scaled = read(Image.fromarray((eight * factor)[None]), 1, monkeypatch)[:, 0]
        np.testing.assert_array_equal(scaled, eight)


@pytest.mark.parametrize(("mode", "content"), [
    ("LA", [80, 51]), ("La", [16, 51]), ("RGBA", [80, 80, 80, 51]), ("RGBa", [16, 16, 16, 51]),
    ("PA", [0, 51]), ("P", [0])])
def test_transparency_is_kept_where_it_is_asked_for_and_never_lost(mode: str, content: list[int], monkeypatch) -> None:
    def image() -> Image.Image:
        image = Image.frombytes(mode, (1, 1), bytes(content))
        if mode in ("P", "PA"):
            image.putpalette([80, 80, 80])
        if mode == "P":
            image.info["transparency"] = bytes([51])
        return image

    assert read(image(), 4, monkeypatch).tolist() == [[80, 80, 80, 51]]
    assert read(image(), 2, monkeypatch).tolist() == [[80, 51]]
    for channels, name in ((1, "L"), (3, "RGB")):
        with pytest.raises(DataError, match=f"^tiny: a picture has transparent pixels, which {name} cannot") as error:
            read(image(), channels, monkeypatch)
        assert message(error)


@pytest.mark.parametrize(("mode", "marked"), [("L", 80), ("RGB", (80, 80, 80))])
def test_a_value_marked_transparent_is_transparency_as_well(mode: str, marked: object, monkeypatch) -> None:
    for value, alpha in ((80, 0), (81, 255)):
        image = Image.new(mode, (1, 1), (value,) * len(mode))
        image.info["transparency"] = marked
        assert read(image.copy(), 4, monkeypatch).tolist() == [[value] * 3 + [alpha]]
        if alpha:
            assert read(image, 3, monkeypatch).tolist() == [[value] * 3]
        else:
            with pytest.raises(DataError, match="has transparent pixels"):
                read(image, len(mode), monkeypatch)


def png(pixels: np.ndarray, colour_type: int, *more: tuple[bytes, bytes]) -> bytes:
    """Writes a PNG of 16 bits, which Pillow can for grey alone."""
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks)


def test_a_file_of_sixteen_bits_reads_alike_as_grey_and_as_colour() -> None:
    as_grey, as_colour = png(DEEP[None], 0), png(np.repeat(DEEP[None, :, None], 3, axis=2), 2)
    expected = grey(DEEP // 256)[None]
    for encoded in (as_grey, as_colour):
        np.testing.assert_array_equal(pictures.read(io.BytesIO(encoded), 3, "tiny"), expected)


def test_a_transparent_grey_of_sixteen_bits_is_refused() -> None:
    encoded = png(DEEP[None], 0, (b"tRNS", struct.pack(">H", 257)))
    for channels in (1, 4):
        with pytest.raises(DataError, match="I;16 with a transparent value"):
            pictures.read(io.BytesIO(encoded), channels, "tiny")


def test_a_file_is_read_by_its_path_and_one_that_is_no_picture_is_an_error_of_the_file(tmp_path: Path) -> None:
    Image.fromarray(COLOUR[None]).save(tmp_path / "one.png")
    np.testing.assert_array_equal(pictures.read(tmp_path / "one.png", 3, "tiny")[0], COLOUR)
    (tmp_path / "two.png").write_bytes(b"GIF")
    with pytest.raises(OSError, match=r"two\.png"):
        pictures.read(tmp_path / "two.png", 3, "tiny")


@pytest.mark.parametrize(("bits", "photometric", "words"), [
    (16, 1, None), (12, 1, "a TIFF of 12 bits has"), (16, 0, "a TIFF of 16 bits in which zero is white has")])
def test_a_tiff_whose_values_pillow_does_not_bring_to_sixteen_bits_is_refused(bits, photometric, words) -> None:
    image = Image.fromarray(DEEP[None])
    image.tag_v2 = {258: (bits,), 262: photometric}
    if words is None:
        pictures.refuse_unscaled(image, "tiny")
        return
    with pytest.raises(DataError, match=words):
        pictures.refuse_unscaled(image, "tiny")


def test_a_white_is_zero_tiff_of_sixteen_bits_is_refused_from_its_file(tmp_path: Path) -> None:
    Image.fromarray(DEEP[None]).save(tmp_path / "deep.tif", tiffinfo={262: 0})
    with pytest.raises(DataError, match="zero is white"):
        pictures.read(tmp_path / "deep.tif", 1, "tiny")
    with pytest.raises(DataError, match="zero is white"):
        resize.read(tmp_path / "deep.tif", resize.Rule((8, 8), 1))
