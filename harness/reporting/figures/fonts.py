"""Text in pictures: the fonts that are looked through, what none of them has, and how much room a text takes.

Every string from a record passes through here on its way into a picture.
"""

import dataclasses
import functools
import importlib.util
import math
import pathlib
from collections.abc import Sequence

import matplotlib
import matplotlib.font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.ft2font import FT2Font

from harness.records.text import printable

_FIRST = "DejaVu Sans"  # comes with matplotlib
# The first comes as a package, so that Japanese looks the same everywhere; the others where the system has them.
_FURTHER = ("IPAexGothic", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans", "Hiragino Sans",
            "Yu Gothic", "Microsoft YaHei", "PingFang SC", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS")
_DPI = 72.0
_ELLIPSIS = "…"


@functools.cache
def families() -> tuple[str, ...]:
    """Lists the fonts that are there, the one to look in first coming first."""
    package = importlib.util.find_spec("matplotlib_fontja")  # importing it would change matplotlib's settings
    for folder in package.submodule_search_locations or () if package else ():
        known = matplotlib.font_manager.fontManager
        known.addfont(pathlib.Path(folder) / "fonts" / "ipaexg.ttf")
        # It has no bold letters, of which matplotlib would warn.
        known.ttflist.append(dataclasses.replace(known.ttflist[-1], weight=700))
    installed = set(matplotlib.font_manager.get_font_names())
    return (_FIRST, *(name for name in _FURTHER if name in installed))


@functools.cache
def _characters(family: str) -> frozenset[int]:
    return frozenset(FT2Font(matplotlib.font_manager.findfont(family)).get_charmap())


def drawable(text: str) -> str:
    """Makes a string from a record inert, and names by its code point each character that no font has.

    Where the first font does not do, what is composed from here on is looked up in all of them, which takes time that
    most pictures need not spend; `style.compose` has the picture composed again then.
    """
    text = printable(text)
    if _characters(_FIRST).issuperset(map(ord, text)):
        return text
    matplotlib.rcParams["font.family"] = list(families())
    return "".join(character if any(ord(character) in _characters(family) for family in families())
                   else f"<U+{ord(character):04X}>" for character in text)


def width(text: str, size: float) -> float:
    """Measures the longest line of a text at a font size in points; in inches."""
    family = tuple(matplotlib.rcParams["font.family"])
    return max(_line_width(line, size, family) for line in text.split("\n"))


@functools.lru_cache(maxsize=4096)
def _line_width(line: str, size: float, family: tuple[str, ...]) -> float:
    font = matplotlib.font_manager.FontProperties(family=family, size=size)
    return _measure().get_text_width_height_descent(line, font, ismath=False)[0] / _DPI


@functools.cache
def _measure() -> RendererAgg:
    return RendererAgg(1, 1, _DPI)


def widest(texts: Sequence[str], size: float) -> float:
    """Measures the widest of some texts, in inches; 0 of none."""
    return max((width(text, size) for text in texts), default=0.0)


def fit(text: str, room: float, size: float) -> str:
    """Makes a string drawable on one line of so many inches; of one too long the middle is left out."""
    text = drawable(text)
    if width(text, size) <= room:
        return text
    few, many = 0, len(text) - 1  # characters kept
    while few < many:
        middle = (few + many + 1) // 2
        few, many = (middle, many) if width(_without_middle(text, middle), size) <= room else (few, middle - 1)
    return _without_middle(text, few)


def _without_middle(text: str, kept: int) -> str:
    head = math.ceil(kept / 2)
    return f"{text[:head].rstrip()}{_ELLIPSIS}{text[len(text) - (kept - head):].lstrip()}"


def wrap(text: str, room: float, size: float, lines: int = 2) -> str:
    """Makes a string drawable on so many lines of so many inches, broken between words where that is enough."""
    found: list[str] = []
    rest = drawable(text)
    while len(found) < lines - 1 and width(rest, size) > room:
        cut = max((place for place in range(1, len(rest)) if rest[place] == " " and width(rest[:place], size) <= room),
                  default=0)
        if not cut:
            break
        found.append(rest[:cut])
        rest = rest[cut + 1:]
    return "\n".join([*found, fit(rest, room, size)])


def columns(names: Sequence[str], room: float, size: float, handle: float = 0.0) -> int:
    """Counts the columns of a legend in so many inches, with a handle of some inches each: as few as its lines need."""
    if not names:
        return 1
    # Source: matplotlib's legend.columnspacing, 2 ems.
    gap = 2 * size / _DPI
    most = max(1, min(len(names), int((room + gap) / (widest(names, size) + handle + gap))))
    return math.ceil(len(names) / math.ceil(len(names) / most))
