import dataclasses
import functools

import jax
import numpy as np
import pytest
from scipy import ndimage

from ablations.spec import RunConfig
from harness.training import train
from harness.training.augmentation import views
from models import MLPConfig, Mode, TransferConfig

CONFIG = RunConfig(dataset="small", model=MLPConfig(hidden=(8,)), batch_size=32, epochs=2, validation_size=40,
                   tta="flip_shift")
SHOWN = {"flip": 2, "shift": 5, "flip_shift": 10}


def by_scipy(images, tta):
    moves = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)] if "shift" in tta else [(0, 0)]
    for move in moves:
        moved = ndimage.shift(images, (0, *move, 0), order=0)
        yield moved
        if "flip" in tta:
            yield np.flip(moved, 2)


@pytest.mark.parametrize("tta", SHOWN)
def test_views_are_scipys_shifts_and_numpys_mirror_images(tta):
    images = np.random.default_rng(0).uniform(size=(3, 5, 7, 2)).astype(np.float32)
    found = list(views(images, tta))
    assert len(found) == SHOWN[tta]
    for one, expected in zip(found, by_scipy(images, tta), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_augmented_predictions_are_of_the_probabilities_averaged_over_views_and_change_no_other_score(dataset):
    program, state, traced = train.init(CONFIG, 0, dataset.num_classes, dataset.image_shape)
    split = train.Examples(*map(jax.numpy.asarray, (dataset.test.images, dataset.test.labels)))
    tested = {tta: jax.jit(functools.partial(train.evaluate, program, tta=tta))(state.weights, traced, split)
              for tta in ("none", CONFIG.tta)}
    for plain, augmented in zip(jax.tree.leaves(tested["none"]), jax.tree.leaves(tested[CONFIG.tta]), strict=False):
        np.testing.assert_array_equal(plain, augmented)
    network = program.network(state.weights, traced["model"])
    averaged = np.mean([jax.nn.softmax(network(view, Mode()))
                        for view in by_scipy(dataset.test.images.astype(np.float32) / 255, CONFIG.tta)], 0)
    np.testing.assert_array_equal(tested[CONFIG.tta].tta_predicted, averaged.argmax(-1))
    assert (tested[CONFIG.tta].tta_predicted != tested["none"].predicted).any()


def test_validation_which_selects_knows_no_view(dataset):
    def validated(tta):
        config = dataclasses.replace(CONFIG, tta=tta)
        program, state, traced = train.abstract_init(config, dataset.num_classes, dataset.image_shape)
        split = train.Examples(*(jax.ShapeDtypeStruct(part.shape, part.dtype)
                                 for part in (dataset.validation.images, dataset.validation.labels)))
        sums = jax.eval_shape(train.no_sums)
        return jax.jit(functools.partial(train.end_epoch, program)).lower(state, traced, sums, split).as_text()

    assert validated("flip_shift") == validated("none")


def test_features_of_images_have_no_views():
    config = dataclasses.replace(CONFIG, model=TransferConfig(width=0.35, resolution=32))
    with pytest.raises(ValueError, match="tta=flip_shift changes test images, and a frozen backbone's head reads"):
        train.abstract_init(config, 4, (config.model.features,))
