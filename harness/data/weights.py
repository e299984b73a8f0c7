"""Finds Keras Applications' MobileNetV2 weight files: in a given folder, in the cache, or by download.

`models.keras_weights` reads what is found.
"""

from pathlib import Path

import requests

from harness.data import cache, download
from harness.data.decoded import DataError
from harness.records import write_atomic
from harness.records.files import PointerError, in_home, refuse_pointer
from models import keras_weights
from models.keras_weights import WeightFacts, WeightsError
from models.mobilenet_v2 import Backbone, MobileNetV2Config

# Source: BASE_WEIGHT_PATH and the file names in keras/src/applications/mobilenet_v2.py.
URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
# Side of the images that the weights were trained on. Keras Applications takes other files at 96 to 192 pixels.
TRAINED_PX = 224


def load(config: MobileNetV2Config, weights_dir: str | None = None, cache_dir: str | None = None
         ) -> tuple[Backbone, WeightFacts]:
    """Builds the network with ImageNet weights, which take images of any size.

    Args:
      config: which of the files: width, and with or without top.
      weights_dir: a folder looked in first.
      cache_dir: where downloads are kept; by default that of `harness.data.cache`.

    Raises:
      WeightsError: if the file can neither be found nor downloaded, or is not what it should be.
    """
    path = _found(filename(config), weights_dir, cache_dir)
    try:
        refuse_pointer(path)
    except PointerError as error:
        raise WeightsError(f"{path} {error}") from None
    stated = None
    # Beside a file that the user placed it proves nothing.
    if path.parent == _cache(cache_dir) and _checksum(path).exists():
        stated = _checksum(path).read_text().strip()
    return keras_weights.load(path, config, stated)


def filename(config: MobileNetV2Config) -> str:
    """Names the file as Keras Applications does."""
    top = "" if config.top else "_no_top"
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{config.width}_{TRAINED_PX}{top}.h5"


def _found(name: str, weights_dir: str | None, cache_dir: str | None) -> Path:
    if weights_dir and not in_home(weights_dir).is_dir():
        raise WeightsError(f"--weights_dir={weights_dir}: there is no such folder; give another, or leave the flag out "
                           f"to use {_cache(cache_dir)}, else a download")
    cached = _cache(cache_dir) / name
    given = [in_home(weights_dir) / name] if weights_dir else []
    if path := next((path for path in (*given, cached) if path.is_file()), None):
        return path
    url = URL + name
    try:
        size, md5 = download.published(url)
        if not (size and md5):
            raise DataError(f"{url} states no size or md5 to check a download by")
        write_atomic(_checksum(cached), f"{md5}\n".encode())  # first: who finds the file finds this too
        download.fetch(url, size, md5, cached, "md5")
    except (requests.RequestException, DataError, OSError) as error:
        reason = getattr(getattr(error, "response", None), "status_code", None) or (
            str(error) if isinstance(error, DataError) else getattr(error, "strerror", None) or type(error).__name__)
        folders = " or ".join(str(path.parent) for path in (*given, cached))
        raise WeightsError(f"weights {name} are not in {folders} and could not be downloaded from {url} ({reason}); "
                           f"place the file in {cached.parent}, or in a folder given by --weights_dir=DIR") from error
    return cached


def _checksum(path: Path) -> Path:
    """Where the md5 that the official server stated for a downloaded file is kept."""
    return path.with_name(path.name + ".md5")


def _cache(cache_dir: str | None) -> Path:
    return in_home(cache_dir) if cache_dir else cache.folder("weights")
