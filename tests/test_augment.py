import jax
import jax.numpy as jnp
import numpy as np
import pytest

from harness.augment import flip, shift

IMAGES = jax.random.uniform(jax.random.key(0), (64, 6, 7, 2)) + 1


def test_a_shift_moves_whole_images_and_fills_with_zeros():
    moved = np.asarray(shift(IMAGES, jax.random.key(1), 2))
    padded = np.pad(np.asarray(IMAGES), ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets = [[(y, x) for y in range(5) for x in range(5) if (padded[i, y:y + 6, x:x + 7] == moved[i]).all()]
               for i in range(64)]
    assert all(len(found) == 1 for found in offsets)
    assert len({found[0] for found in offsets}) > 10


def test_no_shift_changes_nothing():
    np.testing.assert_array_equal(shift(IMAGES, jax.random.key(1), 0), IMAGES)


@pytest.mark.parametrize("max_px", [-1, 6])
def test_a_shift_beyond_the_image_is_refused(max_px):
    with pytest.raises(ValueError, match="shift_px"):
        shift(IMAGES, jax.random.key(1), max_px)


def test_a_flip_mirrors_about_half_of_the_images():
    flipped = flip(IMAGES, jax.random.key(1))
    mirrored = jnp.stack([(flipped[i] == IMAGES[i, :, ::-1]).all() for i in range(64)])
    kept = jnp.stack([(flipped[i] == IMAGES[i]).all() for i in range(64)])
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48
