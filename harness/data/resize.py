"""One rule from a picture file to the pixels that a network reads: for training, prediction and loading alike.

Upright as EXIF says, transparent pixels on white, grey or RGB of 8 bits, resized with antialiasing.
"""

import dataclasses
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.data import pictures
from harness.data.decoded import DataError

_MODES = {1: "L", 3: "RGB"}
_WHITE = (255, 255, 255, 255)


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a picture becomes: see `ablations.own_data.ImageFolder`, which has the same fields.

    Attributes:
      size: height and width.
      channels: 1 (grey) or 3 (RGB).
      fit: "crop", "pad" or "stretch".
    """

    size: tuple[int, int]
    channels: int = 3
    fit: str = "crop"


class Read(NamedTuple):
    """A picture as a network reads it, and what its file was.

    Attributes:
      pixels: uint8 [height, width, channel].
      size: height and width of the file's picture, upright.
      is_transparent: whether it had pixels that white was seen through.
      is_animated: whether it had further frames or pages, which are left out.
      is_dark: whether it had 16 bits and used less than a sixteenth of their range, of which little is left in 8.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    is_transparent: bool
    is_animated: bool
    is_dark: bool


def picture(file: Path | BinaryIO, rule: Rule) -> np.ndarray:
    """Reads a picture as a network reads it.

    Returns:
      uint8 [height, width, channel].

    Raises:
      DataError: if the file is no picture that can be read; the message names the file.
    """
    return read(file, rule).pixels


def read(file: Path | BinaryIO, rule: Rule) -> Read:
    """Reads a picture as `picture` does, and tells what its file was.

    Raises:
      DataError: as `picture`.
    """
    name = str(file) if isinstance(file, Path) else getattr(file, "name", "a picture")
    try:
        if isinstance(file, Path) and file.exists() and not file.is_file():
            raise DataError(f"{name}: is no file")  # opening a pipe would wait for ever
        with Image.open(file) as image:
            return _read(image, name, rule)
    except DataError:
        raise
    except Exception as error:  # Pillow's many readers raise many kinds on damaged files
        raise DataError(f"{name}: {_reason(error)}") from error


def of_image(image: Image.Image, rule: Rule) -> np.ndarray:
    """Brings an opened picture to what a network reads, as `picture` does.

    Raises:
      DataError: if it cannot be decoded.
    """
    try:
        return _read(image, "a picture", rule).pixels
    except DataError:
        raise
    except Exception as error:  # as above
        raise DataError(f"a picture: {_reason(error)}") from error


def _read(image: Image.Image, name: str, rule: Rule) -> Read:
    pictures.refuse_unscaled(image, name)
    image.load()
    is_animated = getattr(image, "is_animated", False)
    try:
        upright = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # a damaged EXIF of a whole picture says nothing of how it lies
        upright = image
    opaque, is_transparent = _opaque(pictures.eight_bits(upright, name))
    converted = opaque.convert(_MODES[rule.channels])
    pixels = np.asarray(_fitted(converted, rule)).reshape(*rule.size, rule.channels)
    return Read(pixels, (upright.height, upright.width), is_transparent, is_animated, pictures.is_dark(upright))


def _opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """Lays a picture on white where it is transparent."""
    if not pictures.has_alpha(image):
        return image, False
    seen = image.convert("RGBA")
    if seen.getchannel("A").getextrema() == (255, 255):
        return seen, False
    return Image.alpha_composite(Image.new("RGBA", seen.size, _WHITE), seen), True


def _fitted(image: Image.Image, rule: Rule) -> Image.Image:
    height, width = rule.size
    # Pillow's bilinear filter widens as it shrinks, so that fine patterns do not alias.
    bilinear = Image.Resampling.BILINEAR
    if rule.fit == "crop":
        return ImageOps.fit(image, (width, height), bilinear)
    if rule.fit == "stretch":
        return image.resize((width, height), bilinear)
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    padded = Image.new(image.mode, (width, height))
    padded.paste(image.resize(inner, bilinear), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is no picture of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__
