import errno
import resource
import shutil
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from harness.training import checkpoint

STATE = {"weights": jnp.asarray([[1 / 3, np.nan], [np.inf, -0.0]], jnp.float32), "step": jnp.int32(7),
         "done": jnp.bool_(True)}


def test_what_is_restored_is_what_was_saved_to_the_bit(tmp_path):
    checkpoint.save(tmp_path, 3, STATE, {"train_s": 1.5, "config": {"a": [1]}})
    state, progress = checkpoint.restore(tmp_path, STATE)
    assert progress == {"train_s": 1.5, "config": {"a": [1]}}
    for name, leaf in STATE.items():
        assert state[name].tobytes() == np.asarray(leaf).tobytes()
        assert state[name].dtype == leaf.dtype


def test_the_latest_is_restored_and_all_but_the_one_before_it_go(tmp_path):
    for epoch in (2, 9, 10):
        checkpoint.save(tmp_path, epoch, STATE | {"step": jnp.int32(epoch)}, {})
    assert {path.name for path in tmp_path.iterdir()} == {"9", "10"}
    assert checkpoint.restore(tmp_path, STATE)[0]["step"] == 10


def test_nothing_saved_restores_nothing(tmp_path):
    assert checkpoint.restore(tmp_path / "absent", STATE) is None


def test_what_a_crash_left_half_written_is_ignored(tmp_path):
    checkpoint.save(tmp_path, 1, STATE, {})
    (tmp_path / "2.orbax-checkpoint-tmp-17").mkdir()
    assert checkpoint.restore(tmp_path, STATE) is not None
    checkpoint.save(tmp_path, 2, STATE, {})
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}


def rubbish(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"rubbish")


@pytest.mark.parametrize("damage", [rubbish, shutil.rmtree], ids=["rubbish", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(tmp_path, caplog, damage):
    told = []
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, STATE | {"step": jnp.int32(epoch)}, {"epoch": epoch})
    damage(tmp_path / "2")
    (tmp_path / "2").mkdir(exist_ok=True)
    state, progress = checkpoint.restore(tmp_path, STATE, told.append)
    assert (state["step"], progress) == (1, {"epoch": 1})
    [line] = told
    assert line.startswith(f"warning: checkpoint {tmp_path / '2'} is damaged (")
    assert line.endswith("and was set aside as damaged-2; the run goes on from epoch 1")
    assert caplog.text == "", "Orbax has its say too"
    checkpoint.save(tmp_path, 2, STATE, {})
    assert checkpoint.restore(tmp_path, STATE)[0]["step"] == 7


def test_weights_that_changed_since_they_were_saved_are_not_taken(tmp_path, monkeypatch):
    """One bit, in the state as Orbax gives it back: its own checksums are of what it wrote, not of what was meant."""
    load, told = checkpoint.ocp.load, []

    def flipped(path, like):
        state = load(path, like)
        state["weights"].view(np.uint32)[0, 0] ^= 1
        return state

    checkpoint.save(tmp_path, 1, STATE, {})
    monkeypatch.setattr(checkpoint.ocp, "load", flipped)
    assert checkpoint.restore(tmp_path, STATE, told.append) is None
    [line] = told
    assert "is damaged (its content is not what was saved)" in line
    assert line.endswith("no other is left, and the run is trained from its start")


def test_where_no_checkpoint_is_whole_nothing_is_resumed(tmp_path):
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, STATE, {})
        rubbish(tmp_path / str(epoch))
    told = []
    assert checkpoint.progress(tmp_path) is None
    assert checkpoint.restore(tmp_path, STATE, told.append) is None
    assert len(told) == 2


def test_of_several_processes_the_first_alone_sets_a_damaged_one_aside(tmp_path, monkeypatch):
    for epoch in (1, 2):
        checkpoint.save(tmp_path, epoch, STATE, {"epoch": epoch})
    rubbish(tmp_path / "2")
    monkeypatch.setattr(checkpoint.processes, "is_first", lambda: False)
    told = []
    assert checkpoint.restore(tmp_path, STATE, told.append)[1] == {"epoch": 1}
    assert (told, sorted(path.name for path in tmp_path.iterdir())) == ([], ["1", "2"])
    monkeypatch.undo()
    assert checkpoint.restore(tmp_path, STATE, told.append)[1] == {"epoch": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "damaged-2"]


def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(tmp_path, caplog):
    """Files may not grow here beyond what the first one takes, which is what a full disk is like."""
    checkpoint.save(tmp_path, 1, STATE, {})
    large = STATE | {"weights": np.random.default_rng(0).random((300, 300), np.float32)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(checkpoint.NotSavedError, match=r"/2 could not be written \(file too large\); free some "):
            checkpoint.save(tmp_path, 2, large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert caplog.text == "", "Orbax has its say too"
    assert checkpoint.restore(tmp_path, STATE) is not None


def test_threads_of_a_save_that_failed_say_nothing_and_all_others_are_heard(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: heard.append(str(told.exc_value)))

    def say():
        for text in ("Event loop is closed", "something else"):
            sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError(text)))

    def failing(*arguments, **more):
        say()
        raise OSError

    monkeypatch.setattr(checkpoint.ocp, "save", failing)
    for number in (1, 2):
        with pytest.raises(checkpoint.NotSavedError):
            checkpoint.save(tmp_path, 1, STATE, {})
        say()
        assert heard == ["something else"] * 2 * number
    assert sys.unraisablehook.args[0].__name__ == "<lambda>", "one of these is enough"


def test_where_there_is_no_room_nothing_is_begun(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, STATE, {})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**16))
    monkeypatch.setattr(checkpoint.ocp, "save", lambda *args, **more: pytest.fail("begun"))
    with pytest.raises(checkpoint.NotSavedError, match=r"/2 could not be written \(No space left on device\); free"):
        checkpoint.save(tmp_path, 2, STATE, {})
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, STATE, {})
    with pytest.raises(checkpoint.CheckpointError, match="holds other arrays"):
        checkpoint.restore(tmp_path, STATE | {"weights": jnp.zeros((3, 2))})


@pytest.mark.parametrize("wrapped", ["", "chained", "in words"])
def test_what_the_machine_cannot_read_now_is_not_damaged(tmp_path, monkeypatch, wrapped):
    """As where it has no file handles left, or a file server is away; Orbax wraps it in kinds of its own."""
    def failing(*arguments, **more):
        if wrapped == "in words":
            raise ValueError("PERMISSION_DENIED: Error opening [os_error_code='13'] [source locations='x.cc:1']")
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError as error:
            if wrapped:
                raise ValueError("could not be opened") from error
            raise

    checkpoint.save(tmp_path, 1, STATE, {})
    monkeypatch.setattr(checkpoint.ocp, "load", failing)
    with pytest.raises(checkpoint.CheckpointError, match=r"1 cannot be read \(.*left as it is: mend that"):
        checkpoint.restore(tmp_path, STATE)
    monkeypatch.undo()
    assert checkpoint.restore(tmp_path, STATE) is not None
    handled = ValueError("of another kind")
    handled.__context__, handled.__suppress_context__ = OSError(errno.EIO, "gone"), True
    assert not checkpoint.is_the_machines(handled), "it was dealt with"
    handled.__cause__ = handled
    assert not checkpoint.is_the_machines(handled)
