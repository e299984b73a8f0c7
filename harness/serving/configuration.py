"""A run's configuration from its JSON: of the harness's own classes at once, of a user's by executing the user's code.

Nothing that lies in a results folder is executed unless that is asked for.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import typing
from collections.abc import Mapping
from typing import Any

from ablations import lookup
from ablations.lookup import Study
from ablations.own_data import ImageFolder
from ablations.spec import AugmentConfig, OptimizerConfig, RunConfig, ScheduleConfig
from harness.records import configs, sources
from harness.records.kept import Code, KeptError, KeptNetwork
from models import CNNConfig, MLPConfig, ResNetConfig, TransferConfig, ViTConfig

_KNOWN = {kind.__name__: kind for kind in (
    RunConfig, OptimizerConfig, ScheduleConfig, AugmentConfig, ImageFolder, MLPConfig, CNNConfig, ResNetConfig,
    ViTConfig, TransferConfig)}


def of(kept: KeptNetwork, folder: pathlib.Path, ablation: str = "", *, trust_code: bool = False,
       with_data: bool = False) -> RunConfig:
    """Builds the configuration of a trained network.

    Args:
      folder: of the network's files.
      ablation: the file or module that the user's classes are written in, if there are any.
      trust_code: executes the copy of it that lies with the results.
      with_data: whether its data set is to be loaded; else a name stands in the place of an object of the user's.

    Raises:
      KeptError: if it needs the user's code, or the code is not the one that the network was trained with.
      ablations.UnknownAblationError, ablations.spec.SpecError: if the code cannot be loaded.
    """
    code = kept.code
    if code and (ablation or trust_code):
        return _stated_by(_study(code, folder, ablation), kept, ablation or "the copy in sources/")
    if code and (kept.model_is_own or with_data):
        what = f"network is a {kept.architecture}" if kept.model_is_own else f"data is {kept.data}"
        raise KeptError(f"{folder}: its {what}, which {_told(code)} defines; give that file with --ablation=FILE.py, "
                        "or have the copy in the results executed with --trust_code")
    return _built(RunConfig, kept.config, kept.harness_version)


def _told(code: Code) -> str:
    name = _file_name(code)
    digest = next((sha256 for path, sha256 in code.sources.items() if path == name), "unknown")
    return f"{name} (sha256 {digest})"


def _file_name(code: Code) -> str:
    """Names the file of an ablation as the sources list it; a module by its own name."""
    target, _ = lookup.parted(code.origin)
    return pathlib.PurePosixPath(target).name if target.endswith(".py") else target


def _study(code: Code, folder: pathlib.Path, ablation: str) -> Study:
    """Loads the code that was named, else the copy kept with the results; only if it is the run's."""
    kept, (origin, attribute) = sources.kept(folder.parent.parent, code.sources), lookup.parted(code.origin)
    if not ablation and not kept.is_dir():
        raise KeptError(f"{kept} is not there, so that --trust_code has nothing to execute; give {_told(code)} "
                        "with --ablation=FILE.py")
    text, where = ablation, contextlib.nullcontext()
    if not ablation:
        text = str(kept / _file_name(code)) if origin.endswith(".py") else origin
        where = contextlib.chdir(kept)  # type: ignore[assignment]
    given, own = lookup.parted(text)
    if given.endswith(".py"):
        root = lookup.located(given).resolve().parent
        _check(code, {name: _sha256(root / name) for name in code.sources}, given, folder)
    with where:
        chosen = own or attribute
        study = lookup.find(f"{given}:{chosen}" if chosen else given)
    _check(code, {name: study.hashes.get(name, "") for name in code.sources}, given, folder)
    return study


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _check(code: Code, found: Mapping[str, str], given: str, folder: pathlib.Path) -> None:
    for name, wanted in code.sources.items():
        if found[name] != wanted:
            there = f"its sha256 is {found[name]}" if found[name] else "it is not there"
            copy = sources.kept(folder.parent.parent, code.sources)
            also = "; --trust_code in place of --ablation executes the copy that was kept with the results" if (
                (copy / name).is_file() and not given.startswith(str(copy))) else ""
            raise KeptError(f"{folder} needs {name} as it was when the run was trained (sha256 {wanted}), and beside "
                            f"{given} {there}{also}")


def _stated_by(study: Study, kept: KeptNetwork, named: str) -> RunConfig:
    overrides = {path: _plain(value) for path, value in kept.overrides.items()}
    runs = lookup.overridden(study, overrides, (kept.seed,)).runs()
    for run in sorted(runs, key=lambda run: run.run_id != kept.run_id):  # of several alike the one of that name
        if not configs.config_differences(kept.config, configs.as_json(run.config)):
            return run.config
    raise KeptError(f"{named} states no run with the configuration of {kept.run_id}")


def _built(kind: type, stored: Mapping[str, Any], version: str | None) -> Any:
    """Builds a dataclass from its JSON; what an earlier harness did not write has its default."""
    hints = typing.get_type_hints(kind)
    if unknown := sorted(stored.keys() - hints.keys() - {"type"}):
        raise KeptError(f"the network's configuration has the field {unknown[0]} of {kind.__name__}, which this "
                        f"version of the harness does not know; it was written by version {version}")
    try:
        return kind(**{name: _value(hints[name], value, version) for name, value in stored.items() if name != "type"})
    except ValueError as error:
        raise KeptError(f"the network's configuration cannot be used: {error}") from None


def _value(hint: Any, value: Any, version: str | None) -> Any:
    if not isinstance(value, Mapping):
        return _plain(value)
    if (name := value.get("type")) in _KNOWN:
        return _built(_KNOWN[name], value, version)
    nested = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if name is None and len(nested) == 1:
        return _built(nested[0], value, version)  # type: ignore[arg-type]
    return f"of the class {name}"  # a data set of the user's


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value
