"""Tells a user's code from the harness's and from what is installed, and keeps one ablation's importable at a time.

A user's code is what lies below the folder of the ablation's file, or below the folder that its package is in; of an
installed package, the package alone.
"""

import ast
import contextlib
import importlib
import os
import pathlib
import sys
import sysconfig
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

# The harness's own packages: no folder's modules of these names are loaded instead of them.
HOUSES = ("harness", "models", "ablations")
_ROOT = pathlib.Path(__file__).resolve().parents[1]
_INSTALLED = tuple({pathlib.Path(path).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
                    if (path := sysconfig.get_path(name))})
_PACKAGES = {"site-packages", "dist-packages"}
_PROGRAMS = ("__main__", "__mp_main__")


class Code(NamedTuple):
    """The user's code in memory.

    Attributes:
      on_path: the folder that it was imported from.
      modules: name -> module.
    """

    on_path: pathlib.Path
    modules: dict[str, types.ModuleType]


class _Entered:
    """What this process has of the one ablation whose modules can be imported now."""

    on_path: pathlib.Path | None = None
    before: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


def enter(folder: pathlib.Path) -> None:
    """Puts a folder first on the path, where it stays until another ablation is found or used."""
    leave()
    importlib.invalidate_caches()
    _Entered.on_path, _Entered.before = folder, frozenset(sys.modules)
    sys.path.insert(0, str(folder))


def use(code: Code | None) -> None:
    """Makes an ablation's modules importable, and those of the one before no longer.

    Its functions may import when they are called, long after it was loaded, and after others were.
    """
    leave()
    if code is not None:
        enter(code.on_path)
        sys.modules.update(code.modules)
        _Entered.names = frozenset(code.modules)


def leave() -> None:
    """Forgets the modules that were imported for the ablation entered last: the next may have others of their names."""
    if _Entered.on_path is None:
        return
    with contextlib.suppress(ValueError):
        sys.path.remove(str(_Entered.on_path))
    below = modules(_Entered.on_path).keys() | _Entered.names
    for name in below - _Entered.before:
        sys.modules.pop(name, None)
    _Entered.on_path, _Entered.names = None, frozenset()


def loaded(root: pathlib.Path, package: str = "") -> Code:
    """Gives the user's code as it is in memory, after it was imported in the folder entered.

    Args:
      root: the folder that its paths begin at.
      package: the package that was named; empty if a file was.
    """
    assert _Entered.on_path is not None, "imported from there"
    found = modules(root, package)
    _Entered.names = frozenset(found)
    return Code(_Entered.on_path, found)


def modules(root: pathlib.Path, package: str = "") -> dict[str, types.ModuleType]:
    """Lists the modules in memory that are the user's, whoever imported them and when."""
    real: dict[str, str] = {}
    wanted = {}
    for name, module in sorted(sys.modules.items()):
        top = name.partition(".")[0]
        may_be = name not in _PROGRAMS and (top == package or top not in HOUSES)
        if may_be and (place := _place(module, real)) and is_own(place, root, package):
            wanted[name] = module
    return wanted


def files(code: Code, root: pathlib.Path, package: str = "") -> list[pathlib.Path]:
    """Lists the files of the user's code, also those that its functions import when they are called.

    A module that was loaded past Python's list of them is found where another holds it.
    """
    real: dict[str, str] = {}
    waiting, seen, found = list(code.modules.values()), set[int](), dict[pathlib.Path, None]()
    while waiting:
        module = waiting.pop()
        if id(module) not in seen and (place := _place(module, real)) and is_own(place, root, package):
            seen.add(id(module))
            found |= {place: None} if place.is_file() else {}
            waiting += [value for value in _namespace(module).values() if issubclass(type(value), types.ModuleType)]
    unread = list(found)
    while unread:
        for file in _named_in(unread.pop(), root):
            if file not in found and is_own(file, root, package):
                found[file] = None
                unread.append(file)
    return sorted(found)


def is_own(file: pathlib.Path, root: pathlib.Path, package: str = "") -> bool:
    """Whether a file is there below a folder and is neither the harness's nor installed, as in a virtual environment.

    Args:
      package: in that folder; the user's wherever it lies.
    """
    if not file.is_relative_to(root) or file == root or not file.exists():
        return False
    parts = file.relative_to(root).parts
    if package and parts[0] in (package, f"{package}.py"):
        return True
    if _PACKAGES & {root.name, *parts} or any(
            file.is_relative_to(place) for place in _INSTALLED if not root.is_relative_to(place)):
        return False
    return house(file) in (None, house(root))


def house(path: str | pathlib.Path) -> str | None:
    """Names the harness's package that a file or folder belongs to."""
    return next((one for one in HOUSES if pathlib.Path(path).is_relative_to(_ROOT / one)), None)


def _place(module: object, real: dict[str, str]) -> pathlib.Path | None:
    """Gives the file of a module, or its folder where a package has none; None for those that a library makes up.

    Args:
      real: folder -> where it really is, as far as that was asked.
    """
    held = _namespace(module)
    file = held.get("__file__")
    if file is None and "__path__" in held:
        with contextlib.suppress(KeyError):  # of a package that is in another, which is gone
            file = next(iter(held["__path__"]), None)
    if not isinstance(file, str) or not pathlib.Path(file).is_absolute():
        return None
    folder, name = os.path.split(file)
    if folder not in real:
        real[folder] = os.path.realpath(folder)
    return pathlib.Path(real[folder], name)


def _namespace(module: object) -> dict[str, Any]:
    """Gives what a module holds without asking it, which may load it or raise."""
    try:
        return object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}


def _named_in(file: pathlib.Path, root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Finds the files that the import statements of a file name, wherever in it they stand."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # compiled code, or what will fail when it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [(root, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= len(file.parents):
            start = file.parents[node.level - 1] if node.level else root
            stem = node.module.split(".") if node.module else []
            named = [(start, [*stem, alias.name]) for alias in node.names]
        else:
            continue
        for start, parts in named:
            if start != root or not _is_elsewhere(parts[0], root):
                for depth in range(len(parts)):
                    place = start.joinpath(*parts[:depth + 1])
                    yield from (one for one in (place.with_name(f"{place.name}.py"), place / "__init__.py")
                                if one.is_file())


def _is_elsewhere(name: str, root: pathlib.Path) -> bool:
    """Whether an import of a name in the user's code means another module than one below the folder."""
    if name in HOUSES or name not in sys.modules:
        return name in HOUSES
    place = _place(sys.modules[name], {})
    return not place.is_relative_to(root) if place else name in sys.stdlib_module_names
