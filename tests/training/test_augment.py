import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ablations.spec import AugmentConfig
from harness.training import augment as augmenting
from harness.training.augment import mixup

# In one program each, as they are in training.
augment, shift = (jax.jit(whole, static_argnums=3) for whole in (augmenting.augment, augmenting.shift))
flip = jax.jit(augmenting.flip)

PLACES = jnp.arange(64, dtype=jnp.uint32)
IMAGES = jax.random.uniform(jax.random.key(0), (64, 6, 7, 2)) + 1


def test_a_shift_moves_whole_images_and_fills_with_zeros():
    moved = np.asarray(shift(IMAGES, jax.random.key(1), PLACES, 2))
    padded = np.pad(np.asarray(IMAGES), ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets = [[(y, x) for y in range(5) for x in range(5) if (padded[i, y:y + 6, x:x + 7] == moved[i]).all()]
               for i in range(64)]
    assert all(len(found) == 1 for found in offsets)
    assert len({found[0] for found in offsets}) > 10


def test_no_shift_changes_nothing():
    np.testing.assert_array_equal(shift(IMAGES, jax.random.key(1), PLACES, 0), IMAGES)


@pytest.mark.parametrize("max_px", [-1, 6])
def test_a_shift_beyond_the_image_is_refused(max_px):
    with pytest.raises(ValueError, match="shift_px"):
        shift(IMAGES, jax.random.key(1), PLACES, max_px)


def test_a_flip_mirrors_about_half_of_the_images():
    images, flipped = np.asarray(IMAGES), np.asarray(flip(IMAGES, jax.random.key(1), PLACES))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    kept = (flipped == images).all((1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48


def test_mixup_mixes_real_examples_with_real_ones_by_one_share():
    values, mask = np.arange(1, 7, dtype=np.float32), np.arange(6) < 4
    draw = jax.jit(lambda key: mixup(key, jnp.float32(1.0), PLACES[:6], mask)(values))
    for seed in range(5):
        mixed = np.asarray(draw(jax.random.key(seed)))
        share = (values[1] - mixed[0]) / (values[1] - values[0])
        assert 0 <= share <= 1
        np.testing.assert_allclose(mixed[:4], share * values[:4] + (1 - share) * np.array([2.0, 3.0, 4.0, 1.0]),
                                   rtol=1e-5)


def test_mixup_shares_follow_the_beta_distribution():
    """Its variance is 1 / (4 (2 a + 1))."""
    one, mask = jnp.array([1.0, 0.0]), jnp.ones(2, bool)
    draw = jax.jit(jax.vmap(lambda key, strength: mixup(key, strength, PLACES[:2], mask)(one)[0], (0, None)))
    for strength in (0.2, 2.0):
        shares = np.asarray(draw(jax.random.split(jax.random.key(0), 4000), jnp.float32(strength)))
        np.testing.assert_allclose(shares.mean(), 0.5, atol=0.03)
        np.testing.assert_allclose(shares.var(), 1 / (4 * (2 * strength + 1)), rtol=0.1)


def test_what_is_drawn_for_an_image_follows_from_its_place_alone():
    config = AugmentConfig(shift_px=2, flip=True)
    whole = augment(IMAGES, jax.random.key(2), PLACES, config)
    np.testing.assert_array_equal(augment(IMAGES[40:], jax.random.key(2), PLACES[40:], config), whole[40:])
