"""Puts a page together: template, styles, scripts and libraries in one file that opens from disk.

The content security policy names every script by its hash and allows no connection, so that a page loads nothing and
runs nothing that was not written for it.
"""

import base64
import functools
import hashlib
import importlib.util
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_PLOTLY = ("plotly", "package_data/plotly.min.js")
_DATATABLES = ("itables", "html/dt_bundle.js")
_DATATABLES_STYLES = ("itables", "html/dt_bundle.css")


def render(template: str, data: Any, scripts: Sequence[str], *, charts: bool, **values: Any) -> bytes:
    """Renders a page; the same arguments give the same bytes.

    Args:
      template: file in templates/; it extends shell.html.
      data: JSON that the scripts read.
      scripts: files in templates/ that make up the page's one program, in order.
      charts: whether the page draws any and needs the library for them.
      values: what the template prints; it escapes all of them.
    """
    start = _source("theme.js")
    program = "\n".join(map(_source, scripts))
    policy = {"default-src": "'none'", "img-src": "data: blob:", "style-src": "'unsafe-inline'",
              "script-src": " ".join(["blob:", *(f"'{_hash(text)}'" for text in (start, program))])}
    return _environment().get_template(template).render(
        policy="; ".join(f"{name} {sources}" for name, sources in policy.items()),
        styles=[_inert(_library(*_DATATABLES_STYLES), "style"), _inert(_source("page.css"), "style")],
        start=_inert(start), program=_inert(program), data=embed_json(data),
        tables_library=embed_json(_library(*_DATATABLES)),
        charts_library=embed_json(_library(*_PLOTLY)) if charts else None, **values,
    ).encode()


def embed_json(value: Any) -> Markup:
    """Writes JSON that no HTML parser can take for anything else, whatever strings are in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    # Strings alone can hold these; U+2028 and U+2029 end a line in older JavaScript, lone surrogates have no UTF-8.
    return Markup(re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text))


def image(png: bytes) -> str:
    """Writes a picture as an address that holds it whole."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _inert(text: str, element: str = "script") -> Markup:
    """Marks our own or a library's source as safe to print, once nothing in it would end its element early."""
    if re.search(rf"</{element}|<!--", text, re.IGNORECASE):
        raise ValueError(f'a source to be embedded contains "</{element}" or "<!--"')
    return Markup(text)


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def _library(package: str, path: str) -> str:
    # Found without importing it: a page needs the file alone.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"pages need the package {package}: pip install {package}")
    return (pathlib.Path(spec.submodule_search_locations[0]) / path).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def intern(values: Mapping[Any, Any]) -> tuple[list[Any], dict[Any, int]]:
    """Keeps one copy of JSON values that recur.

    Returns:
      the distinct values, and key -> position among them.
    """
    places: dict[str, int] = {}
    distinct: list[Any] = []
    where = {}
    for key, value in values.items():
        text = json.dumps(value, sort_keys=True)
        if text not in places:
            places[text] = len(distinct)
            distinct.append(value)
        where[key] = places[text]
    return distinct, where
