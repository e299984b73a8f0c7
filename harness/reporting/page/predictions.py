"""The page of what a network says of pictures: each as the network reads it, with labels and probabilities."""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from harness.records.text import printable
from harness.reporting.page.shell import image, render


@dataclasses.dataclass(frozen=True)
class Shown:
    """A picture on the page.

    Attributes:
      pixels: uint8 [height, width, channel]; None for a file that could not be read.
      ranked: labels and their probabilities, the likeliest first.
      truth: its class; empty if that is not known.
      error: why it could not be read.
    """

    name: str
    pixels: np.ndarray | None
    ranked: Sequence[tuple[str, float]]
    truth: str = ""
    error: str = ""


def predictions_page(title: str, facts: Sequence[str], shown: Sequence[Shown]) -> bytes:
    """Builds the page.

    Args:
      title: what the network is called.
      facts: sentences above the pictures.
    """
    return render("predictions.html", {}, ("dom.js", "tables.js", "predictions.js"), charts=False,
                  title=printable(title), facts=list(map(printable, facts)), rows=[_row(one) for one in shown],
                  with_truth=any(one.truth for one in shown))


def _row(one: Shown) -> dict[str, object]:
    best = one.ranked[0] if one.ranked else None
    return {"name": printable(one.name), "address": image(_png(one.pixels)) if one.pixels is not None else None,
            "pixelated": one.pixels is not None and max(one.pixels.shape[:2]) < 96, "error": printable(one.error),
            "ranked": [(printable(label), f"{score:.4f}") for label, score in one.ranked],
            "probability": best[1] if best else -1, "truth": printable(one.truth),
            "wrong": bool(best and one.truth and best[0] != one.truth)}


def _png(pixels: np.ndarray) -> bytes:
    # Of other numbers of channels, the first is shown.
    drawn = pixels if pixels.shape[2] == 3 else pixels[..., 0]
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    return file.getvalue()
