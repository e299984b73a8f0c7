"""The networks that the benchmark times, as data: what each is given, must do right, and how fast it should be."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax import nnx

import models
from ablations.spec import AugmentConfig, OptimizerConfig, RunConfig, ScheduleConfig
from harness.records.configs import as_json
from harness.training import train
from models import CNNConfig, MLPConfig, TransferConfig, mobilenet_v2


@dataclasses.dataclass(frozen=True)
class Goal:
    """Times the peer's throughput that the harness is to reach, on two cores of a CPU."""

    one_run: float
    grid: float


@dataclasses.dataclass(frozen=True)
class Workload:
    """A network to train on made-up images, or to take the features of such images with.

    Attributes:
      config: its `epochs` are those of the correctness guard; a timing is of one epoch.
      image_shape: height, width, channels.
      examples: of one epoch: enough for a measurement of about a second.
      loss_goal: what a side must reach on held-out images for its speed to count: the cross-entropy, where guessing
        gives log(num_classes); of "forward", the distance of features from a reference's, where features that say the
        same of every image give no less than 1.
      goals: peer -> how much faster.
      peak_goal: fraction of the matmul peak that the grid aims at; None without an aim.
      grid: runs of the grid that the goals speak of.
      held_out: images that the guard is scored on.
      task: "train", or "forward": the frozen backbone of a `TransferConfig` alone, batch norm as in inference, or
        "augment": the changes to images that the config asks for, on one core of a CPU, or "command": all of
        `harness.run` for so many runs of so many epochs, in a process of its own.
      bfloat16_loss_goal: where that precision cannot reach `loss_goal`.
    """

    question: str
    config: RunConfig
    image_shape: tuple[int, int, int]
    examples: int
    loss_goal: float
    goals: Mapping[str, Goal]
    peak_goal: float | None = None
    grid: int = 8
    num_classes: int = 10
    held_out: int = 1000
    task: str = "train"
    bfloat16_loss_goal: float | None = None


def _made_up(model: MLPConfig | CNNConfig, learning_rate: float, batch_size: int, epochs: int) -> RunConfig:
    return RunConfig("made_up", model, OptimizerConfig("adam", learning_rate), batch_size, epochs)


def _forward(resolution: int, examples: int) -> Workload:
    # Rounding alone puts features at 1e-5 from the reference, in bfloat16 at 0.2 to 0.3.
    return Workload(
        f"features of {resolution} x {resolution} images by a frozen MobileNetV2",
        RunConfig("made_up", TransferConfig(resolution=resolution)), (resolution, resolution, 3), examples,
        loss_goal=1e-3, bfloat16_loss_goal=0.5, goals={"keras": Goal(1.4, 1.4), "torch": Goal(1.4, 1.4)}, grid=1,
        held_out=8, task="forward")


def _augment(question: str, image_shape: tuple[int, int, int], **changes: Any) -> Workload:
    return Workload(question, RunConfig("made_up", augment=AugmentConfig(**changes), batch_size=128), image_shape, 4096,
                    loss_goal=0.0, goals={}, grid=1, task="augment")


_WARP = {"rotation": 9.0, "shear": 0.15, "scale": 0.12, "translate_px": 2.0}

WORKLOADS: dict[str, Workload] = {
    "W1": Workload(
        "dense 784-256-128-10 with dropout 0.2, batch 128",
        _made_up(MLPConfig(hidden=(256, 128), dropout=0.2), 1e-3, 128, epochs=1), (28, 28, 1), 60_000,
        loss_goal=0.01, goals={"keras": Goal(3.0, 5.0), "torch": Goal(1.6, 2.6)}, peak_goal=0.85),
    "W2": Workload(
        "two blocks of 3x3x100 convolutions with dropout 0.1, batch 128",
        # At 0.01, its source's rate, some runs of many learn nothing, whoever computes them.
        _made_up(CNNConfig(filters=(100, 100), dropout=0.1), 0.003, 128, epochs=3), (28, 28, 1), 4096,
        loss_goal=0.05, goals={"keras": Goal(1.2, 1.4), "torch": Goal(1.8, 2.2)}, peak_goal=0.85),
    # Its running statistics move by 1 % a step: until they have arrived, the guard sees nothing learned.
    "W2-bn": Workload(
        "W2 with batch norm in place of dropout",
        _made_up(CNNConfig(filters=(100, 100), batch_norm=True), 0.01, 128, epochs=14), (28, 28, 1), 4096,
        loss_goal=0.05, goals={"keras": Goal(1.2, 1.4), "torch": Goal(1.8, 2.2)}),
    "W3": Workload(
        "CIFAR CNN: a 3x3x32 convolution, dense 512, 4.2 M parameters, batch 32",
        _made_up(CNNConfig(filters=(32,), padding="same", dense=(512,), dense_dropout=0.3), 1e-3, 32, epochs=2),
        (32, 32, 3), 4096, loss_goal=0.01, goals={"keras": Goal(1.7, 1.9), "torch": Goal(1.1, 1.2)}, peak_goal=0.45),
    "W4": Workload(
        "dense 3072-2000-2000-10, batch 128",
        _made_up(MLPConfig(hidden=(2000, 2000)), 1e-3, 128, epochs=1), (32, 32, 3), 8192,
        loss_goal=0.02, goals={"keras": Goal(1.6, 1.6), "torch": Goal(1.0, 1.0)}, peak_goal=0.75),
    "COMMAND": Workload(
        "harness.run from its start to the table: W1 for five epochs of 20,000 images",
        _made_up(MLPConfig(hidden=(256, 128), dropout=0.2), 1e-3, 128, epochs=5), (28, 28, 1), 20_000, loss_goal=0.05,
        goals={}, task="command"),
    "MNV2-96": _forward(96, 1024),
    "MNV2-160": _forward(160, 512),
    "MNV2-224": _forward(224, 256),
    "AUG-affine": _augment("rotation, shear, scale and shift", (28, 28, 1), **_WARP),
    "AUG-affine-elastic-erase": _augment(
        "rotation, shear, scale, shift, elastic bending and erasing", (28, 28, 1), **_WARP, elastic_px=0.6,
        erase_prob=0.5),
    "AUG-affine-elastic-erase-32": _augment(
        "the same in colour", (32, 32, 3), **_WARP, elastic_px=0.6, erase_prob=0.5),
    "AUG-cutout": _augment("a square cut out", (28, 28, 1), cutout_px=6.0),
    "AUG-colour-32": _augment(
        "brightness, contrast and saturation", (32, 32, 3), brightness=0.4, contrast=0.4, saturation=0.4),
}


def job(workload: Workload, precision: str, runs: int, scale: int = 1) -> dict[str, Any]:
    """States as JSON what a side is to do.

    Args:
      precision: "float32", "tf32" or "bfloat16".
      runs: how many of the same network one measurement trains.
      scale: times the workload's data.
    """
    given: dict[str, Any] = {}
    if workload.task == "forward":  # so that no peer needs jax to know the network
        width = _backbone(workload).width
        given = {"blocks": mobilenet_v2.blocks(width), "features": mobilenet_v2.last_filters(width)}
    return {"task": workload.task, "config": as_json(workload.config), "image_shape": list(workload.image_shape),
            "num_classes": workload.num_classes, "examples": scale * workload.examples,
            "held_out": workload.held_out, "precision": precision, "runs": runs} | given


def config_of(plain: Any) -> Any:
    """Builds a config back from what `harness.records.configs.as_json` makes of it."""
    if isinstance(plain, list):
        return tuple(map(config_of, plain))
    if not isinstance(plain, dict):
        return plain
    kinds: dict[str, Any] = {
        kind.__name__: kind for kind in (RunConfig, OptimizerConfig, ScheduleConfig, AugmentConfig)}
    kind = kinds.get(plain["type"]) or getattr(models, plain["type"])
    return kind(**{name: config_of(value) for name, value in plain.items() if name != "type"})


def size(workload: Workload) -> tuple[int, int]:
    """Counts the network's parameters, and the floating-point operations of its task for one example.

    Matrix products and convolutions alone, two operations a multiply-add: forward, and in training twice as many
    backward but for the gradient of the images, which nobody needs.
    """
    if workload.task == "augment":
        return 0, 0
    if workload.task == "forward":
        rows = nnx.eval_shape(lambda: mobilenet_v2.build(_backbone(workload), nnx.Rngs(0))).rows(workload.image_shape)
        return sum(row.parameters for row in rows), 2 * sum(row.macs for row in rows)
    program, state, traced = train.abstract_init(workload.config, workload.num_classes, workload.image_shape)
    rows = train.rows(program, state, traced, workload.image_shape)
    macs = [row.macs for row in rows if row.macs]
    return sum(row.parameters for row in rows), 6 * sum(macs) - 2 * macs[0]


def _backbone(workload: Workload) -> mobilenet_v2.MobileNetV2Config:
    assert isinstance(workload.config.model, TransferConfig)
    return mobilenet_v2.MobileNetV2Config(workload.config.model.width)
