import jax
import jax.numpy as jnp
import numpy as np
import pytest

from harness.training.augmentation import erasing

# In one program each, as they are in training.
box, cutout, erase = jax.jit(erasing.box), jax.jit(erasing.cutout), jax.jit(erasing.erase, static_argnums=4)

MANY = jnp.arange(400, dtype=jnp.uint32)
IMAGES = jax.random.uniform(jax.random.key(0), (400, 20, 10, 1)) + 0.01


def rectangles(chosen):
    """Gives height and width of what is chosen of each image, which must be one rectangle; (0, 0) where nothing is."""
    found = []
    for inside in np.asarray(chosen)[..., 0]:
        rows, columns = inside.any(1), inside.any(0)
        assert (inside == rows[:, None] & columns).all()
        assert all((np.diff(np.flatnonzero(along)) == 1).all() for along in (rows, columns))
        found.append((rows.sum(), columns.sum()))
    return np.array(found)


def test_boxes_are_those_of_slices():
    top, left, high, wide = jnp.array([[0, -2, 18], [3, 9, -5], [4, 5, 9], [2, 3, 30]])
    inside = box(IMAGES[:3], top, left, high, wide)
    expected = np.zeros((3, 20, 10, 1), bool)
    expected[0, 0:4, 3:5], expected[1, 0:3, 9:10], expected[2, 18:, :] = True, True, True
    np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_so_many_images_lose_a_rectangle_of_the_area_asked_for(probability):
    erased = erase(IMAGES, jax.random.key(1), MANY, jnp.float32(probability), (0.1, 0.2))
    sizes = rectangles(erased == 0)
    happened = sizes[:, 0] > 0
    np.testing.assert_allclose(happened.mean(), probability, atol=0.08)
    areas = sizes[happened].prod(1) / 200
    assert (abs(areas - 0.15) < 0.05 + 0.04).all()  # sides are whole pixels
    kept = np.asarray(erased) != 0
    np.testing.assert_array_equal(np.asarray(erased)[kept], np.asarray(IMAGES)[kept])
    if happened.any():
        ratios = sizes[happened, 0] / sizes[happened, 1]
        assert ratios.min() < 0.6
        assert ratios.max() > 2


def test_a_rectangle_stands_anywhere_inside():
    """Each pixel of the rim is hit, and a rectangle keeps its area there."""
    erased = erase(IMAGES, jax.random.key(1), MANY, jnp.float32(1), (0.05, 0.05))
    hit = (np.asarray(erased) == 0).any(0)[..., 0]
    assert hit.all()
    assert rectangles(erased == 0).prod(1).min() >= 5


@pytest.mark.parametrize("side", [1.0, 3.0, 6.0])
def test_a_cutout_is_a_square_of_the_image_s_mean_around_any_of_its_pixels(side):
    cut = np.asarray(cutout(IMAGES, jax.random.key(1), MANY, jnp.float32(side)))
    changed = cut != np.asarray(IMAGES)
    sizes = rectangles(changed)
    assert side // 2 <= sizes.min() <= sizes.max() == side
    means = np.broadcast_to(np.asarray(IMAGES).mean((1, 2), keepdims=True), cut.shape)
    np.testing.assert_allclose(cut[changed], means[changed], rtol=1e-5)
    assert changed.any(0).mean() > 0.8
