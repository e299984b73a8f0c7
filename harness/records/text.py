"""Strings from records made inert: one line, no control characters, of a length that can be shown."""

_LONGEST = 300


def printable(text: str) -> str:
    """Makes a string from a record one line without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())


def shortened(text: str) -> str:
    """Makes a string printable and cuts it where it is too long for a table."""
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST - 3]}..."
