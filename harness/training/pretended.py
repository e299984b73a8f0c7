"""How runs would lie on devices that are not there: layouts and memory, from programs compiled for a mesh of that size.

The mesh is one of CPU devices, to which no data is copied.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ablations.spec import Run
from harness.data import inputs
from harness.data.inputs import Inputs
from harness.training import cohort, train
from harness.training.layout import Choices, Layout
from harness.training.programs import Programs, convolves, known_rows


@dataclasses.dataclass(frozen=True)
class Lying:
    """How a cohort would lie.

    Attributes:
      layout: of an accelerator's kind: all runs at once, where there are fewer devices than runs.
      memory_bytes: on each device, data, states and temporaries, as XLA plans it for a CPU; None if it does not say.
    """

    cells: tuple[str, ...]
    runs: int
    layout: Layout
    memory_bytes: int | None

    @property
    def idle(self) -> int:
        """Counts the slots that no run of the cohort uses."""
        return self.layout.slots - self.runs


class _Uncopied(Programs):
    """Programs whose data is described and not there."""

    def _copied(self, array: np.ndarray) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(array), array.dtype, sharding=NamedSharding(self._mesh, P()))


def lie(runs: Sequence[Run], found: Mapping[Hashable, Inputs], devices: int) -> list[Lying]:
    """Compiles the training epoch of each cohort for that many devices, and runs nothing.

    Args:
      found: `inputs.key` -> inputs, of all runs; features are not needed.
      devices: of which jax has as many.
    """
    lying = []
    for members in cohort.partition(runs):
        config = members[0].config
        dataset = found[inputs.key(config)].dataset
        shape = inputs.input_shape(config, dataset)
        if inputs.reads_features(config):
            dataset = dataclasses.replace(dataset, **{
                name: dataclasses.replace(split, images=np.broadcast_to(np.float32(0), (len(split.labels), *shape)))
                for name in ("train", "validation", "test") for split in [getattr(dataset, name)]})
        examples = len(dataset.train.labels[:config.train_size])
        program, state, traced = train.abstract_init(config, dataset.num_classes, shape, examples)
        layout = Choices(len(members), devices, "jit", program.whole_batches, True,
                         convolves(known_rows(program, state, traced, shape))).simplest()
        programs = _Uncopied(program, state, traced, dataset, layout)
        lying.append(Lying(tuple(dict.fromkeys(run.cell for run in members)), len(members), layout,
                           programs.memory_bytes and programs.memory_bytes + programs.beside_bytes))
    return lying
