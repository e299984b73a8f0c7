"""Metrics of one's own: functions of what a network makes of the test set."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping

# What a metric may ask for, by the names of its parameters.
INPUTS = ("probabilities", "logits", "predicted", "labels")
# Those that there are already, whoever asks for them.
TAKEN = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy",
         "top5_accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error", "tta_accuracy")

Metric = Callable[..., float]


def check(metrics: Mapping[str, Metric]) -> None:
    """Checks names and functions.

    Raises:
      ValueError: in one line that says how to mend it.
    """
    if not isinstance(metrics, Mapping):
        raise ValueError(f'metrics must be a dict such as {{"kappa": kappa}}, not {metrics!r:.100}')
    for name, function in metrics.items():
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"a metric's name holds small letters, digits and _ only, as in kappa, not {name!r}")
        if name in TAKEN:
            raise ValueError(f"a metric {name} is there already: give yours another name")
        asked = _parameters(name, function)
        if not asked or not asked <= set(INPUTS):
            raise ValueError(f"the metric {name} must be a function of some of {', '.join(INPUTS)}, by these names, as "
                             f"in def {name}(probabilities, labels); its parameters are {', '.join(sorted(asked))}")


def need_logits(metrics: Collection[Metric]) -> bool:
    """Whether one of them asks for more than the predicted classes."""
    return any({"probabilities", "logits"} & set(inspect.signature(metric).parameters) for metric in metrics)


def _parameters(name: str, function: Metric) -> set[str]:
    if not callable(function):
        raise ValueError(f"the metric {name} must be a function, not {function!r:.100}")
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.default is one.empty}
