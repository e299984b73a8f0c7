"""Finds the ablation that a command names: a shipped one by its name, anybody's by its file or module.

A file is executed, with its own folder first on the path. The user's code is handed on as it was read, so that records
can say which code they are of.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from ablations import UnknownAblationError, get, own_code, trial
from ablations.spec import LABEL, Ablation, Run, SpecError

_ATTRIBUTE = "ABLATION"
# Folders of results that are no ablation's, and names that Windows keeps for devices.
_RESERVED = {"bench", "con", "prn", "aux", "nul",
             *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
# Whose classes make a configuration that its JSON alone gives back; NumPy's are numbers.
_KNOWN = ("builtins", "numpy", *own_code.HOUSES)


@dataclasses.dataclass(frozen=True)
class Study:
    """An ablation and where it is written.

    Attributes:
      name: of its folder of results.
      origin: "/path/my_study.py", "/path/my_study.py:NAME" or "package.module:NAME"; empty if it is shipped.
      sources: the file and every module of its folder that it imports, as path from there -> content.
      overrides: path -> value that the command sets in every run, and "smoke" -> examples of a trial.
      code: the same in memory; None if it is shipped.
    """

    name: str
    ablation: Ablation
    origin: str = ""
    sources: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    code: own_code.Code | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each of its sources."""
        return {path: hashlib.sha256(content).hexdigest() for path, content in self.sources.items()}

    def runs(self, seeds: tuple[int, ...] = ()) -> list[Run]:
        """Expands the ablation into runs, of a trial each cut short.

        Args:
          seeds: in the place of its own.
        """
        runs = (dataclasses.replace(self.ablation, seeds=seeds) if seeds else self.ablation).runs()
        if (examples := self.overrides.get(trial.FIELD)) is None:
            return runs
        return [dataclasses.replace(run, config=trial.cut_short(run.config, examples, self.overrides)) for run in runs]

    @property
    def uncut(self) -> list[Run]:
        """The runs of a trial as they are without it, unless the command says itself how long they are."""
        is_cut = trial.FIELD in self.overrides and not {"epochs", "steps", "train_size"} & self.overrides.keys()
        return self.ablation.runs() if is_cut else []


def find(text: str) -> Study:
    """Finds an ablation.

    Args:
      text: a shipped ablation's name, "my_study.py", "my_study.py:NAME", "package.module" or "package.module:NAME";
        NAME is the attribute that holds the ablation, ABLATION without it.

    Raises:
      UnknownAblationError: if there is none, listing those there are.
      SpecError: if the file cannot be loaded, naming the line.
    """
    target, attribute = parted(text)
    if target.endswith(".py"):
        return _of_file(located(target), attribute or _ATTRIBUTE)
    if re.fullmatch(r"\w+(\.\w+)*" if attribute else r"\w+(\.\w+)+", target):
        return _of_module(target, attribute or _ATTRIBUTE)
    if attribute:
        raise UnknownAblationError(f'no ablation "{text}": "{target}" is neither a file such as my_study.py nor a '
                                   "module such as package.module")
    if "=" in text:
        raise UnknownAblationError(f'no ablation "{text}"; what a command changes is set by --set={text}')
    if pathlib.Path(f"{text}.py").is_file():
        raise UnknownAblationError(f'no ablation "{text}"; did you mean the file {text}.py?')
    return Study(text, get(text))


def named(text: str) -> list[str]:
    """Parts names that commas join; the name of a file that is there is one, whatever its path holds."""
    with contextlib.suppress(OSError):  # together they are longer than a file's name may be
        if located(parted(text)[0]).is_file():
            return [text]
    return text.split(",")


def parted(text: str) -> tuple[str, str]:
    """Parts the file or module from the attribute behind a colon, of which folders may have some too."""
    target, colon, attribute = text.rpartition(":")
    return (target, attribute) if colon and not text.endswith(".py") else (text, "")


def located(text: str) -> pathlib.Path:
    """Gives a file, with a leading ~ expanded where that stands for a home folder and is not the file's own name."""
    path = pathlib.Path(text)
    with contextlib.suppress(RuntimeError, OSError):  # there is no such user; a folder may not be looked into
        if not path.exists():
            return path.expanduser()
    return path


def overridden(study: Study, settings: Mapping[str, Any], seeds: tuple[int, ...]) -> Study:
    """Derives an ablation; its name says what was overridden.

    Args:
      settings: path -> value, set in every run; "smoke" -> examples that every run is tried on, see `Study.runs`.

    Raises:
      SpecError: if a setting does not fit, or there are too many for a name.
    """
    ablation, overrides = study.ablation, dict(settings)
    if trial.FIELD in overrides:
        trial.check(overrides[trial.FIELD])
    # Where the ablation gives a number of steps, that would count for more.
    if "epochs" in overrides and "steps" not in ablation.varied and any(
            run.config.steps is not None for run in ablation.runs()):
        overrides.setdefault("steps", None)
    full_name = derived_name(study.name, overrides)
    if len(full_name.encode()) > 200:
        raise SpecError(f"{len(overrides)} overrides are too many for a folder's name: write a file of your own, and "
                        "name it with --ablation=FILE.py")
    made = {path: value for path, value in overrides.items() if path != trial.FIELD}
    ablation = dataclasses.replace(ablation, seeds=seeds, overrides={**ablation.overrides, **made})
    return dataclasses.replace(study, name=full_name, ablation=ablation, overrides=overrides)


def derived_name(name: str, overrides: Mapping[str, Any]) -> str:
    """Names an ablation of that name with overrides, as its folder is called."""
    return ",".join((name, *(f"{path}={_in_a_name(value)}" for path, value in sorted(overrides.items()))))


def _in_a_name(value: Any) -> str:
    """Writes a value as a part of a folder's name; a text that loses characters there is told apart by its hash."""
    text = str(value)
    kept = re.sub(r"[^\w.+-]+", "_", text).strip("_")
    if not isinstance(value, str) or kept == text:
        return kept
    return "_".join(filter(None, (kept, hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:6])))


def has_code_of_its_own(config: Any) -> bool:
    """Whether a configuration holds an object of a class that the harness does not come with."""
    if isinstance(config, tuple):
        return any(map(has_code_of_its_own, config))
    if type(config).__module__.partition(".")[0] not in _KNOWN:
        return True
    return dataclasses.is_dataclass(config) and any(
        has_code_of_its_own(getattr(config, field.name)) for field in dataclasses.fields(config))


def _of_file(path: pathlib.Path, attribute: str) -> Study:
    if not path.is_file():
        raise UnknownAblationError(f"no file {path} in {pathlib.Path.cwd()}")
    if not LABEL.fullmatch(path.stem):
        raise SpecError(f"{path.name} would name a folder: a file's name holds letters, digits, spaces and ._+- only")
    if path.stem.partition(".")[0].lower() in _RESERVED or path.stem.endswith((".", " ")):
        raise SpecError(f'{path.name} would name a folder "{path.stem}", which is taken by the harness or not allowed '
                        "everywhere: give the file another name")
    file, content = path.resolve(), path.read_bytes()
    module = types.ModuleType(f"ablation_file_{path.stem}")
    module.__file__ = str(file)
    with _entered(file.parent):
        sys.modules[module.__name__] = module  # dataclasses and string annotations look there for their module
        with _in_one_line(file.parent, path):
            exec(compile(content, file, "exec"), module.__dict__)
        ablation = _attribute(module, attribute, str(path))
        code = own_code.loaded(file.parent)
    return Study(path.stem if attribute == _ATTRIBUTE else f"{path.stem}.{attribute}", ablation,
                 str(file) if attribute == _ATTRIBUTE else f"{file}:{attribute}",
                 _read(own_code.files(code, file.parent), file.parent) | {file.name: content}, code=code)


def _of_module(name: str, attribute: str) -> Study:
    here, package = pathlib.Path.cwd(), name.partition(".")[0]
    with _entered(here):
        with _in_one_line(here, name):
            module = importlib.import_module(name)
        ablation = _attribute(module, attribute, name)
        file = pathlib.Path(module.__file__ or "").resolve()
        root = file.parents[name.count(".") + (file.name == "__init__.py")]
        code = own_code.loaded(root, package)
    return Study(name if attribute == _ATTRIBUTE else f"{name}.{attribute}", ablation, f"{name}:{attribute}",
                 _read(own_code.files(code, root, package), root), code=code)


def _read(files: list[pathlib.Path], root: pathlib.Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


@contextlib.contextmanager
def _entered(folder: pathlib.Path) -> Iterator[None]:
    """Enters a folder, and leaves it if there is no ablation to be had."""
    own_code.enter(folder)
    try:
        yield
    except BaseException:
        own_code.leave()
        raise


def _attribute(module: types.ModuleType, name: str, named: str) -> Ablation:
    found = getattr(module, name, None)
    if isinstance(found, Ablation):
        return found
    others = [other for other, value in vars(module).items() if isinstance(value, Ablation)]
    what = f"{named} has no {name}" if found is None else f"{name} of {named} is no Ablation but {found!r:.80}"
    there = f"there are {', '.join(f'{named}:{other}' for other in others)}" if others else (
        f"it needs a line {name} = Ablation(...)")
    raise UnknownAblationError(f"{what}; {there}")


@contextlib.contextmanager
def _in_one_line(folder: pathlib.Path, named: object) -> Iterator[None]:
    """Says in one line, with its place, what is wrong with a file; the file's own bugs keep their traceback."""
    try:
        yield
    except SyntaxError as error:
        raise SpecError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except SystemExit as error:
        raise SpecError(f"{named} ends Python (sys.exit) while it is read: guard what is for the command line by "
                        'if __name__ == "__main__"') from error
    except Exception as error:
        _refuse(error, folder, named)


def _refuse(error: Exception, folder: pathlib.Path, named: object) -> NoReturn:
    frames = traceback.extract_tb(error.__traceback__)
    own = [number for number, frame in enumerate(frames)
           if own_code.is_own(pathlib.Path(frame.filename), folder)]
    if not (isinstance(error, SpecError | ImportError)
            or (own and isinstance(error, ValueError | TypeError) and _is_misuse(frames, own[-1]))):
        error.add_note(f"raised while the ablation {named} was loaded")
        raise error
    place = f"{frames[own[-1]].filename}:{frames[own[-1]].lineno}" if own else str(named)
    taken = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    hint = f' ("{taken}" is a package of the harness: give yours another name)' if taken in own_code.HOUSES else ""
    raise SpecError(f"{place}: {error}{hint}") from None


def _is_misuse(frames: traceback.StackSummary, last: int) -> bool:
    """Whether an error came of what the harness's classes were given, or its line says all there is to say.

    Args:
      last: the innermost frame of the user's own code.
    """
    within = frames[last + 1:]
    if not within:
        return frames[last].name in ("<module>", "__post_init__")
    # <string>: a dataclass
    return all(frame.filename == "<string>" or own_code.house(frame.filename) for frame in within)
