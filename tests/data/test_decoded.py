"""The cache of decoded arrays: made once, opened by all, rebuilt when damaged."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from place import ROOT
from tiny_sets import LoadArguments, arrays, message, no_decoding, place_mnist

from harness.data import DataError, Split, archives, decoded, load


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadArguments:
    return place_mnist(tmp_path, monkeypatch)


def test_a_second_load_decodes_nothing_and_needs_no_archives(tmp_path: Path, mnist, monkeypatch) -> None:
    first = load("mnist", **mnist)
    monkeypatch.setattr(archives, "decode", no_decoding)
    second = load("mnist", **mnist)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    third = load("mnist", **mnist)
    assert first.fingerprint == second.fingerprint == third.fingerprint
    np.testing.assert_array_equal(first.train.images, third.train.images)
    assert isinstance(third.test.images, np.memmap)
    assert not third.test.images.flags.writeable


@pytest.mark.parametrize(
    "damage", ["truncated array", "array gone", "truncated manifest", "older format", "other arrays", "empty folder",
               "labels shifted", "images inverted", "header", "classes renamed"]
)
def test_a_damaged_cache_is_rebuilt_and_it_is_told(tmp_path: Path, mnist, damage: str) -> None:
    told: list[str] = []
    before = load("mnist", **mnist)
    expected = Split(np.array(before.train.images), np.array(before.train.labels))
    (entry,) = (path for path in (tmp_path / "cache/mnist").iterdir() if path.is_dir())
    images, manifest = entry / "train_images.npy", entry / "manifest.json"
    if damage == "truncated array":
        images.write_bytes(images.read_bytes()[:-100])
    elif damage == "array gone":
        images.unlink()
    elif damage == "truncated manifest":
        manifest.write_text(manifest.read_text()[:50])
    elif damage == "older format":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 1, "class_names": ["x"] * 10}))
    elif damage == "other arrays":
        np.save(images, np.load(images)[:30])
        np.save(entry / "train_labels.npy", np.load(entry / "train_labels.npy")[:30])
    elif damage == "labels shifted":
        np.save(entry / "train_labels.npy", (np.load(entry / "train_labels.npy") + 1) % 10)
    elif damage == "images inverted":
        np.save(images, 255 - np.load(images))
    elif damage == "header":  # which numpy answers with a kind of error of its own
        images.write_bytes(images.read_bytes().replace(b"'descr': '|u1'", b"'descr': (|u1'", 1))
    elif damage == "classes renamed":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"class_names": list("abcdefghij")}))
    else:
        for file in entry.iterdir():
            file.unlink()
    after = load("mnist", **mnist, tell=told.append)
    assert after.fingerprint == before.fingerprint
    assert after.class_names == before.class_names
    np.testing.assert_array_equal(after.train.images, expected.images)
    np.testing.assert_array_equal(after.train.labels, expected.labels)
    assert told == [f"warning: decoded arrays in {entry} are not what was kept there; they are decoded again"]
    load("mnist", **mnist, tell=told.append)
    assert len(told) == 1


def test_a_cache_that_was_copied_is_hashed_once(tmp_path: Path, mnist, monkeypatch) -> None:
    before, hashed = load("mnist", **mnist), []
    for file in (tmp_path / "cache/mnist").rglob("*.npy"):
        os.utime(file, (1, 1))
    monkeypatch.setattr(archives, "decode", no_decoding)
    monkeypatch.setattr(decoded.verified, "sha256", lambda array, whole=decoded.verified.sha256: (
        hashed.append(array), whole(array))[1])
    for _ in range(2):
        assert load("mnist", **mnist).fingerprint == before.fingerprint
        assert len(hashed) == 4


def test_an_interrupted_write_leaves_no_entry(tmp_path: Path, mnist, monkeypatch) -> None:
    save, written = np.save, []

    def interrupted(path: object, array: np.ndarray) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        save(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(decoded.np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("mnist", **mnist)
    assert len(written) == 2
    assert not [path for path in (tmp_path / "cache/mnist").iterdir() if path.is_dir()]
    np.testing.assert_array_equal(load("mnist", **mnist).test.images[..., 0], arrays()["test_images"])


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path: Path, mnist) -> None:
    before = load("mnist", **mnist)
    (entry,) = (path for path in (tmp_path / "cache/mnist").iterdir() if path.is_dir())
    entry.rename(entry.with_name(entry.name + ".part"))
    assert load("mnist", **mnist).fingerprint == before.fingerprint
    assert [path.name for path in (tmp_path / "cache/mnist").iterdir() if path.is_dir()] == [entry.name]


def test_processes_that_start_at_once_make_one_good_cache(tmp_path: Path, mnist) -> None:
    script = textwrap.dedent(
        """
        import os, pathlib, sys, time
        import numpy as np
        from harness import data
        from harness.data import archives
        folder, log = pathlib.Path(sys.argv[1]), sys.argv[3]
        files = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                 "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
        archives.registry = lambda name: tuple(
            archives.Archive("", (folder / f).stat().st_size, archives.download.file_digest(folder / f), f)
            for f in files)
        decode = archives.decode_idx
        def slow(*arguments):
            with open(log, "a") as file:
                file.write("decoded\\n")
            time.sleep(0.5)  # long enough for the others to arrive
            return decode(*arguments)
        archives.decode_idx = slow
        print("ready", flush=True)
        sys.stdin.readline()
        loaded = data.load("mnist", sys.argv[1] + "/../../..", validation_size=10, cache_dir=sys.argv[2])
        print(loaded.fingerprint, int(np.sum(loaded.train.images)))
        """
    )
    command = [
        sys.executable,
        "-c",
        script,
        str(tmp_path / "data/downloads/manual/mnist"),
        str(tmp_path / "shared"),
        str(tmp_path / "log"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(3)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    expected = load("mnist", **mnist)
    assert answers == [f"{expected.fingerprint} {np.sum(expected.train.images)}\n"] * 3
    assert (tmp_path / "log").read_text() == "decoded\n"


def test_a_cache_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, mnist) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as error:
        load("mnist", **mnist | {"cache_dir": str(tmp_path / "file")})
    assert "XDG_CACHE_HOME" in message(error)


def test_a_disk_too_small_for_the_cache_is_one_line_and_nothing_stays(mnist, small_disk) -> None:
    mnist["cache_dir"] = str(small_disk.folder)
    small_disk.fill(free=30_000)
    with pytest.raises(DataError) as failed:
        load("mnist", **mnist)
    told = message(failed)
    assert "cannot keep decoded arrays in" in told
    assert "(No space left on device); set XDG_CACHE_HOME to a folder with room" in told
    assert {name for name in small_disk.names() if not name.endswith(".lock")} == set()
    small_disk.clear()
    assert len(load("mnist", **mnist).test.labels) == 20
