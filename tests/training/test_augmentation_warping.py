import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from augmented import IMAGES, PLACES

from harness.training.augmentation import warping

# In one program each, as they are in training.
linear, resample = jax.jit(warping.linear), jax.jit(warping.resample)

ANGLE, SHEAR, SCALE, SHIFT = 0.5, -0.3, (0.2, -0.1), (1.25, -0.5)


def by_scipy(image, matrix, shift, bend):
    """Interpolates one image at the positions that the same formula gives."""
    height, width, channels = image.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    where = np.empty((2, height, width))
    for y, x in np.ndindex(height, width):
        point = np.array([[y * 4 / (height - 1)], [x * 4 / (width - 1)]])
        bent = [scipy.ndimage.map_coordinates(axis.reshape(5, 5), point, order=1)[0] for axis in bend]
        where[:, y, x] = matrix @ (np.array([y, x]) - middle) + middle + shift + bent
    return np.stack([scipy.ndimage.map_coordinates(image[..., channel], where, order=1, mode="grid-constant")
                     for channel in range(channels)], -1)


def test_warped_images_are_those_of_scipy():
    rng = np.random.default_rng(0)
    matrix = np.asarray(linear(jnp.array([ANGLE]), jnp.array([SHEAR]), jnp.array([SCALE])))
    rotate = np.array([[np.cos(ANGLE), np.sin(ANGLE)], [-np.sin(ANGLE), np.cos(ANGLE)]])
    np.testing.assert_allclose(matrix[0], np.diag(np.exp(SCALE)) @ [[1, 0], [SHEAR, 1]] @ rotate, rtol=1e-6)
    bend = rng.normal(0, 0.8, (2, 2, 25)).astype(np.float32)
    shift = np.array([SHIFT, (9.0, 0.0)], np.float32)  # the other one is moved out of sight
    warped = resample(IMAGES[:2], jnp.asarray(np.repeat(matrix, 2, 0)), jnp.asarray(shift), jnp.asarray(bend))
    for one in range(2):
        np.testing.assert_allclose(warped[one], by_scipy(np.asarray(IMAGES[one]), matrix[0], shift[one], bend[one]),
                                   atol=1e-5)


def test_without_a_bend_only_the_matrix_and_the_shift_count():
    matrix = linear(*jnp.array([[ANGLE], [SHEAR]]), jnp.array([SCALE]))
    flat = resample(IMAGES[:1], matrix, jnp.array([SHIFT]))
    bent = resample(IMAGES[:1], matrix, jnp.array([SHIFT]), jnp.zeros((1, 2, 25)))
    np.testing.assert_allclose(flat, bent, atol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_quarter_turn_and_a_whole_pixel_are_exact_on_every_platform(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    resample = jax.jit(lambda *given: warping.resample(*given))  # not yet compiled for another platform
    square = IMAGES[:, :7]
    turn = jnp.tile(jnp.array([[0.0, 1.0], [-1.0, 0.0]]), (12, 1, 1))
    np.testing.assert_array_equal(resample(square, turn, jnp.zeros((12, 2))), np.rot90(square, 1, (1, 2)))
    moved = resample(square, jnp.tile(jnp.eye(2), (12, 1, 1)), jnp.tile(jnp.array([[1.0, 0.0]]), (12, 1)))
    np.testing.assert_array_equal(moved, np.pad(square[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0))))


def test_positions_far_outside_are_black():
    far = resample(IMAGES[:1], jnp.eye(2)[None], jnp.array([[1e20, -1e20]]))
    np.testing.assert_array_equal(far, jnp.zeros_like(far))


@pytest.mark.parametrize(("name", "strength", "spread"), [
    ("rotation", 40.0, 2 * np.deg2rad(40)), ("shear", 0.3, 0.6), ("scale", 0.2, 0.4), ("translate_px", 2.0, 4.0),
    ("elastic_px", 0.5, None)])
def test_draws_fill_their_range(monkeypatch, name, strength, spread):
    """A uniform draw's mean is 0 and its deviation a twelfth's root of the range; elastic noise is normal."""
    def draws(key):
        seen = {}
        monkeypatch.setattr(warping, "linear", lambda angle, shear, log_scale: seen.update(
            rotation=angle, shear=shear, scale=log_scale))
        monkeypatch.setattr(warping, "resample", lambda images, matrices, shifts, bends: seen.update(
            translate_px=shifts, elastic_px=bends))
        warping.warp(None, key, jnp.arange(2000, dtype=jnp.uint32), {name: jnp.float32(strength)})
        return seen

    seen = jax.jit(draws)(jax.random.key(0))
    drawn = np.asarray(seen.pop(name))
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.1 * strength)
    deviation = strength if spread is None else spread / np.sqrt(12)
    np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.08)
    if spread is not None:
        assert spread / 2 * 0.98 < abs(drawn).max() <= spread / 2 * (1 + 1e-6)
    if drawn.ndim == 2:
        assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1
    assert all(other is None or not np.asarray(other).any() for other in seen.values())


def test_members_of_a_cohort_are_warped_as_each_alone():
    def one(seed, strength):
        return warping.warp(IMAGES, jax.random.key(seed), PLACES, {"rotation": strength, "elastic_px": strength / 10})

    seeds, strengths = jnp.arange(2), jnp.array([5.0, 20.0])
    together, alone = jax.jit(jax.vmap(one))(seeds, strengths), jax.jit(one)
    for member in range(2):
        np.testing.assert_allclose(together[member], alone(seeds[member], strengths[member]), atol=1e-5)
