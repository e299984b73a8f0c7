"""Fetches one file over HTTP: resumable, with progress, and never a file under its final name before it is whole.

pooch does the rest of it, but begins a transfer that broke anew.
"""

import base64
import hashlib
import re
from pathlib import Path

import filelock
import requests
from tqdm import tqdm

from harness.data.decoded import DataError

_TIMEOUT_S = (5, 30)  # to connect, between two blocks: offline must fail soon, a slow server may take its time
_BLOCK_BYTES = 1 << 20


def published(url: str) -> tuple[int, str | None]:
    """Asks a server for a file's size and md5; None if it states no md5, as Google's storage does in a header.

    Raises:
      requests.RequestException: if the server cannot be reached or has no such file.
    """
    with requests.head(url, headers={"Accept-Encoding": "identity"}, timeout=_TIMEOUT_S) as response:
        response.raise_for_status()
        stated = re.search(r"md5=([A-Za-z0-9+/=]+)", response.headers.get("x-goog-hash", ""))
        return int(response.headers.get("Content-Length", 0)), base64.b64decode(stated[1]).hex() if stated else None


def fetch(url: str, size: int, digest: str, target: Path, algorithm: str = "sha256") -> None:
    """Downloads `url` to `target`, continuing a part that an interrupted call left beside it.

    Raises:
      requests.RequestException: if the server cannot be reached or the transfer breaks; the part is kept.
      DataError: if what arrived is not what was asked for; the part is deleted.
    """
    # Asked before any folder is made, so that an attempt without a network leaves nothing behind.
    requests.head(url, timeout=_TIMEOUT_S).close()
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target.with_name(target.name + ".lock")):
        if target.exists():  # another process was faster
            return
        part = target.with_name(target.name + ".part")
        have = part.stat().st_size if part.exists() else 0
        if have < size:
            _transfer(url, size, have, part)
        found, found_bytes = file_digest(part, algorithm), part.stat().st_size
        if found != digest:
            part.unlink()
            raise DataError(
                f"downloading {url} gave {algorithm} {found} ({found_bytes} bytes), expected {digest} ({size} bytes); "
                "it was deleted: try again, or place the file by hand"
            )
        part.rename(target)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hashes a file without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _transfer(url: str, size: int, have: int, part: Path) -> None:
    # "identity" keeps a server from compressing on the fly, which would upset sizes and ranges.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # a server may ignore the range and send all
            have = 0
        with (
            part.open("ab" if have else "wb") as file,
            tqdm(total=size, initial=have, unit="B", unit_scale=True, desc=part.stem) as progress,
        ):
            for block in response.iter_content(_BLOCK_BYTES):
                progress.update(file.write(block))
