"""Small pictures of a run for TensorBoard: first-layer filters, and test images it took for something else."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

_GAP_PX, _TILE_PX, _LINE_PX = 4, 84, 13
_PAPER, _INK = 255, 0

Sheet = UInt8[np.ndarray, "height width 3"]


def filters(kernel: Float[np.ndarray, "..."], image_shape: tuple[int, ...], most: int = 64) -> Sheet | None:
    """Shows what the units of the first layer respond to: mid-grey is zero, each filter scaled to its largest weight.

    Args:
      kernel: the first layer's, [height, width, channel, filter] of a convolution or [input, unit] of a dense layer.
      image_shape: height, width, channels of the images.
      most: filters to show, the first ones.

    Returns:
      the picture; None if the kernel does not act on images of 1 or 3 channels.
    """
    if kernel.ndim == 2 and kernel.shape[0] == np.prod(image_shape):
        kernel = kernel.reshape(*image_shape, -1)
    if kernel.ndim != 4 or kernel.shape[2] not in (1, 3):
        return None
    shown = np.moveaxis(kernel[..., :most], -1, 0)
    largest = np.abs(shown).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(shown, largest, out=np.zeros_like(shown), where=largest > 0)
    return _sheet((127.5 + 127.5 * scaled).astype(np.uint8), [])


def mistakes(images: UInt8[np.ndarray, "example height width channel"], labels: Int[np.ndarray, " example"],
             predicted: Int[np.ndarray, " example"], probability: Float[np.ndarray, " example"],
             class_names: Sequence[str], most: int = 24) -> Sheet | None:
    """Shows the test images that were taken for something else with the greatest confidence.

    Args:
      probability: of the predicted class.
      most: images to show.

    Returns:
      the picture, with the predicted class, its probability and the true class under each image; None if all is right,
      or images have neither 1 nor 3 channels.
    """
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-probability[wrong], kind="stable")][:most]
    if not len(wrong) or images.shape[-1] not in (1, 3):
        return None
    return _sheet(images[wrong], [
        (f"{class_names[predicted[index]]} {probability[index]:.2f}", f"is {class_names[labels[index]]}")
        for index in wrong])


def _sheet(tiles: UInt8[np.ndarray, "tile height width channel"], captions: Sequence[tuple[str, ...]]) -> Sheet:
    """Lays tiles out in rows of eight, enlarged without smoothing."""
    lines = len(captions[0]) if captions else 0
    scale = max(1, _TILE_PX // max(tiles.shape[1:3]))
    height, width = tiles.shape[1] * scale, tiles.shape[2] * scale
    column, row = max(width, _TILE_PX if captions else 0) + _GAP_PX, height + _LINE_PX * lines + _GAP_PX
    columns = min(8, len(tiles))
    sheet = Image.new("RGB", (columns * column + _GAP_PX, -(-len(tiles) // columns) * row + _GAP_PX), (_PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(10)
    for place, tile in enumerate(tiles):
        down, across = divmod(place, columns)
        left, top = _GAP_PX + across * column, _GAP_PX + down * row
        enlarged = np.broadcast_to(tile, (*tile.shape[:2], 3)).repeat(scale, 0).repeat(scale, 1)
        sheet.paste(Image.fromarray(np.ascontiguousarray(enlarged)), (left, top))
        for line, text in enumerate(captions[place] if captions else ()):
            while draw.textlength(text, font) > column - _GAP_PX:
                text = text[:-2] + "…"
            draw.text((left, top + height + line * _LINE_PX), text, fill=(_INK,) * 3, font=font)
    return np.asarray(sheet)
