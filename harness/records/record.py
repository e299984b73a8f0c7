"""What a run's record states, as types: the run, its data, scores, cost, timing and placement.

The docstrings are what results/README.md says of the columns.
"""

import dataclasses
from typing import Any, Literal

Status = Literal["done", "diverged", "oom", "error"]
SCHEMA = 3
STATUSES: tuple[Status, ...] = ("done", "diverged", "oom", "error")


@dataclasses.dataclass(frozen=True)
class Environment:
    """The machine, the versions and the code of a run; None where a record of an earlier schema does not tell.

    Attributes:
      python, harness_version: versions of Python and of this package.
      packages: name -> version.
      platform: cpu, gpu or tpu.
      device: the CPU's or accelerator's name.
      device_count: how many of them jax has; on a CPU one per core.
      git_commit: of the harness; None where its folder is not the root of a repository that tracks it.
      git_dirty: whether its code differed from that commit.
      training_code: sha256 over the sources that decide what training computes: networks, specs, the training itself.
      numerics: name -> value of jax's settings that numbers depend on, and XLA_FLAGS.
    """

    python: str
    packages: dict[str, str]
    platform: str
    device: str
    device_count: int
    git_commit: str | None
    git_dirty: bool
    harness_version: str | None = None
    training_code: str | None = None
    numerics: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """The data a run saw: see `harness.data.Dataset`.

    Attributes:
      name: of the data set.
      fingerprint: of the decoded arrays and the split: equal exactly if two runs saw the same examples.
      pixels: sha256 of the decoded arrays alone, before the validation split.
      official: whether the pixels are proven to be the official ones.
      source: where they came from: archives, prepared, tensorflow, bundled, folder, npz or object.
      warnings: what a reader of the results must know.
      class_names: in the order of labels.
      image_shape: height, width, channels.
      train_examples, validation_examples, test_examples: that the run trained on, selected on, was tested on.
    """

    name: str
    fingerprint: str
    pixels: str
    official: bool
    source: str
    warnings: tuple[str, ...]
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    train_examples: int
    validation_examples: int
    test_examples: int


@dataclasses.dataclass(frozen=True)
class BackboneFacts:
    """The backbone of a transfer network.

    Attributes:
      name: with its width multiplier.
      resolution: height and width of the images it sees.
      fine_tune: what of it is trained, "none" if it is frozen; see `models.TransferConfig`.
      features_s: seconds that computing the features of all images took, by whichever run came first; None where the
        backbone runs in the training step.
      features_cached: whether this launch found them on disk.
      weights_file, weights_sha256: what it started from.
      weights_official: whether the file is proven to be the official one.
    """

    name: str
    resolution: int
    fine_tune: str
    weights_file: str
    weights_sha256: str
    weights_official: bool
    features_s: float | None
    features_cached: bool | None


@dataclasses.dataclass(frozen=True)
class Scores:
    """What one state of the parameters reached; accuracies are fractions, losses mean cross-entropy without penalty.

    Where config.ema_decay is not 0, the state that is validated and tested is the moving average.

    Attributes:
      epoch: after which the state was taken, from 1.
      train_loss, train_accuracy: over that epoch's steps, with dropout on and parameters moving.
      validation_loss, validation_accuracy: after that epoch.
      test_loss, test_accuracy: after that epoch; read when training is over.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_loss: float
    test_accuracy: float


@dataclasses.dataclass(frozen=True)
class Layer:
    """A row of the layer table: see `models.layers.Row`."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    frozen: bool = False
    beforehand: bool = False
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the run's network costs; None where the platform does not tell.

    Attributes:
      layers: a row per layer: name, kind, output shape per example, parameters, MACs per example, whether it is
        frozen, and whether its outputs were computed beforehand, so that the training program does not have it.
      parameters, trainable_parameters: of the whole network, and without a backbone's that is frozen.
      macs_per_example: multiply-accumulate operations of one forward pass of the whole network.
      parameters_bytes, gradients_bytes, optimizer_bytes, activations_bytes: the parts of the memory estimate: of the
        whole network, of what is trained, the optimizer's state, and every trained layer's output at the batch size.
      memory_estimate_bytes: their sum, with that of average_bytes.
      compiled_bytes: per device, for the compiled training epoch with its data: arguments, outputs and temporaries.
      measured_peak_bytes: most memory in use while the run trained: of the process above its start on a CPU, of the
        first device on an accelerator; None where other runs shared it.
      average_bytes: of the moving average of weights and statistics; 0 where none is kept.
    """

    layers: tuple[Layer, ...]
    parameters: int
    trainable_parameters: int | None
    macs_per_example: int
    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    memory_estimate_bytes: int
    compiled_bytes: int | None
    measured_peak_bytes: int | None
    average_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long the run took, on a device it may have shared.

    Attributes:
      train_s: seconds spent in training epochs, compilation and validation excluded, over all launches.
      validate_s: seconds spent in validation.
      compile_s: seconds to trace and compile the cohort's programs in the launch that finished the run.
      throughput_examples_per_s: training examples of this run per second, in its median epoch: the first one of a
        launch and those that other work disturbed are slower and say nothing of the program.
      end_to_end_examples_per_s: training examples of this run per second over all epochs, with validation and with the
        whole time that features took, as if no other run had used them.
      members_at_once: the most runs that trained side by side with it, itself included.
      launches: how many processes worked on the run; above 1 it was resumed.
    """

    train_s: float
    validate_s: float
    compile_s: float
    throughput_examples_per_s: float
    end_to_end_examples_per_s: float | None
    members_at_once: int
    launches: int


LAYOUT_GIVEN = "given by --layout"


@dataclasses.dataclass(frozen=True)
class Placement:
    """How the run was compiled and laid out over the devices with its cohort.

    Attributes:
      layouts: in order; several if memory or runs that had ended changed the layout on the way.
      choice: what was measured to choose the first, or why nothing was, as "given by --layout".
      compiled_programs: in the launch that finished the run.
      cache_hits, cache_misses: what the persistent compilation cache had of them.
    """

    layouts: tuple[str, ...]
    choice: str
    compiled_programs: int
    cache_hits: int
    cache_misses: int


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where an ablation is written and what a command changed of it.

    Attributes:
      origin: its file, seen from where the results folder is, or its module, with ":NAME" if its name is not ABLATION;
        empty if it is shipped.
      sources: path -> sha256 of that file and of every module of its folder that it imports; none if it is shipped.
        Copies are where `harness.records.sources` says.
      overrides: path -> value that the command set in every run.
    """

    origin: str = ""
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """States a finished run so that no spec is needed to read it.

    Attributes:
      ablation, question: what it belongs to.
      cell, seed: which run of which cell.
      labels: factor -> level.
      config: the whole configuration, such as config.optimizer.learning_rate.
      config_hash: of the configuration.
      status: "done", "diverged" (a loss was not finite), "oom" or "error".
      message: what went wrong; empty when done.
      started_at, finished_at: when its launch began to train its cohort, and when it was recorded.
      epochs_trained: in all launches.
      stopped_early: whether early stopping ended it.
      best: at the best validation epoch; None unless done.
      last: at the last epoch; None unless done.
      origin: the ablation's file, seen from where the results folder is, or its module; empty if it is shipped.
      sources: path -> sha256 of that file and of the modules of its folder that it imports.
      overrides: path -> value that the command set in every run.
      non_finite_gradients: steps whose gradient's norm was not finite; None where that is not counted, since the
        weights are then not finite either and the run has diverged.
      schema: the form of the record, this one; `harness.records.schemas` tells how earlier ones are read.
    """

    ablation: str
    question: str
    cell: str
    labels: dict[str, str]
    seed: int
    config: dict[str, Any]
    config_hash: str
    dataset: DatasetFacts
    environment: Environment
    status: Status
    message: str
    started_at: str
    finished_at: str
    epochs_trained: int = 0
    stopped_early: bool = False
    best: Scores | None = None
    last: Scores | None = None
    cost: Cost | None = None
    timing: Timing | None = None
    placement: Placement | None = None
    backbone: BackboneFacts | None = None
    origin: str = ""
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    non_finite_gradients: int | None = None
    schema: int = SCHEMA

    @property
    def run_id(self) -> str:
        """Names the run's folder, as it was when it was recorded."""
        return f"{self.cell},seed={self.seed}".replace(" ", "_")
