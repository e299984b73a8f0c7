"""A trained network with its preprocessing, as one callable."""

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx
from PIL import Image

from ablations.spec import RunConfig
from harness.data import DataError, features, inputs, resize
from harness.records import kept as kept_files
from harness.records.kept import WEIGHTS, KeptError, KeptNetwork
from harness.serving import configuration, locate
from harness.training import batches, environment, keeping
from models import Mode, plain
from models.precision import multiplied, number_type
from models.transfer import GivenFeatures

BATCH = 64  # pictures at once; fewer are padded to a power of two, so that few programs are compiled
Picture = str | os.PathLike[str] | Image.Image | np.ndarray


class Classifier:
    """Maps pictures to the probabilities of classes.

    Attributes:
      network: the Flax module, in the state for evaluation; it maps float32 images, scaled to [0, 1], to logits.
      class_names: in the order of the probabilities.
      rule: how a picture becomes what the network reads.
      kept: what is stated of it: scores, data, run.
      config: of the run; see `configuration.of`.
    """

    def __init__(self, network: nnx.Module, config: RunConfig, kept: KeptNetwork):
        self.network, self.config, self.kept, self.class_names = network, config, kept, kept.class_names
        self.rule = resize.Rule(kept.input.size, kept.input.channels, kept.input.fit)
        self._steps = _steps(network, config)

    def __call__(self, pictures: Picture | Sequence[Picture]) -> np.ndarray:
        """Classifies pictures of any size and mode.

        Args:
          pictures: one, or several: paths, Pillow's images, or arrays, uint8 [height, width] or [height, width,
            channel]; an array of four axes is a batch.

        Returns:
          float32 [picture, class].

        Raises:
          harness.data.DataError: if a file is no picture that can be read, or an array is none.
        """
        is_one = isinstance(pictures, str | os.PathLike | Image.Image) or (
            isinstance(pictures, np.ndarray) and pictures.ndim < 4)
        several: Sequence[Any] = [pictures] if is_one else pictures  # type: ignore[assignment]
        return self.probabilities([self.read(picture) for picture in several])

    def read(self, picture: Picture) -> np.ndarray:
        """Brings a picture to the form that the network reads: uint8 [height, width, channel].

        Raises:
          harness.data.DataError: as calling does.
        """
        if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape == (
                *self.rule.size, self.rule.channels):
            return picture
        if not isinstance(picture, str | os.PathLike | Image.Image | np.ndarray):
            raise DataError(f"a picture is a path, an image of Pillow or an array, not {type(picture).__name__}")
        if 0 in (picture.size if isinstance(picture, Image.Image) else getattr(picture, "shape", ())):
            raise DataError("a picture without pixels, such as an empty crop, has no class")
        if self.rule.channels not in (1, 3):
            raise DataError(f"the network reads {self.rule.channels} channels, which no picture has: give uint8 arrays "
                            f"of {' x '.join(map(str, (*self.rule.size, self.rule.channels)))}")
        if isinstance(picture, str | os.PathLike):
            return resize.picture(pathlib.Path(picture), self.rule)
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or not (picture.ndim == 2 or picture.shape[2:] in ((1,), (3,), (4,))):
                raise DataError(f"an array must be uint8 [height, width] or [height, width, 1, 3 or 4 channels], not "
                                f"{picture.dtype} {list(picture.shape)}")
            picture = Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else picture)
        return resize.of_image(picture, self.rule)

    def probabilities(self, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Classifies images that have the network's form.

        Args:
          images: uint8 [image, height, width, channel].

        Returns:
          float32 [image, class].
        """
        found = [np.zeros((0, len(self.class_names)), np.float32)]
        with environment.numerics():
            for start in range(0, len(images), BATCH):
                some = np.stack([np.asarray(image) for image in images[start:start + BATCH]])
                size = min(BATCH, 1 << (len(some) - 1).bit_length())
                values: Any = np.pad(some, ((0, size - len(some)), (0, 0), (0, 0), (0, 0)))
                for step in self._steps:
                    values = step(values)
                found.append(np.asarray(values)[:len(some)])
        return np.concatenate(found)


def load(run: str | os.PathLike[str], *, ablation: str = "", trust_code: bool = False) -> Classifier:
    """Loads a trained network with its preprocessing.

    Args:
      run: folder of the run, of its ablation, or of a copy of the two files.
      ablation: file or module with the user's classes; needed, or `trust_code`, if the network is of one.
      trust_code: executes the copy of that file which lies with the results.

    Raises:
      harness.records.kept.KeptError: if there is no network that can be loaded; the message says what is needed.
      harness.records.RecordError: if a record cannot be read.
      ablations.UnknownAblationError, ablations.spec.SpecError: if the user's code cannot be loaded.
    """
    folder, _ = locate.find(os.fspath(run))
    kept = kept_files.read(folder)
    return restored(folder, kept, configuration.of(kept, folder, ablation, trust_code=trust_code))


def restored(folder: pathlib.Path, kept: KeptNetwork, config: RunConfig) -> Classifier:
    """Puts a trained network together from the numbers in a folder and what is stated of it.

    Raises:
      KeptError: if they do not belong together.
    """
    with environment.numerics():
        return Classifier(_filled(config, kept, _arrays(folder), folder), config, kept)


def _arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    path = folder / WEIGHTS
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise KeptError(f"{path} cannot be read: {error}") from None


def _filled(config: RunConfig, kept: KeptNetwork, arrays: dict[str, np.ndarray], folder: pathlib.Path) -> nnx.Module:
    """Builds the network around the stored numbers; of a shipped one nothing is drawn at random in their place."""
    shape = (*kept.input.size, kept.input.channels)
    graphs = []

    def build() -> tuple[Any, Any]:
        network = plain.built(config.model, len(kept.class_names), shape, nnx.Rngs(0))
        parts: Any = nnx.split(network, keeping.KEPT, ...)
        graph, stored, others = parts
        graphs.append(graph)
        return stored, others

    try:
        if kept.model_is_own:  # it may hold arrays that are no variables, which are none either where it is traced
            stored, others = build()
        else:
            stored, others = jax.eval_shape(build)[0], jax.jit(lambda: build()[1])()
    except ValueError as error:
        raise KeptError(f"{folder}: its network cannot be built: {error}") from error
    wanted = {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(stored)}
    if wrong := [name for name in sorted(wanted.keys() | arrays.keys())
                 if name not in wanted or name not in arrays or wanted[name].shape != arrays[name].shape]:
        raise KeptError(f"{folder / WEIGHTS} does not fit the network that its configuration describes: {wrong[0]} is "
                        f"{_form(arrays.get(wrong[0]))} in the file and {_form(wanted.get(wrong[0]))} in the network")
    filled = []
    for path, variable in nnx.to_flat_state(stored):
        value = jax.numpy.asarray(arrays[".".join(map(str, path))], variable.dtype)
        filled.append((path, variable.replace(value) if isinstance(variable, nnx.Variable) else value))
    network = nnx.merge(graphs[-1], nnx.from_flat_state(filled), others)
    network.eval()
    return network


def _form(array: Any) -> str:
    return "absent" if array is None else str(list(array.shape))


def _steps(network: Any, config: RunConfig) -> list[Any]:
    """Gives the programs that map uint8 images to probabilities: those by which the run was scored.

    A frozen backbone has its own, as when features are computed beforehand.
    """
    if not inputs.reads_features(config):
        return [_program(network, config.precision)]
    head = nnx.clone(network)
    head.layers[0] = GivenFeatures(config.model)  # type: ignore[arg-type]
    return [features.compiled(network.layers[0], config.precision, 1), _program(head, config.precision)]


def _program(network: nnx.Module, precision: str) -> Any:
    parts: Any = nnx.split(network, nnx.Param, ...)
    graph, params, others = parts

    @jax.jit
    def apply(params: Any, others: Any, images: jax.Array) -> jax.Array:
        cast = jax.tree.map(lambda leaf: leaf.astype(number_type(precision)), params)
        whole = nnx.merge(graph, cast, others)
        with multiplied(precision):
            logits = plain.forward(whole, batches.scaled(images).astype(number_type(precision)), Mode())
        return jax.nn.softmax(logits.astype("float32"))

    return functools.partial(apply, params, others)
