"""Text as LaTeX takes it, and how wide it is there: 8 pt Computer Modern, whatever the size of the text around it."""

import functools
import re
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import LoadFlags

from harness.records.text import printable
from harness.reporting.render import DASH

SIZE_PT = 8
LINE_PT = 9.5
_LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
          "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
          '"': r"\textquotedbl{}", "|": r"\textbar{}",
          # After the end of a row these would be read as its optional argument.
          "[": "{[}", "]": "{]}", "*": "{*}", DASH: "--", "\u2020": r"\dag{}", "±": r"$\pm$"}
# The 8 pt design is wider than the 10 pt one made smaller, and bold wider than that: as pdflatex measures them.
_DESIGN, BOLD = 1.0625, 1.16
# What the fonts that come with matplotlib lack or have elsewhere -> a character of that width or a little more.
_ALIKE = str.maketrans({**dict.fromkeys("_<>^~", "+"), DASH: "0", "\u2020": "0", "±": "+"})


def escape(text: str) -> str:
    """Escapes what LaTeX would act on, and names what its standard fonts lack by code point."""
    return "".join(_LATEX.get(character) or (character if character.isascii() else f"{{{_named(character)}}}")
                   for character in printable(text))


def figures(text: str) -> str:
    """Escapes figures; their hyphens are minus signs."""
    return re.sub(r"-(?=\d)", "$-$", escape(text))


def breakable(text: str, width_pt: float) -> str:
    """Escapes words that may be broken where they are wider than a line; no hyphen says that they were."""
    return " ".join(r"\allowbreak{}".join(map(escape, _pieces(word, width_pt))) for word in printable(text).split())


def width(text: str, *, bold: bool = False) -> float:
    """Measures text on one line, in points; a little too wide where letters are drawn closer together."""
    characters = re.sub(r"-(?=\d)", "+", printable(text)).translate(_ALIKE)
    return sum(map(_advance, characters)) * (BOLD if bold else 1.0)


def wrapped(text: str, width_pt: float) -> list[str]:
    """Breaks text into lines as `breakable` lets LaTeX do."""
    lines = [""]
    for word in printable(text).split():
        for number, piece in enumerate(_pieces(word, width_pt)):
            longer = f"{lines[-1]} {piece}" if number == 0 and lines[-1] else lines[-1] + piece
            if lines[-1] and width(longer) > width_pt:
                lines.append(piece)
            else:
                lines[-1] = longer
    return lines


def _pieces(word: str, width_pt: float) -> list[str]:
    """Cuts a word into pieces that fit a line, after a sign if there is one."""
    pieces = []
    while len(word) > 1 and width(word) > width_pt:
        fits = max((end for end in range(1, len(word)) if width(word[:end]) <= width_pt), default=1)
        cut = max((end for end in range(1, fits + 1) if not word[end - 1].isalnum()), default=fits)
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word]


def _named(character: str) -> str:
    return f"U+{ord(character):04X}"


@functools.cache
def _advance(character: str) -> float:
    if not character.isascii():
        return sum(map(_advance, _named(character)))
    font = font_manager.get_font(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "cmr10.ttf")))
    glyph = font.load_char(ord(character), LoadFlags.NO_SCALE)
    return float(glyph.horiAdvance) / font.units_per_EM * SIZE_PT * _DESIGN
