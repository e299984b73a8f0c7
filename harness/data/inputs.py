"""What runs read: a data set, or features in its images' place, and the weights of a backbone.

`harness.run` loads inputs once for all runs that share them; `harness.training.executor` hands them to its cohorts.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import jax
from rich.console import Console

from ablations.spec import RunConfig
from harness.data import datasets, features, weights
from harness.data.datasets import Dataset, Split
from harness.records import BackboneFacts
from models import transfer
from models.keras_weights import WeightFacts
from models.mobilenet_v2 import Backbone, MobileNetV2Config
from models.transfer import TransferConfig


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the runs of a cohort read.

    Attributes:
      dataset: the images.
      computed: the features that stand in the images' place; None where the network reads images.
      backbone, weights: what a transfer network starts from, and what a record says of it.
    """

    dataset: Dataset
    computed: features.Computed | None = None
    backbone: Backbone | None = None
    weights: WeightFacts | None = None

    @property
    def examples(self) -> Dataset:
        """The data set as the network reads it."""
        if self.computed is None:
            return self.dataset
        splits: dict[str, Any] = {name: Split(rows, getattr(self.dataset, name).labels)
                                  for name, rows in self.computed.splits.items()}
        return dataclasses.replace(self.dataset, **splits)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results must know."""
        return self.dataset.warnings + (self.weights.warnings if self.weights else ())

    def facts(self, model: Any) -> BackboneFacts | None:
        """Says what a record says of the backbone of a network."""
        if self.weights is None:
            return None
        return BackboneFacts(
            name=f"mobilenet_v2 {model.width}", resolution=model.resolution, fine_tune=model.fine_tune,
            weights_file=self.weights.file, weights_sha256=self.weights.sha256, weights_official=self.weights.official,
            features_s=self.computed.seconds if self.computed else None,
            features_cached=self.computed.cached if self.computed else None)


def key(config: RunConfig) -> Hashable:
    """Tells which inputs a run reads: equal keys share them."""
    model = config.model
    backbone = (model.width,) if isinstance(model, TransferConfig) else ()
    return config.dataset, config.validation_size, backbone, _features_key(config)


def reads_features(config: RunConfig) -> bool:
    """Whether features can stand in the images' place: the backbone is frozen, and no image is ever changed."""
    return isinstance(config.model, TransferConfig) and config.model.is_frozen and not config.augment.is_on


def input_shape(config: RunConfig, dataset: Dataset) -> tuple[int, ...]:
    """Gives the shape of one example as the run's network reads it."""
    return (config.model.features,) if reads_features(config) else dataset.image_shape  # type: ignore[attr-defined]


def load_datasets(configs: Iterable[RunConfig], data_dir: str | None, *, skip_unreadable: bool = False,
                  tell: Callable[[str], None] = print) -> dict[Hashable, Inputs]:
    """Loads the images alone: enough to tell what training would cost.

    Args:
      data_dir, skip_unreadable, tell: as `data.load` has them.

    Raises:
      DataError: as `data.load`.
    """
    loaded: dict[Hashable, Dataset] = {}
    found: dict[Hashable, Inputs] = {}
    once = functools.cache(tell)  # levels that read a folder in several forms find the same in it
    for config in configs:
        name = config.dataset, config.validation_size
        if name not in loaded:
            loaded[name] = datasets.load(config.dataset, data_dir, validation_size=config.validation_size,
                                         skip_unreadable=skip_unreadable, tell=once)
        found.setdefault(key(config), Inputs(loaded[name]))
    return found


def with_weights(found: Mapping[Hashable, Inputs], configs: Iterable[RunConfig], weights_dir: str | None
                 ) -> dict[Hashable, Inputs]:
    """Adds the weights of backbones where runs need them.

    Raises:
      models.keras_weights.WeightsError: if weights are missing or not what they should be.
    """
    pretrained: dict[float, tuple[Backbone, WeightFacts]] = {}
    completed = dict(found)
    for config in configs:
        if isinstance(model := config.model, TransferConfig):
            if model.width not in pretrained:
                pretrained[model.width] = weights.load(MobileNetV2Config(model.width), weights_dir)
            completed[key(config)] = Inputs(found[key(config)].dataset, None, *pretrained[model.width])
    return completed


def complete(found: Mapping[Hashable, Inputs], configs: Iterable[RunConfig], weights_dir: str | None, devices: int,
             console: Console) -> dict[Hashable, Inputs]:
    """Adds weights and features where runs need them; features not kept yet are computed, which may take minutes.

    Raises:
      models.keras_weights.WeightsError: if weights are missing or not what they should be.
      DataError: if features cannot be kept.
    """
    needed = {key(config): config for config in configs}
    completed = with_weights(found, needed.values(), weights_dir)  # before anything long is begun
    for which, config in needed.items():
        given = completed[which]
        if not reads_features(config) or given.backbone is None or given.weights is None:
            continue
        model: Any = config.model
        what = features.Key(given.dataset.fingerprint, given.weights.sha256, model.width, model.resolution,
                            config.precision, jax.default_backend())
        computed = features.compute(given.dataset, transfer.Features(given.backbone, model.resolution), what, devices,
                                    console)
        completed[which] = dataclasses.replace(given, computed=computed)
    return completed


def _features_key(config: RunConfig) -> tuple[Any, ...]:
    return (config.model.resolution, config.precision) if reads_features(config) else ()  # type: ignore[attr-defined]
