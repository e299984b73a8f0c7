"""Makes the files of a trained network from an ended run: every number it has, and what using it needs to know."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from ablations import lookup
from ablations.own_data import ImageFolder
from ablations.spec import Run
from harness.data.inputs import Inputs
from harness.records import RunRecord, Scores
from harness.records.configs import as_json
from harness.records.files import json_bytes
from harness.records.kept import CONFIG, WEIGHTS, Code, InputForm, KeptNetwork
from harness.training import train
from models import Traced, transfer

STATES = ("best", "last", "none")
# All that training or a weight file decided. What a configuration says, and what is drawn anew, is built from that.
KEPT = nnx.Any(transfer.Frozen, nnx.Not(nnx.Any(Traced, nnx.RngState, nnx.Intermediate)))


def files(run: Run, record: RunRecord, state: str, weights: train.Weights, program: train.Program, traced: Any,
          found: Inputs) -> dict[str, bytes]:
    """Gives name -> content of the files that a done run's network is kept in.

    Args:
      state: "best" or "last"; whose weights these are.
      program, traced: the run's.
      found: what it read.

    Raises:
      ValueError: in one line, if a variable holds what the file has no form for, naming it.
    """
    scores = record.best if state == "best" else record.last
    assert scores is not None, "a run that is done is scored"
    about = json_bytes(_described(run, record, state, scores, found))
    network = _whole(program, weights, traced, found)
    arrays = {name: _stored(name, variable) for name, variable in variables(network).items()}
    # One string: the library writes several in an order of chance, and equal runs shall leave equal files.
    metadata = {"config": json.dumps(json.loads(about))}
    return {WEIGHTS: safetensors.numpy.save(arrays, metadata), CONFIG: about}


def variables(network: nnx.Module) -> dict[str, nnx.Variable[Any]]:
    """Lists what is kept of a network by its dotted path; what stands in several places, once."""
    return {".".join(map(str, path)): variable
            for path, variable in nnx.to_flat_state(nnx.state(network, KEPT))}


def _whole(program: train.Program, weights: train.Weights, traced: Any, found: Inputs) -> nnx.Module:
    """Puts a run's network together, with the backbone before a head that was trained on features alone."""
    network: Any = program.network(weights, traced["model"])
    model: Any = program.config.model
    if found.computed is not None:
        assert found.backbone is not None, "features come from one"
        network.layers[0] = transfer.Features(found.backbone, model.resolution)
    return network


def _stored(name: str, variable: nnx.Variable[Any]) -> np.ndarray:
    value = variable[...]
    is_float = jnp.issubdtype(value.dtype, jnp.floating)
    if not is_float and not (isinstance(value.dtype, np.dtype) and value.dtype.kind in "biu"):
        raise ValueError(f"{name} holds {value.dtype}, and {WEIGHTS} has floats, whole numbers, True and False alone")
    return np.array(value, np.float32 if is_float else value.dtype, order="C")


def _described(run: Run, record: RunRecord, state: str, scores: Scores, found: Inputs) -> KeptNetwork:
    config, data = run.config, found.dataset
    height, width, channels = data.image_shape
    fit = config.dataset.fit if isinstance(config.dataset, ImageFolder) else "crop"
    is_own = lookup.has_code_of_its_own(config)
    return KeptNetwork(
        harness_version=record.environment.harness_version, architecture=type(config.model).__name__,
        class_names=data.class_names, input=InputForm((height, width), channels, fit), state=state,
        scores=scores, run_id=run.run_id, ablation=record.ablation, seed=run.seed,
        config=as_json(config), config_hash=record.config_hash, overrides=dict(record.overrides), data=data.name,
        data_fingerprint=data.fingerprint, backbone=found.facts(config.model),
        code=Code(record.origin, dict(record.sources)) if is_own else None,
        model_is_own=lookup.has_code_of_its_own(config.model))
