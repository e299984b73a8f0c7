"""What all changes to images have in common; each has its own test beside this one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from augmented import EVERYTHING, IMAGES, PLACES, STRENGTHS

from ablations.spec import AugmentConfig, RunConfig
from harness.training import train
from harness.training.augmentation import augment, moves, strengths
from models import MLPConfig

# In one program each, as they are in training.
shift = jax.jit(moves.shift, static_argnums=3)


def of(*names):
    return AugmentConfig(**{name: STRENGTHS[name] for name in names})


# Those of a group share a program; first those with a strength.
STRONG = {"warping": of("rotation", "shear", "scale", "translate_px", "elastic_px"),
          "colour": of("brightness", "contrast", "saturation"), "erasing": of("erase_prob"), "cutout": of("cutout_px")}
GROUPS = STRONG | {"shift": AugmentConfig(shift_px=2), "mirror": AugmentConfig(flip=True, vflip=True),
                   "trivialaugment": AugmentConfig(trivialaugment=True)}


@functools.cache
def compiled(config):
    return jax.jit(lambda images, key, places, given: augment(images, key, places, config, given))


def changed(config, seed=2, images=IMAGES, places=PLACES):
    return np.asarray(compiled(config)(images, jax.random.key(seed), places, strengths(config)))


@pytest.mark.parametrize("name", GROUPS)
def test_images_stay_in_their_range(name):
    images = changed(GROUPS[name])
    assert (images.shape, images.dtype) == (IMAGES.shape, np.float32)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("name", GROUPS)
def test_each_image_is_changed_in_its_own_way_and_anew_with_each_key(name):
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    one, other = (changed(GROUPS[name], seed, same) for seed in (2, 3))
    assert len({image.tobytes() for image in one}) > 1
    assert (one != other).any()
    np.testing.assert_array_equal(one, changed(GROUPS[name], 2, same))


@pytest.mark.parametrize("name", GROUPS)
def test_what_is_drawn_for_an_image_follows_from_its_place_alone(name):
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(changed(GROUPS[name], images=IMAGES[order], places=PLACES[order]),
                                  changed(GROUPS[name])[order])


@pytest.mark.parametrize("name", STRONG)
def test_at_strength_zero_images_stay_as_they_are_to_the_last_bit(name):
    nothing = dict.fromkeys(strengths(STRONG[name]), jnp.float32(0))
    np.testing.assert_array_equal(compiled(STRONG[name])(IMAGES, jax.random.key(2), PLACES, nothing), IMAGES)


@pytest.mark.parametrize("name", STRONG)
def test_other_strengths_change_images_otherwise_in_the_same_program(name):
    config = STRONG[name]
    weaker = {kind: jnp.float32(value / 3) for kind, value in strengths(config).items()}
    program = compiled(config)
    assert (changed(config) != program(IMAGES, jax.random.key(2), PLACES, weaker)).any()
    assert program._cache_size() == 1


def test_strengths_are_inputs_of_the_program_and_those_at_zero_are_not_there():
    def program(config):
        return str(jax.make_jaxpr(lambda given: augment(IMAGES, jax.random.key(2), PLACES, config, given))(
            strengths(config)))

    halved = dataclasses.replace(EVERYTHING, **{name: value / 2 for name, value in STRENGTHS.items()} | {
        "cutout_px": 1.0})
    assert program(EVERYTHING) == program(halved)
    assert strengths(AugmentConfig(shift_px=1, flip=True, mixup=0.3)) == {}
    assert strengths(EVERYTHING).keys() == STRENGTHS.keys()


def test_what_is_left_out_adds_nothing_to_the_program():
    """Shift and flip draw what they drew before there was anything else."""
    def two(images, key):
        shift_key, flip_key = jax.random.split(key)
        return moves.flip(moves.shift(images, shift_key, PLACES, 2), flip_key, PLACES)

    def program(function):
        return str(jax.make_jaxpr(function)(IMAGES, jax.random.key(2)))

    config = AugmentConfig(shift_px=2, flip=True)
    assert program(lambda images, key: augment(images, key, PLACES, config, {})) == program(two)


def test_a_shift_moves_whole_images_and_fills_with_zeros():
    moved = np.asarray(shift(IMAGES + 1, jax.random.key(1), PLACES, 2))
    padded = np.pad(np.asarray(IMAGES) + 1, ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets = [[(y, x) for y in range(5) for x in range(5) if (padded[i, y:y + 9, x:x + 7] == moved[i]).all()]
               for i in range(12)]
    assert all(len(found) == 1 for found in offsets)
    assert len({found[0] for found in offsets}) > 4


def test_no_shift_changes_nothing():
    np.testing.assert_array_equal(shift(IMAGES, jax.random.key(1), PLACES, 0), IMAGES)


@pytest.mark.parametrize("max_px", [-1, 7])
def test_a_shift_beyond_the_image_is_refused(max_px):
    with pytest.raises(ValueError, match="shift_px"):
        shift(IMAGES, jax.random.key(1), PLACES, max_px)


@pytest.mark.parametrize(("mirror", "mirrored"), [(moves.flip, lambda image: image[:, ::-1]),
                                                  (moves.vflip, lambda image: image[::-1])], ids=["flip", "vflip"])
def test_about_half_of_the_images_are_mirrored(mirror, mirrored):
    images = np.tile(np.asarray(IMAGES), (8, 1, 1, 1))
    found = np.asarray(jax.jit(mirror)(images, jax.random.key(1), jnp.arange(96, dtype=jnp.uint32)))
    turned = np.array([(one == mirrored(image)).all() for one, image in zip(found, images, strict=True)])
    kept = np.array([(one == image).all() for one, image in zip(found, images, strict=True)])
    assert (turned ^ kept).all()
    assert 24 < turned.sum() < 72


@pytest.mark.parametrize(("config", "shape", "told"), [
    (AugmentConfig(shift_px=8), (8, 9, 1), "shift_px must be below 8"),
    (AugmentConfig(translate_px=8.5), (9, 8, 1), "translate_px must be below 8"),
    (AugmentConfig(cutout_px=8), (8, 8, 1), "cutout_px must be below 8"),
    (AugmentConfig(saturation=0.5), (8, 8, 1), "saturation needs images in colour")])
def test_what_does_not_fit_the_images_is_refused_before_training(config, shape, told):
    with pytest.raises(ValueError, match=told):
        train.init(RunConfig("small", MLPConfig(hidden=(4,)), augment=config), 0, 4, shape)
