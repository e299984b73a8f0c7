"""Encoded pictures as arrays of 8 bits per channel: which of Pillow's modes are read, and by which rule."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from harness.data.decoded import DataError

_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
# Source: TIFF 6.0, BitsPerSample and PhotometricInterpretation.
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_WITH_ALPHA = ("LA", "RGBA", "PA", "P")  # a palette may hold alpha
_OPAQUE = ("1", "L", "RGB", "RGBX", "CMYK", "YCbCr")


def read(file: BinaryIO | Path, channels: int, name: str) -> np.ndarray:
    """Decodes a picture with Pillow and converts it to the channels asked for, in the same way on every machine.

    Of 16 bits the high byte is kept, so 0..65535 becomes 0..255: what libpng, and with it TensorFlow and Pillow's
    reader of 16-bit colour, does. Colour becomes grey by the luma of ITU-R 601. Alpha that hides nothing is dropped
    where it is not asked for.

    Args:
      channels: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
      name: of the data set, for errors.

    Returns:
      uint8 (height, width, channels).

    Raises:
      DataError: if a pixel is transparent and no alpha is asked for, or the picture is of a mode without a known range
        of values (I, F) or without a conversion that is the same everywhere (LAB, HSV).
      OSError: if the file is no picture, or a damaged one.
    """
    with Image.open(file) as image:
        refuse_unscaled(image, name)
        image.load()
        pixels = np.asarray(_converted(eight_bits(image, name), _CHANNELS[channels], name))
    return pixels.reshape(*pixels.shape[:2], channels)


def refuse_unscaled(image: Image.Image, name: str) -> None:
    """Refuses a TIFF of grey that Pillow gives as 16 bits without bringing its values to them.

    Raises:
      DataError: if its values are of fewer bits, or white is zero.
    """
    tags = getattr(image, "tag_v2", {})
    bits, zero_is_white = tags.get(_BITS, (16,))[0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode in _SIXTEEN_BITS and (bits != 16 or zero_is_white):
        raise DataError(f"{name}: a TIFF of {bits} bits{' in which zero is white' if zero_is_white else ''} has no "
                        "fixed conversion to 8 bits; store the pictures as 8-bit grey or RGB")


def has_alpha(image: Image.Image) -> bool:
    """Says whether a picture may have transparent pixels: by its mode, or by a colour that is declared transparent."""
    return image.mode in _WITH_ALPHA or "transparency" in image.info


def is_dark(image: Image.Image) -> bool:
    """Says whether a picture of 16 bits uses less than a sixteenth of their range, as where 12 bits are stored so."""
    return image.mode in _SIXTEEN_BITS and int(np.asarray(image).max()) < 2**12


def eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Brings a picture to a mode of 8 bits a channel that Pillow converts by a fixed rule; of 16 bits the high byte.

    Raises:
      DataError: if its values have no known range, or its mode no conversion that is the same everywhere.
    """
    if image.mode in _PREMULTIPLIED:
        return image.convert(_PREMULTIPLIED[image.mode])
    if image.mode in (*_WITH_ALPHA, *_OPAQUE):
        return image
    # Pillow's own conversion would clip: 256..65535 all white. A grey marked transparent has no place in the high byte.
    if image.mode in _SIXTEEN_BITS and "transparency" not in image.info:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    marked = " with a transparent value" if "transparency" in image.info else ""
    raise DataError(
        f"{name}: a picture is stored in Pillow's mode {image.mode}{marked}, which has no fixed conversion to 8 bits; "
        "store the pictures as 8-bit grey or RGB"
    )


def _converted(image: Image.Image, mode: str, name: str) -> Image.Image:
    if has_alpha(image):
        image = image.convert("RGBA")
        if "A" not in mode and image.getchannel("A").getextrema() != (255, 255):
            raise DataError(
                f"{name}: a picture has transparent pixels, which {mode} cannot show; "
                "store the pictures without alpha, or declare a channel for it"
            )
    return image if image.mode == mode else image.convert(mode)
