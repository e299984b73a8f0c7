"""Which examples are set aside for validation or test: stratified by class, and the same in every run."""

import numpy as np

SPLIT_SEED = 0  # never a run's seed: every run of every ablation validates on the same examples


def stratified_sample(labels: np.ndarray, size: int) -> np.ndarray:
    """Picks `size` positions, as near to the class proportions as whole numbers allow.

    The choice depends on the labels and the size only. Classes get the floor of their share, and the examples left
    over go to the largest remainders; but of every class at least one example is left.

    Args:
      size: at most the number of examples less the number of classes among them.

    Returns:
      int64 (size,), increasing.
    """
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(size * counts, len(labels))
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    quotas = np.minimum(quotas, counts - 1)
    while quotas.sum() < size:  # what classes of few examples may not give, those that have most left do
        quotas[np.argmax(counts - quotas)] += 1
    # RandomState is frozen for good; the streams of default_rng may change between NumPy versions.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(members[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    return np.sort(np.concatenate([by_class[s : s + quota] for s, quota in zip(starts, quotas, strict=True)]))


def spare(labels: np.ndarray) -> int:
    """Counts the examples that may be set aside with one left of every class."""
    return len(labels) - len(np.unique(labels))


def held_out(labels: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Gives the positions that are not in a sample, increasing."""
    return np.setdiff1d(np.arange(len(labels)), sample, assume_unique=True)


def mixed(count: int) -> np.ndarray:
    """Gives an order of so many examples by a constant, so that the first of them are a fair part."""
    return np.random.RandomState(SPLIT_SEED).permutation(count)
