"""Text for narrow places: names without what all of them share, lines that break between words, cuts that show."""

import itertools
import re
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

ELLIPSIS = "…"
# A name may go on in the next line after one of these; a sign or an exponent is part of its number.
_BREAK = re.compile(r"(?<=[,;/=_|])(?=\S)|(?<=\w[+-])(?=[^\W\d])")
_SENTENCE = 40
_SETTING = re.compile(r",(?=[^,=]+=)")


def wrapped(text: str, width: int) -> list[str]:
    """Breaks text into lines: at spaces, else after the separators within a name, else, where neither is, cut short.

    Args:
      width: of the screen's cells, of which some characters take two.
    """
    # In a sentence, a path or a file's name of most of a line is not worth the rest of the line before it.
    longest = width if width < _SENTENCE else 2 * width // 3
    lines = [""]
    for word in text.split():
        for number, piece in enumerate(_BREAK.split(word) if cell_len(word) > longest else [word]):
            space = " " if lines[-1] and number == 0 else ""
            if lines[-1] and cell_len(lines[-1] + space + piece) > width:
                lines.append("")
                space = ""
            lines[-1] = cut(lines[-1] + space + piece, width)
    return lines


def narrowest(text: str) -> int:
    """Tells in how many cells `wrapped` still cuts nothing."""
    return max((cell_len(piece) for word in text.split() for piece in _BREAK.split(word)), default=0)


def cut(text: str, width: int) -> str:
    """Cuts text where it is too long, and shows that it does."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + ELLIPSIS


def paragraph(text: str, width: int, lines: int) -> list[str]:
    """Breaks text into lines, of which so many are shown."""
    whole = wrapped(text, width)
    return whole if len(whole) <= lines else [*whole[:lines - 1], cut(f"{whole[lines - 1]} {ELLIPSIS}", width)]


def without_common(labels: Sequence[str], least: int = 4) -> list[str]:
    """Puts an ellipsis in place of what all labels begin with and end with, up to a separator.

    Args:
      least: characters that are worth it.
    """
    if len(set(labels)) < 2:
        return list(labels)
    begin = _common(labels)
    end = _common([label[:begin - 1 if begin else None:-1] for label in labels])
    begin, end = (length if length >= least else 0 for length in (begin, end))
    return [ELLIPSIS * bool(begin) + label[begin:len(label) - end] + ELLIPSIS * bool(end) for label in labels]


def _common(labels: Sequence[str]) -> int:
    """Counts the characters that all begin with, whole words alone, and not all of any."""
    places = zip(*(label[:-1] for label in labels), strict=False)
    shared = "".join(place[0] for place in itertools.takewhile(lambda place: len(set(place)) == 1, places))
    return max((place.end() for place in re.finditer(r"[^\w.]|_", shared)), default=0)


def distinct(names: Sequence[str], width: int | None = None) -> tuple[str, list[str]]:
    """Shortens names such as "a=1,b=2,seed=0" to what tells them apart.

    What all share is left out; then, where they are still too wide, the words before the equals signs; and then the
    middle of each.

    Args:
      width: cells that a name may take; None leaves the words.

    Returns:
      the words left out, to stand once above the names, or nothing; and the names in their order, each different from
      all others that it was different from.
    """
    settings = [_SETTING.split(name) for name in names]
    shared = set.intersection(*map(set, settings)) if len(set(names)) > 1 else set()
    settings = [[one for one in name if one not in shared] for name in settings]
    short = [",".join(rest) or name for rest, name in zip(settings, names, strict=True)]
    if width is None or all(cell_len(name) <= width for name in short):
        return "", short
    keys = {tuple(one.partition("=")[0] for one in name if "=" in one) for name in settings}
    bare = [",".join(one.partition("=")[2] or one for one in name) for name in settings]
    if len(keys) != 1 or len(set(bare)) < len(set(names)):
        return "", _elided(short, width)
    [words] = keys
    return ",".join(words), bare if all(cell_len(name) <= width for name in bare) else _elided(bare, width)


def _elided(names: Sequence[str], width: int) -> list[str]:
    """Leaves out of each name what is behind a beginning of one length, so long that names stay apart."""
    different = len(set(names))
    for begin in range(width - 1, -1, -1):
        found = [name if cell_len(name) <= width else cut(name, begin + 1) + _tail(name, width - begin - 1)
                 for name in names]
        if len(set(found)) == different:
            return found
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names), 1)}
    return [cut(name, width - len(str(different)) - 1) + f" {numbers[name]}" for name in names]


def _tail(text: str, width: int) -> str:
    """Keeps the end of a text."""
    while cell_len(text) > width:
        text = text[1:]
    return text
