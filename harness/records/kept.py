"""A trained network as a run leaves it: `model.safetensors`, and `config.json` with all else that using it needs."""

import dataclasses
import json
import pathlib
from typing import Any

from harness.records import configs, reading
from harness.records.record import BackboneFacts, Scores

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT = 1


class KeptError(Exception):
    """A trained network that cannot be had; the message is one line."""


@dataclasses.dataclass(frozen=True)
class InputForm:
    """What the network reads: see `harness.data.resize.Rule`.

    Attributes:
      size: height and width in pixels.
      channels: 1 (grey), 3 (red, green, blue), or as the data set has them.
      fit: how a picture of another aspect ratio is brought to the size.
      scaling: from bytes to the numbers that the network reads.
      resize: the rest of the rule, in words.
    """

    size: tuple[int, int]
    channels: int
    fit: str
    scaling: str = "x / 255"
    resize: str = "upright by EXIF, transparent pixels on white, bilinear with antialiasing"


@dataclasses.dataclass(frozen=True)
class Code:
    """The user's code that a configuration's classes are written in: see `record.Provenance`."""

    origin: str
    sources: dict[str, str]


@dataclasses.dataclass(frozen=True)
class KeptNetwork:
    """Says which network the numbers of `model.safetensors` belong to, and how to use it.

    Attributes:
      harness_version: that wrote it.
      architecture: class of the model's configuration.
      class_names: in the order of the outputs.
      input: what it reads.
      state: "best" (the best validation epoch's weights) or "last".
      scores: of these weights.
      run_id, ablation, seed: the run.
      config, config_hash, overrides: as its record has them.
      data, data_fingerprint: the data set's name and `harness.data.Dataset.fingerprint`.
      backbone: what it started from; its weights are in the file.
      code: where classes of the configuration come from that are not the harness's; None if there are none.
      model_is_own: whether the model's is one of them, so that nothing can be loaded without that code.
      format: of this file.
    """

    harness_version: str | None
    architecture: str
    class_names: tuple[str, ...]
    input: InputForm
    state: str
    scores: Scores
    run_id: str
    ablation: str
    seed: int
    config: dict[str, Any]
    config_hash: str
    overrides: dict[str, Any]
    data: str
    data_fingerprint: str
    backbone: BackboneFacts | None
    code: Code | None
    model_is_own: bool
    format: int = FORMAT


def read(folder: pathlib.Path) -> KeptNetwork:
    """Reads `config.json` of a folder.

    Raises:
      KeptError: if it cannot be read, or is of another form.
    """
    path = folder / CONFIG
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            raise KeptError(f"{path} does not state format {FORMAT}, which this version of the harness reads")
        kept = reading.structured(KeptNetwork, stored)
        if kept.config_hash != configs.config_hash(kept.config):
            raise ValueError("its config_hash is not its configuration's, so that one of them was edited")
        return kept
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KeptError(f"{path} cannot be read: {reason}; it is written beside {WEIGHTS} and belongs to it") from None
