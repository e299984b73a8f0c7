"""What a training recipe consists of beside data and network: the optimizer, and the schedule of its learning rate."""

import dataclasses

from models.options import choice, flag, fraction, not_negative, positive, traced

_MOMENTUM, _MOMENTS = ("momentum", "nesterov"), ("b1", "b2", "eps")
# Which settings each kind has beside the rate, the decay and the clipping that all of them have.
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "adam": _MOMENTS, "adamw": _MOMENTS, "nadam": _MOMENTS, "nadamw": _MOMENTS, "lamb": _MOMENTS, "lion": ("b1", "b2"),
    "sgd": _MOMENTUM, "rmsprop": (*_MOMENTUM, "b2", "eps"), "adagrad": ("eps",)}
_SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": ("warmup",), "cosine": ("warmup", "end_fraction"), "linear": ("warmup", "end_fraction"),
    "step": ("warmup", "milestones", "decay_rate"), "exponential": ("warmup", "decay_rate"), "onecycle": ()}


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Describes the optimizer; its kinds have the names, the meaning and the defaults of optax unless said otherwise.

    Attributes:
      kind: "adam", "nadam", "sgd", "rmsprop", "adagrad", "lion" or "lamb"; "adamw" and "nadamw" are other words for
        adam and nadam, whose decay is decoupled here as well. Adam's epsilon is added after bias correction as in the
        paper's algorithm 1; Keras adds its 1e-7 before, which makes its first steps smaller where gradients are tiny.
      learning_rate: the peak, which `RunConfig.schedule` reaches; constant over the run by default. Nothing scales it
        by the batch size.
      momentum: of sgd and rmsprop; 0 keeps no velocity.
      weight_decay: decoupled from the gradient (AdamW), times the learning rate; 0, optax's and timm's defaults being
        1e-4 and 2e-5.
      nesterov: looks ahead along the momentum, of sgd and rmsprop.
      b1, b2: decay rates of the two moments; None is 0.9 and 0.999, for lion 0.9 and 0.99. rmsprop has b2 alone, which
        optax calls decay: 0.9.
      eps: None is 1e-7 for adam, nadam and adagrad (optax has 1e-8 for the first two, Keras 1e-7), 1e-8 for rmsprop,
        1e-6 for lamb.
      weight_decay_on: "all" has every parameter decay, batch norm's scale and all biases too, as every run did before
        there was a choice; "matrices" those of two dimensions or more alone, without biases and what else is
        added, as a transformer's token and positions; as timm has it.
      clip_norm: largest norm of the whole gradient, all parameters together (Keras calls that `global_clipnorm`; its
        `clipnorm` is per variable); 0 is off.
      clip_value: largest absolute value of each number of the gradient; 0 is off.
      gradient_accumulation_steps: batches whose mean gradient makes one update. What is left at an epoch's end counts
        towards the next epoch's first update. Schedules count updates. Refused where batches have statistics: those
        would be of each batch alone.

    Source: Kingma and Ba 2015; Dozat 2016; Loshchilov and Hutter 2019; You et al. 2020 (LAMB); Chen et al. 2023 (Lion);
    Pascanu et al. 2013 (clipping).
    """

    kind: str = "adam"
    learning_rate: float = traced(1e-3)
    momentum: float = traced(0.0)
    weight_decay: float = traced(0.0)
    nesterov: bool = False
    b1: float | None = None
    b2: float | None = None
    eps: float | None = None
    weight_decay_on: str = "all"
    clip_norm: float = traced(0.0)
    clip_value: float = traced(0.0)
    gradient_accumulation_steps: int = 1

    def __post_init__(self) -> None:
        choice("kind", self.kind, OPTIMIZERS)
        for check, fields in ((not_negative, ("learning_rate", "weight_decay", "clip_norm", "clip_value", "eps")),
                              (fraction, ("momentum", "b1", "b2"))):
            for field in fields:
                if field not in _MOMENTS or getattr(self, field) is not None:
                    check(field, getattr(self, field))
        flag("nesterov", self.nesterov)
        choice("weight_decay_on", self.weight_decay_on, ("all", "matrices"))
        positive("gradient_accumulation_steps", self.gradient_accumulation_steps, 1_000_000)
        if self.learning_rate == 0:
            raise ValueError("learning_rate must be above 0")
        if self.clip_norm and self.clip_value:
            raise ValueError("clip_norm and clip_value exclude each other: leave one of them 0")
        for field, used in (("momentum", self.momentum), ("nesterov", self.nesterov), ("b1", self.b1 is not None),
                            ("b2", self.b2 is not None), ("eps", self.eps is not None)):
            if used:
                _belongs(field, self.kind, OPTIMIZERS)


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """Describes how the learning rate goes from step to step, as shares of `optimizer.learning_rate`, the peak.

    The length of a decay includes its warm-up, as in optax; in Keras it comes after it, and timm jumps onto the decay's
    course at its end.

    Attributes:
      kind: "constant"; "cosine" or "linear" to `end_fraction` at the end of training; "step" times `decay_rate` at each
        milestone; "exponential" to `decay_rate` at the end of training; "onecycle" as optax and PyTorch have it, from a
        25th up over 30 % of training and down to a 250,000th, both along a cosine.
      warmup_epochs: over so many epochs, or parts of them, the rate first rises in a line from 0.
      warmup_steps: the same in updates; give one of the two.
      end_fraction: of the peak, where the decay ends.
      milestones: epochs, or parts of them, since the start of training.
      decay_rate: factor of a step, or of the whole exponential decay.
    """

    kind: str = "constant"
    warmup_epochs: float = 0.0
    warmup_steps: int = 0
    end_fraction: float = 0.0
    milestones: tuple[float, ...] = ()
    decay_rate: float = 0.1

    def __post_init__(self) -> None:
        choice("kind", self.kind, _SCHEDULES)
        for field in ("warmup_epochs", "end_fraction", "decay_rate"):
            not_negative(field, getattr(self, field))
        if self.warmup_steps != 0:
            positive("warmup_steps", self.warmup_steps)
        if not 0 < self.decay_rate <= 1 or self.end_fraction > 1:
            field = "end_fraction" if self.end_fraction > 1 else "decay_rate"
            raise ValueError(f"{field} must be a share of the rate, at most 1"
                             f"{' and above 0' if field == 'decay_rate' else ''}, not {getattr(self, field)!r}")
        if self.warmup_epochs and self.warmup_steps:
            raise ValueError("warmup_epochs and warmup_steps say the same thing: leave one of them 0")
        if not isinstance(self.milestones, tuple):
            raise ValueError(f"milestones must be a tuple of epochs such as (30, 60), not {self.milestones!r}; on a "
                             "command line --set=schedule.milestones=30,60")
        for epoch in self.milestones:
            not_negative("milestones", epoch)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must be different and in order, not {self.milestones!r}")
        for field, used in (("warmup", self.warmup_epochs or self.warmup_steps), ("milestones", self.milestones),
                            ("end_fraction", self.end_fraction), ("decay_rate", self.decay_rate != 0.1)):
            if used:
                _belongs(field, self.kind, _SCHEDULES)


def class_weight(value: object) -> None:
    """Checks what each class counts in the loss: None, "balanced", or a number for each."""
    if isinstance(value, tuple) and value:
        for weight in value:
            not_negative("class_weight", weight)
        if any(value):
            return
    elif value in (None, "balanced"):
        return
    raise ValueError(f'class_weight must be None, "balanced", or a tuple with a number for each class, not all 0; not '
                     f"{value!r}")


def _belongs(field: str, kind: str, kinds: dict[str, tuple[str, ...]]) -> None:
    if field not in kinds[kind]:
        having = ", ".join(f'"{name}"' for name, fields in kinds.items() if field in fields)
        raise ValueError(f'{field} belongs to the kinds {having}, and kind is "{kind}"')
