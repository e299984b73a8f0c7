"""Where what can be had again is kept: decoded pictures, features, weights, compiled programs."""

import os
from pathlib import Path

import platformdirs

from harness.records.files import in_home

_NAME = "image_ablation_harness"


def folder(kind: str) -> Path:
    """Names the folder of files of one kind: in $XDG_CACHE_HOME, else where the platform keeps caches.

    platformdirs heeds that variable on Linux, on macOS in its later versions alone and on Windows never; here it
    counts everywhere.

    Raises:
      FileNotFoundError: in one line, if that is in the home folder and this user has none.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return in_home(home) / _NAME / kind
    in_home("~")  # the library's own error has many lines
    return platformdirs.user_cache_path(_NAME, appauthor=False) / kind
