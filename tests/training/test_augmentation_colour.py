"""Colours and TrivialAugment against Pillow, which computes with whole numbers from 0 to 255."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from augmented import IMAGES
from PIL import Image, ImageEnhance, ImageOps

from harness.training.augmentation import colour, trivial

PIXELS = np.round(np.asarray(IMAGES[0]) * 255).astype(np.uint8)
SCALED = jnp.asarray(PIXELS[None], jnp.float32) / 255
PICTURE = Image.fromarray(PIXELS)
ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "color": ImageEnhance.Color,
             "sharpness": ImageEnhance.Sharpness}
# In one program each, as they are in training.
change, blend = jax.jit(trivial.change), jax.jit(colour.blend)


def assert_is(images, picture):
    """Within Pillow's rounding of the pixels, and of the grey that contrast is taken from."""
    np.testing.assert_allclose(np.asarray(images[0]) * 255, np.asarray(picture, np.float64), atol=1.5)


def changed(name, strength, sign=1.0):
    which = jnp.array([trivial.CHANGES.index(name)])
    return change(SCALED, which, jnp.array([strength]), jnp.array([sign]))


@pytest.mark.parametrize(("name", "plain"), [("brightness", colour.black), ("contrast", colour.mean_grey),
                                             ("color", colour.grey), ("sharpness", trivial.smoothed)])
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_factors_are_those_of_pillow(name, plain, factor):
    assert_is(blend(SCALED, plain(SCALED), jnp.array([factor])), ENHANCERS[name](PICTURE).enhance(factor))


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_fill_their_range(monkeypatch, name):
    seen = []
    monkeypatch.setattr(colour, "blend", lambda images, plain, factors: seen.append(factors) or images)
    places = jnp.arange(2000, dtype=jnp.uint32)
    draw = jax.jit(lambda key, strength: colour.jitter(SCALED, key, places, {name: strength}) is None or seen.pop())
    for strength, least, most in ((0.4, 0.6, 1.4), (1.5, 0.0, 2.5)):
        factors = np.asarray(draw(jax.random.key(0), jnp.float32(strength)))
        np.testing.assert_allclose([factors.min(), factors.max(), factors.mean()], [least, most, (least + most) / 2],
                                   atol=0.05)


@pytest.mark.parametrize("name", ENHANCERS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_trivial_enhancements_are_those_of_pillow(name, sign):
    assert_is(changed(name, 0.6, sign), ENHANCERS[name](PICTURE).enhance(1 + sign * 0.6 * 0.99))


def test_trivial_inversions_and_levels_are_those_of_pillow():
    assert_is(changed("posterize", 0.5), ImageOps.posterize(PICTURE, 8 - 3))
    np.testing.assert_allclose(changed("posterize", 0.0), SCALED, atol=1e-6)
    assert_is(changed("solarize", 0.4), ImageOps.solarize(PICTURE, 255 * 0.6))
    assert_is(changed("autocontrast", 0.4), ImageOps.autocontrast(PICTURE))
    flat = jnp.full_like(SCALED, 0.3)
    np.testing.assert_array_equal(trivial.autocontrasted(flat), flat)


@pytest.mark.parametrize(("name", "strength", "turns"), [
    ("rotate", 90 / 135, lambda image: np.rot90(image, 1, (0, 1))),
    ("translate_x", 2 / 32, lambda image: np.pad(image[:, 2:], ((0, 0), (0, 2), (0, 0)))),
    ("translate_y", 2 / 32, lambda image: np.pad(image[2:], ((0, 2), (0, 0), (0, 0)))),
    ("identity", 1.0, lambda image: image)])
def test_trivial_movements_are_those_of_whole_pixels(monkeypatch, name, strength, turns):
    square = SCALED[:, :7]
    monkeypatch.setitem(globals(), "SCALED", square)
    np.testing.assert_allclose(changed(name, strength)[0], turns(np.asarray(square[0])), atol=1e-4)


@pytest.mark.parametrize(("name", "along"), [("shear_x", 0), ("shear_y", 1)])
def test_trivial_shears_leave_the_middle_line(name, along):
    sheared = np.take(np.asarray(changed(name, 0.5)[0]), (4, 3)[along], along)
    np.testing.assert_allclose(sheared, np.take(np.asarray(SCALED[0]), (4, 3)[along], along), atol=1e-5)
    assert (np.asarray(changed(name, 0.5)) != np.asarray(changed(name, 0.5, -1.0))).any()


def test_each_change_at_its_two_ends_is_drawn(monkeypatch):
    monkeypatch.setattr(trivial, "change", lambda images, *drawn: drawn)
    which, strength, sign = map(np.asarray, jax.jit(trivial.trivial)(
        SCALED, jax.random.key(0), jnp.arange(3000, dtype=jnp.uint32)))
    np.testing.assert_allclose(np.bincount(which, minlength=13) / 3000, 1 / 13, atol=0.02)
    np.testing.assert_allclose(sorted(set(strength)), np.arange(31) / 30, atol=1e-6)
    np.testing.assert_allclose([sign.mean(), abs(sign).min()], [0, 1], atol=0.06)
