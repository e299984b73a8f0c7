"""Weight files from a given folder, from the cache and from a server on this machine."""

import base64
import hashlib
import http.server
import threading

import keras_on_jax
import pytest

from harness.data import weights
from models.keras_weights import WeightsError
from models.mobilenet_v2 import MobileNetV2Config

CONFIG = MobileNetV2Config(0.35)
NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.h5"
    return keras_on_jax.write(keras_on_jax.reference(0.35), path).read_bytes()


@pytest.fixture
def server(content, monkeypatch):
    """Serves the file as Google's storage does; `asked` lists the requests, `header` may be changed."""
    class Handler(http.server.BaseHTTPRequestHandler):
        asked: list[str] = []  # noqa: RUF012
        header = f"crc32c=AAAAAA==, md5={base64.b64encode(hashlib.md5(content).digest()).decode()}"

        def do_HEAD(self):
            self.send_response(200 if self.path == f"/{NAME}" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("x-goog-hash", self.header)
            self.end_headers()

        def do_GET(self):
            self.asked.append(self.path)
            self.do_HEAD()
            self.wfile.write(content)

        def log_message(self, format, *args):  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(weights, "URL", f"http://127.0.0.1:{running.server_port}/")
        yield Handler
        running.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(weights, "URL", "http://127.0.0.1:1/")


@pytest.mark.parametrize(("config", "name"), [
    (CONFIG, NAME), (MobileNetV2Config(1.0, top=True), "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5")])
def test_files_are_named_as_keras_names_them(config, name):
    assert weights.filename(config) == name


def test_a_file_in_the_given_folder_is_used_without_a_network(tmp_path, content, offline):
    (tmp_path / NAME).write_bytes(content)
    _, facts = weights.load(CONFIG, str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    assert not facts.official
    assert not (tmp_path / "cache").exists()


def test_a_file_is_downloaded_once_checked_and_official(tmp_path, server, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    for _ in range(2):
        _, facts = weights.load(CONFIG, str(tmp_path / "elsewhere"))
        assert facts.official
    assert server.asked == [f"/{NAME}"]
    kept = tmp_path / "image_ablation_harness/weights" / NAME
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is damaged"):
        weights.load(CONFIG)


def test_a_download_that_is_not_what_the_server_stated_is_refused(tmp_path, server):
    server.header = "md5=" + base64.b64encode(bytes(16)).decode()
    with pytest.raises(WeightsError, match=f"gave md5 .*, expected {'0' * 32}"):
        weights.load(CONFIG, cache_dir=str(tmp_path))
    assert not (tmp_path / NAME).exists()


def test_a_server_that_states_no_checksum_is_not_trusted(tmp_path, server):
    server.header = ""
    with pytest.raises(WeightsError, match="states no size or md5"):
        weights.load(CONFIG, cache_dir=str(tmp_path))
    assert not server.asked


@pytest.mark.parametrize("config", [MobileNetV2Config(0.5)])
def test_a_file_that_the_server_lacks_is_the_missing_error(tmp_path, server, config):
    with pytest.raises(WeightsError, match=r"0\.5_224_no_top.*\(404\)"):
        weights.load(config, cache_dir=str(tmp_path))


def test_without_a_network_one_line_says_where_to_put_which_file(tmp_path, offline):
    (tmp_path / "given").mkdir()
    with pytest.raises(WeightsError) as error:
        weights.load(CONFIG, str(tmp_path / "given"), cache_dir=str(tmp_path / "cache"))
    message = str(error.value)
    assert "\n" not in message
    assert f"weights {NAME} are not in {tmp_path / 'given'} or {tmp_path / 'cache'}" in message
    assert f"http://127.0.0.1:1/{NAME}" in message
    assert f"place the file in {tmp_path / 'cache'}" in message
    assert "--weights_dir=DIR" in message
    assert list(tmp_path.rglob("*")) == [tmp_path / "given"]


def test_a_disk_too_small_for_weights_is_told_as_such(small_disk, server):
    with pytest.raises(WeightsError, match=r"could not be downloaded from .* \(No space left on device\); place"):
        weights.load(CONFIG, None, cache_dir=str(small_disk.folder))
    assert NAME not in small_disk.names()
