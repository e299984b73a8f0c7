"""The shipped ablations, listed by hand. Knows no jax call and opens no file."""

import difflib

from ablations import fashion_regularization
from ablations.spec import Ablation

ABLATIONS: dict[str, Ablation] = {
    "fashion_regularization": fashion_regularization.ABLATION,
}


class UnknownAblationError(LookupError):
    """No ablation has this name; the message is one line that lists those there are."""


def get(name: str) -> Ablation:
    """Finds an ablation by name.

    Raises:
      UnknownAblationError: if there is none, listing the names.
    """
    if name in ABLATIONS:
        return ABLATIONS[name]
    close = difflib.get_close_matches(name, ABLATIONS, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UnknownAblationError(f'no ablation "{name}"; {hint}there are: {", ".join(ABLATIONS)}')
