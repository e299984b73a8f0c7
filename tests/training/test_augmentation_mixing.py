import jax
import jax.numpy as jnp
import numpy as np
import pytest

from harness.training.augmentation.mixing import cutmix, mixing, mixup
from harness.training.batches import CUTMIX, MIXUP

PLACES = jnp.arange(6, dtype=jnp.uint32)
MASK = jnp.arange(6) < 4
IMAGES = jnp.broadcast_to(jnp.arange(1.0, 7.0)[:, None, None, None], (6, 9, 7, 2))
TARGETS = jnp.eye(6)


def test_mixup_mixes_real_examples_with_real_ones_by_one_share():
    values = np.arange(1, 7, dtype=np.float32)
    draw = jax.jit(lambda key: mixup(key, jnp.float32(1.0), PLACES, MASK)(jnp.asarray(values)))
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


def by_numpy(key):
    """The authors' code, with what `cutmix` draws: rows and columns of the box, cut off at the image's edges."""
    share_key, middle_key = jax.random.split(key)
    side = np.sqrt(1 - float(jax.random.beta(share_key, 1.0, 1.0)))
    slices = []
    for size, drawn in zip((9, 7), jax.random.uniform(middle_key, (2,)), strict=True):
        length, middle = int(size * side), int(drawn * size)
        slices.append(slice(np.clip(middle - length // 2, 0, size), np.clip(middle + length // 2, 0, size)))
    return tuple(slices)


def test_cutmix_replaces_a_box_and_its_clipped_part_is_the_next_target_s_share():
    draw = jax.jit(lambda key: tuple(apply(values) for apply, values in zip(
        cutmix(key, jnp.float32(1.0), PLACES, MASK, (9, 7)), (IMAGES, TARGETS), strict=True)))
    clipped = 0
    for seed in range(20):
        rows, columns = by_numpy(jax.random.key(seed))
        expected = np.array(IMAGES)
        expected[:4, rows, columns] = np.array([2, 3, 4, 1])[:, None, None, None]
        share = (rows.stop - rows.start) * (columns.stop - columns.start) / 63
        images, targets = draw(jax.random.key(seed))
        np.testing.assert_array_equal(images[:4], expected[:4])
        np.testing.assert_allclose(targets[:4], (1 - share) * np.eye(6)[:4] + share * np.eye(6)[[1, 2, 3, 0]],
                                   atol=1e-6)
        clipped += rows.start == 0 or columns.start == 0 or rows.stop == 9 or columns.stop == 7
    assert clipped > 5


def test_with_both_a_batch_is_mixed_in_either_way():
    @jax.jit
    def draw(key):
        uses = {MIXUP: jax.random.fold_in(key, 0), CUTMIX: jax.random.fold_in(key, 1)}
        return [[apply(values) for apply, values in zip(
            mixing(uses.__getitem__, dict.fromkeys(names, jnp.float32(1.0)), PLACES, MASK, (9, 7)), (IMAGES, TARGETS),
            strict=True)] for names in (["mixup", "cutmix"], ["mixup"], ["cutmix"])]

    kinds = []
    for seed in range(16):
        both, *ways = draw(jax.random.key(seed))
        equal = [all(map(np.array_equal, both, way)) for way in ways]
        assert equal.count(True) == 1
        kinds.append(equal.index(True))
    assert {0, 1} == set(kinds)


@pytest.mark.parametrize("values", [IMAGES, TARGETS], ids=["images", "targets"])
def test_without_either_nothing_is_mixed(values):
    for apply in mixing(lambda use: pytest.fail(f"drew for {use}"), {}, PLACES, MASK, (9, 7)):
        assert apply(values) is values
