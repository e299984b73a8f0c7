"""What an ablation is: typed data, checked when built, and its expansion into runs.

Calls no jax and opens no file.
"""

import dataclasses
import difflib
import functools
import numbers
import operator
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ablations import design as designs
from ablations import factor as settings
from ablations import metrics as own_metrics
from ablations import own_data, recipes
from ablations.augmentation import TTA, AugmentConfig
from ablations.claim import Claim
from ablations.design import Condition, Design, RandomCells
from ablations.factor import LABEL, Factor, LogUniform, SpecError, Uniform
from ablations.own_data import ImageFolder, Source
from ablations.recipes import OptimizerConfig, ScheduleConfig
from models import MLPConfig, ModelConfig
from models.options import choice, fraction, model_config, not_negative, positive, traced
from models.precision import PRECISIONS

__all__ = ["LABEL", "Ablation", "AugmentConfig", "Claim", "EarlyStopping", "Factor", "ImageFolder", "LogUniform",
           "OptimizerConfig", "RandomCells", "Run", "RunConfig", "ScheduleConfig", "SpecError", "Uniform",
           "is_traced", "with_value", "with_values"]


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Stops a run whose monitored value has not improved by more than min_delta for `patience` epochs.

    Attributes:
      monitor: "validation_accuracy" (higher is better) or "validation_loss" (lower is better).
      min_delta: smallest change that counts as an improvement.
      patience: epochs without improvement before the run stops.
    """

    monitor: str = "validation_accuracy"
    min_delta: float = 0.0
    patience: int = 5

    def __post_init__(self) -> None:
        choice("monitor", self.monitor, ("validation_accuracy", "validation_loss"))
        not_negative("min_delta", self.min_delta)
        positive("patience", self.patience)


_NESTED: dict[str, tuple[type, ...]] = {
    "optimizer": (OptimizerConfig,), "schedule": (ScheduleConfig,), "early_stopping": (EarlyStopping, type(None)),
    "augment": (AugmentConfig,)}
_EXAMPLES = {"optimizer": 'OptimizerConfig("sgd", 0.1), or set field by field, such as optimizer.kind',
             "schedule": 'ScheduleConfig("cosine"), or set field by field, such as schedule.kind',
             "early_stopping": "EarlyStopping(patience=3), or set field by field, such as early_stopping.patience",
             "augment": "AugmentConfig(flip=True), or set field by field, such as augment.flip"}
# More is a slip of the keyboard, and would ask for more memory than there is before anything is trained.
_MOST = {"batch_size": 1_000_000, "epochs": 1_000_000, "validation_size": None}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Says everything about a run but its seed.

    Attributes:
      dataset: a name that `harness.data.load` knows, an `ImageFolder` ("folder:PATH"), "npz:PATH", or a `Source`.
      model: a config of a network, shipped or one's own: see `models.ModelConfig`.
      batch_size: examples per step; the last step of an epoch takes what is left.
      epochs: passes over the training examples, at most.
      steps: batches, at most, in place of `epochs`; training ends in the middle of an epoch if need be.
      schedule: of the learning rate.
      ema_decay: of an exponential moving average of the weights and of the statistics beside them, brought up to date
        by each update and corrected for its start; where it is not 0, that average is what is validated, tested and
        kept, in place of the weights themselves.
      early_stopping: None trains all epochs.
      label_smoothing: share of the target spread over all classes.
      class_weight: what an example of each class counts in the training loss, the mean being over examples as in Keras;
        "balanced" weighs by examples / (classes * examples of the class), as scikit-learn does, over those trained on
        and the classes that they have.
      train_size: None trains on all training examples, a number on the first so many of them.
      validation_size: examples held out of the training set, the same ones in every run.
      precision: "float32", "tf32" (float32 multiplied on an NVIDIA GPU's tensor cores), or "bfloat16" for the forward
        and backward passes over float32 parameters.
      tta: test-time augmentation: "flip", "shift" and "flip_shift" test the weights a second time, on these views of
        each test image, whose probabilities are averaged; the accuracy is a score of its own, tta_accuracy.
    """

    dataset: str | ImageFolder | Source
    model: ModelConfig = MLPConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: int = 128
    epochs: int = 20
    early_stopping: EarlyStopping | None = None
    augment: AugmentConfig = AugmentConfig()
    label_smoothing: float = traced(0.0)
    train_size: int | None = None
    validation_size: int = 5000
    precision: str = "float32"
    schedule: ScheduleConfig = ScheduleConfig()
    steps: int | None = None
    ema_decay: float = traced(0.0)
    class_weight: str | tuple[float, ...] | None = None
    tta: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", own_data.checked(self.dataset))
        model_config("model", self.model)
        for field, kinds in _NESTED.items():
            if not isinstance(getattr(self, field), kinds):
                raise ValueError(f"{field} is {_EXAMPLES[field]}; not {getattr(self, field)!r}")
        for field, most in _MOST.items():
            positive(field, getattr(self, field), most)
        if self.train_size is not None:
            positive("train_size", self.train_size)
        if self.steps is not None:
            positive("steps", self.steps, 1_000_000_000)
        fraction("label_smoothing", self.label_smoothing)
        fraction("ema_decay", self.ema_decay)
        recipes.class_weight(self.class_weight)
        choice("precision", self.precision, PRECISIONS)
        choice("tta", self.tta, TTA)


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell trained once with one seed.

    Attributes:
      labels: factor -> level, in the ablation's order.
      config: the base with the labels' settings made.
    """

    labels: Mapping[str, str]
    seed: int
    config: RunConfig

    @property
    def cell(self) -> str:
        """Names the cell; "baseline" where the ablation has no factor."""
        return cell_name(self.labels)

    @property
    def run_id(self) -> str:
        """Names the run's folder."""
        return f"{self.cell},seed={self.seed}".replace(" ", "_")


def cell_name(labels: Mapping[str, str]) -> str:
    """Names the cell of these levels; "baseline" where the ablation has no factor."""
    return ",".join(f"{factor}={label}" for factor, label in labels.items()) or "baseline"


# What fields of an ablation must be; `design`, `exclude` and the rest are checked where they are read.
_FORMS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "question": (str, "text"), "base": (RunConfig, "a RunConfig(...)"),
    "factors": (Mapping, 'a dict such as {"epochs": Factor("epochs", {"5": 5, "9": 9})}'),
    "overrides": (Mapping, 'a dict such as {"epochs": 5}'), "claims": ((tuple, list), "a tuple such as (Claim(...),)")}


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A study of one question, checked in full when built.

    Attributes:
      question: one line; what the table answers.
      base: the run that the factors change.
      factors: name -> Factor; the cell of all reference levels is the baseline.
      design: "full_factorial"; "one_at_a_time": the baseline and each other level of each factor alone;
        "leave_one_out": the same of components, each a factor with two levels, with it and without it, so that the
        baseline is the full model; a tuple of cells, each a dict of levels, where reference levels may be left out; or
        `RandomCells`.
      within: factors at whose levels cells are compared: each cell with the one that has the same levels of these and
        the reference levels of all others. Without any, all cells are compared with the baseline.
      seeds: every cell is trained once with each, so that cells can be compared in pairs.
      overrides: path -> value, set in every run after its factors; a derived ablation differs in these.
      claims: figures that the ablation's source states, shown beside what is measured.
      metrics: name -> function that gives a number for a run's test set, at its best validation epoch. It takes some of
        logits, probabilities (float [test example, class]), predicted and labels (int [test example]), by these names.
        Lower is better of a name that ends in loss or error; one that ends in accuracy is shown in percent.
      exclude: cells that are left out: a dict of factor -> level or levels, all of which they have, a function of a
        cell's labels, or a tuple of such.

    Raises:
      SpecError: for a path that does not exist, a level that does not fit, or anything else that cannot run.
    """

    question: str
    base: RunConfig
    factors: Mapping[str, Factor] = dataclasses.field(default_factory=dict)
    design: Design = "full_factorial"
    within: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    metrics: Mapping[str, own_metrics.Metric] = dataclasses.field(default_factory=dict)
    exclude: Condition | Sequence[Condition] = ()

    def __post_init__(self) -> None:
        for field, (kinds, form) in _FORMS.items():
            if not isinstance(given := getattr(self, field), kinds):
                raise SpecError(f"{field} must be {form}, not {given!r:.100}")
        try:
            own_metrics.check(self.metrics)
        except ValueError as error:
            raise SpecError(str(error)) from None
        if not self.question.strip():
            raise SpecError("an ablation needs a question")
        if self.within and (not isinstance(self.within, tuple) or not set(self.within) < set(self.factors)):
            raise SpecError(f"within must be some of the factors {', '.join(self.factors)}, and not all; not "
                            f"{self.within!r}")
        seeds = tuple(self.seeds) if isinstance(self.seeds, Iterable) else ()
        if any(not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or not 0 <= seed < 2**31
               for seed in seeds) or not len(set(seeds)) == len(seeds) > 0:
            raise SpecError(f"seeds must be different whole numbers from 0 to 2147483647, such as (0, 1, 2), not "
                            f"{self.seeds!r}")
        object.__setattr__(self, "seeds", tuple(map(int, seeds)))  # JSON knows none of NumPy's numbers
        settings.check(self.factors)
        varied: dict[str, str] = {}
        for name, factor in self.factors.items():
            for path in factor.paths:
                _check_undoes_nothing(f'factor "{name}"', path, varied)
                varied[path] = name
        for path in self.overrides:
            _check_undoes_nothing("an override", path, varied)
        runs = self.runs()
        configs: dict[RunConfig, str] = {}
        for run in runs:
            if (same := configs.setdefault(run.config, run.cell)) != run.cell:
                raise SpecError(f'the cells "{same}" and "{run.cell}" are the same run: their labels would claim a '
                                "difference that is not there")
            if len(run.run_id) > 200:
                raise SpecError(f'"{run.run_id}" is too long for the name of a folder: use shorter labels')
        # Some file systems take names for the same that differ in case alone.
        for kind, names in (("cells", {run.cell.lower() for run in runs}),
                            ("runs", {run.run_id.lower() for run in runs})):
            expected = len(runs) if kind == "runs" else len(runs) // len(self.seeds)
            if len(names) != expected:
                raise SpecError(f"two {kind} have the same name: labels may not differ in spaces or in case alone")
        for claim in self.claims:
            if not isinstance(claim, Claim):
                raise SpecError(f"claims holds {claim!r:.80}, which is no Claim(...)")
            if claim.over is not None and claim.over.items() <= claim.labels.items():
                raise SpecError(f"a claim of {claim.source} has over={dict(claim.over)}, which labels="
                                f"{dict(claim.labels)} have too: it would compare each cell with itself")
            for what, labels in (("labels", claim.labels), ("over", claim.over or {})):
                if not any(labels.items() <= cell.items() for cell in self._cells):
                    there = "; ".join(dict.fromkeys(run.cell for run in runs))
                    raise SpecError(f"a claim of {claim.source} has {what}={dict(labels)}, and no cell has these; "
                                    f"the cells are {there}")

    @property
    def varied(self) -> tuple[str, ...]:
        """The fields that its factors set."""
        return tuple(path for factor in self.factors.values() for path in factor.paths)

    def runs(self) -> list[Run]:
        """Expands the design into runs, cell by cell with all seeds of each."""
        return [Run(labels, seed, self._config(labels)) for labels in self._cells for seed in self.seeds]

    def comparisons(self) -> dict[str, str]:
        """Maps each cell's name to the one that it is compared with, a baseline to itself."""
        pairs = designs.comparisons(self._cells, self.factors, self.within, self._reference)
        return {cell_name(labels): cell_name(base) for labels, base in pairs}

    def levels(self) -> dict[str, tuple[str, ...]]:
        """Lists each factor's levels, the reference level first; of a range those that were drawn, if any were."""
        found = {name: factor.labels or tuple(dict.fromkeys(cell[name] for cell in self._cells if name in cell))
                 for name, factor in self.factors.items()}
        return {name: labels for name, labels in found.items() if labels}

    @functools.cached_property
    def _cells(self) -> list[dict[str, str]]:
        return designs.cells(self.factors, self.design, self.exclude, self._reference)

    def _reference(self, name: str) -> str:
        """Names a factor's reference level: of a range, the base's value."""
        factor = self.factors[name]
        if factor.labels:
            return factor.labels[0]
        value: Any = self.base
        for part in factor.paths[0].split("."):
            if not hasattr(value, part):
                with_value(self.base, factor.paths[0], 1.0)  # says which fields there are
            value = getattr(value, part)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(f'factor "{name}" has a range, and "{factor.paths[0]}" of the base is no number: {value!r}')
        return repr(value)

    def _config(self, labels: Mapping[str, str]) -> RunConfig:
        changes = {f'factor "{name}", level "{label}"': self.factors[name].settings(label)
                    for name, label in labels.items()}
        changes |= {f'override "{path}"': {path: value} for path, value in self.overrides.items()}
        try:
            return with_values(self.base, functools.reduce(operator.or_, changes.values(), {}))
        except ValueError as error:
            config = self.base
            for what, given in changes.items():  # one after another, to say which it is
                try:
                    config = with_values(config, given)
                except ValueError as own:
                    raise SpecError(f"{what}: {own}") from None
            raise SpecError(str(error)) from None


def _check_undoes_nothing(what: str, path: str, varied: Mapping[str, str]) -> None:
    """Checks that setting a field leaves what earlier factors have set; a field inside theirs may still be set."""
    for earlier, name in varied.items():
        if f"{earlier}.".startswith(f"{path}."):
            raise SpecError(f'{what} sets "{path}" and would undo the factor "{name}", which sets "{earlier}"')


def with_value(config: Any, path: str, value: Any) -> Any:
    """Copies a config with the field at a dotted path replaced: see `with_values`."""
    return with_values(config, {path: value})


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
    """Copies a config with fields replaced, all of one config at once: what one may be can hang on another.

    Args:
      values: dotted path -> value; what is inside a field that is replaced as well comes after it.

    Raises:
      SpecError: if a path leads nowhere, listing the fields that are there.
      ValueError: if a field refuses its value.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise SpecError(f'"{next(iter(values))}" leads into {config!r}, which has no fields')
    fields = [field.name for field in dataclasses.fields(config)]
    own, inner = dict[str, Any](), dict[str, dict[str, Any]]()
    for path, value in values.items():
        head, _, rest = path.partition(".")
        if head not in fields:
            close = difflib.get_close_matches(head, fields, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SpecError(f'{type(config).__name__} has no field "{head}"{hint} (valid: {", ".join(fields)})')
        if rest:
            inner.setdefault(head, {})[rest] = value
            continue
        old = getattr(config, head)
        if head != "dataset" and isinstance(old, bool | int | float | str) and type(value) is not type(old) and (
                not _fits(_annotation(config, head, old), value)):
            raise SpecError(f'"{head}" holds a value such as {old!r}, not {value!r}')
        own[head] = value
    for head, below in inner.items():
        into = own.get(head, getattr(config, head))
        if head == "dataset":  # "folder:PATH" has fields, too
            into = own_data.checked(into)
        # A path into the early stopping that a run does without switches it on.
        own[head] = with_values(EarlyStopping() if head == "early_stopping" and into is None else into, below)
    return dataclasses.replace(config, **own)


def _annotation(config: Any, field: str, old: Any) -> Any:
    """Gives what a field's annotation says that it holds; of one that cannot be read, what the value there says."""
    try:
        return typing.get_type_hints(type(config)).get(field, Any)
    except Exception:  # names that are there for a type checker alone, or anything else in a stranger's class
        return type(old)


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value may stand where a kind is annotated; the field's own check says the rest."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(part, value) for part in parts)
    if origin is typing.Literal:
        return type(value) in map(type, parts)
    kind = origin or kind
    if not isinstance(kind, type) or kind is object:
        return True
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, float | int)
    return isinstance(value, kind) if issubclass(kind, str | int | tuple | type(None)) else True


def is_traced(field: dataclasses.Field[Any]) -> bool:
    """Whether runs that differ in this field, both times not zero, share a compiled program."""
    return bool(field.metadata.get("traced"))
