"""What every side is given: the same images, the network as a list of layers, and the same way of scoring.

Imports numpy alone, so that a peer's process pays for no jax in its memory and compile time.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

# A class shifts each pixel up or down by the one, under noise with the other as standard deviation: a single pixel says
# next to nothing of the class, all of them together settle it.
SIGNAL, NOISE = 32, 64


class Layer(NamedTuple):
    """One layer of a network.

    Attributes:
      kind: "conv", "max_pool", "dropout", "batch_norm", "flatten" or "dense".
      units: filters or units.
      size: of the kernel or the window.
      rate: of dropout.
      activation: None leaves the scores as they are.
      padding: "valid" or "same".
    """

    kind: str
    units: int = 0
    size: int = 0
    rate: float = 0.0
    activation: str | None = None
    padding: str = "valid"


def images(count: int, shape: tuple[int, int, int], num_classes: int, held_out: bool = False
           ) -> tuple[np.ndarray, np.ndarray]:
    """Makes learnable images: each class has a pattern of 4 x 4 tiles, drowned in noise. Always the same ones.

    Args:
      count: how many.
      shape: height, width, channels.
      num_classes: each equally likely.
      held_out: other images of the same classes.

    Returns:
      uint8 (count, height, width, channel) and int32 (count,).
    """
    height, width, channels = shape
    tiles = np.random.default_rng(0).choice([-SIGNAL, SIGNAL], (num_classes, 4, 4, channels))
    patterns = tiles[:, np.arange(height) * 4 // height][:, :, np.arange(width) * 4 // width]
    rng = np.random.default_rng([1, held_out])
    labels = rng.integers(0, num_classes, count).astype(np.int32)
    made = np.empty((count, *shape), np.uint8)
    for start in range(0, count, 1000):  # all noise at once would be each side's peak memory
        chosen = patterns[labels[start:start + 1000]]
        noise = NOISE * rng.standard_normal(chosen.shape, np.float32)
        made[start:start + 1000] = np.clip(128 + chosen + noise, 0, 255)
    return made, labels


def layers(config: Mapping[str, Any], num_classes: int) -> list[Layer]:
    """Lists the layers of a run's network, first to last.

    Args:
      config: a `RunConfig` as JSON.
      num_classes: units of the last layer.

    Raises:
      ValueError: if the config asks for what the peers are not taught, naming it.
    """
    _check(config)
    model = config["model"]
    activation = model["activation"]
    listed = []
    if model["type"] == "CNNConfig":
        filters, dense, rates = model["filters"], model["dense"], model["dense_dropout"]
        for units, rate in zip(filters, _per_layer(model["dropout"], filters), strict=True):
            listed.append(Layer("conv", units, model["kernel_size"], 0.0, activation, model["padding"]))
            listed += [Layer("max_pool", size=model["pool"])] * (model["pool"] > 1)
            listed += _regularizers(rate, model["batch_norm"])
        dense_norm = False
    else:
        dense, rates, dense_norm = model["hidden"] * model["repeat"], model["dropout"], model["batch_norm"]
    listed.append(Layer("flatten"))
    for units, rate in zip(dense, _per_layer(rates, dense), strict=True):
        listed += [Layer("dense", units, activation=activation), *_regularizers(rate, dense_norm)]
    return [*listed, Layer("dense", num_classes)]


def _regularizers(rate: float, batch_norm: bool) -> list[Layer]:
    return [Layer("dropout", rate=rate)] * bool(rate) + [Layer("batch_norm")] * batch_norm


def _per_layer(rates: Any, widths: list[int]) -> list[float]:
    return rates if isinstance(rates, list) else [rates] * len(widths)


def _check(config: Mapping[str, Any]) -> None:
    """A setting that a peer left out would make it look faster than it is."""
    model, optimizer = config["model"], config["optimizer"]
    known = {
        "model": model["type"] in ("MLPConfig", "CNNConfig"), "initializer": model["initializer"] == "glorot_uniform",
        "norm_before_activation": not model.get("norm_before_activation"),
        "global_average": not model.get("global_average"), "stride": model.get("stride", 1) == 1,
        "filters": all(isinstance(units, int) for units in model.get("filters", ())),
        "pool": isinstance(model.get("pool", 1), int),
        "penalty": not any(model[f"{kind}_{of}"] for kind in ("l1", "l2") for of in ("kernel", "bias")),
        "optimizer": optimizer["kind"] == "adam" and not any(
            optimizer[name] for name in ("weight_decay", "clip_norm", "clip_value", "b1", "b2", "eps")),
        "gradient_accumulation_steps": optimizer["gradient_accumulation_steps"] == 1,
        "schedule": config["schedule"]["kind"] == "constant" and not (
            config["schedule"]["warmup_epochs"] or config["schedule"]["warmup_steps"]),
        "steps": config["steps"] is None, "ema_decay": not config["ema_decay"],
        "class_weight": config["class_weight"] is None,
        "augment": not any(value for name, value in config["augment"].items() if name not in ("type", "erase_area")),
        "label_smoothing": not config["label_smoothing"], "early_stopping": config["early_stopping"] is None}
    if unknown := [name for name, is_known in known.items() if not is_known]:
        raise ValueError(f"the peers are not taught this workload's {', '.join(unknown)}")


def badness(loss: float) -> float:
    """Ranks a loss: one that is not finite is the worst, which comparing NaN would hide."""
    return loss if np.isfinite(loss) else np.inf


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Takes the mean cross-entropy and the accuracy of logits [example, class]."""
    logits = logits.astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return {"loss": float(losses.mean()), "accuracy": float((logits.argmax(1) == labels).mean())}
