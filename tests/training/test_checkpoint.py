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


def test_the_latest_is_restored_and_older_ones_go(tmp_path):
    for epoch in (2, 9, 10):
        checkpoint.save(tmp_path, epoch, STATE | {"step": jnp.int32(epoch)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["10"]
    assert checkpoint.restore(tmp_path, STATE)[0]["step"] == 10


def test_nothing_saved_restores_nothing(tmp_path):
    assert checkpoint.restore(tmp_path / "absent", STATE) is None


def test_what_a_crash_left_half_written_is_ignored(tmp_path):
    checkpoint.save(tmp_path, 1, STATE, {})
    (tmp_path / "2.orbax-checkpoint-tmp-17").mkdir()
    assert checkpoint.restore(tmp_path, STATE) is not None
    checkpoint.save(tmp_path, 2, STATE, {})
    assert (tmp_path / "2").exists()


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoint.save(tmp_path, 1, STATE, {})
    for path in (tmp_path / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"rubbish")
    with pytest.raises(checkpoint.CheckpointError, match=r"cannot be restored .*delete this folder"):
        checkpoint.restore(tmp_path, STATE)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, STATE, {})
    with pytest.raises(checkpoint.CheckpointError, match="holds other arrays"):
        checkpoint.restore(tmp_path, STATE | {"weights": jnp.zeros((3, 2))})
