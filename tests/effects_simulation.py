"""Compares candidates for the test of main effects and interactions: family-wise error and power, by simulation.

Run: python -m tests.effects_simulation      Writes results/headline_test/effects.csv and effects.md.

Scores are normal: what a seed does to every cell alike, plus each cell's own noise. Errors are the chance that any main
effect, or any interaction, is found where there is none, after Holm's correction at the 5 % level; power is that of
finding a first main effect of 1.2 noise standard deviations, or an interaction of 6 in which the noisy cell has no
part.
"""

import argparse
import itertools
import pathlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import scipy
from scipy import special

from harness.analysis.effects import across

LEVEL = 0.05
EFFECT = 1.2
APART = 6.0
DESIGNS = ((2, 2), (2, 3), (2, 4), (3, 3), (2, 2, 2))
OUT = pathlib.Path(__file__).parent.parent / "results" / "headline_test"

# scores [repetition, cell, seed], weights [contrast, cell] -> p [repetition, contrast]
Candidate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def contrasts(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weights of all main effects and of all interactions of a full factorial."""
    cells = np.array(list(itertools.product(*map(range, shape))))

    def effect(levels: dict[int, int]) -> np.ndarray:
        found = np.prod([(cells[:, axis] == level) * 1.0 - (cells[:, axis] == 0) for axis, level in levels.items()],
                        axis=0)
        return found * np.prod([shape[axis] for axis in levels]) / len(cells)

    mains = [effect({axis: level}) for axis, size in enumerate(shape) for level in range(1, size)]
    pairs = [effect({one: here, two: there}) for one, two in itertools.combinations(range(len(shape)), 2)
             for here in range(1, shape[one]) for there in range(1, shape[two])]
    return np.array(mains), np.array(pairs)


def noise(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=2, keepdims=True) - scores.mean(axis=1, keepdims=True)
            + scores.mean(axis=(1, 2), keepdims=True))


def tested(scores: np.ndarray, weights: np.ndarray, variance: np.ndarray, degrees: np.ndarray | float) -> np.ndarray:
    size = np.abs(scores.mean(axis=2) @ weights.T)
    return 2 * special.stdtr(degrees, -size / np.sqrt(variance / scores.shape[2]))


def paired(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A t test of the contrast seed by seed."""
    values = np.einsum("ck,rkn->rcn", weights, scores)
    return tested(scores, weights, values.var(axis=2, ddof=1), scores.shape[2] - 1)


def pooled(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The analysis of variance: one noise variance for all cells, seeds as blocks."""
    _, cells, seeds = scores.shape
    degrees = (cells - 1) * (seeds - 1)
    variance = np.sum(noise(scores)**2, axis=(1, 2)) / degrees
    return tested(scores, weights, variance[:, None] * np.sum(weights**2, axis=1), degrees)


def welch_over_all(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Welch's test less what a seed does to all cells, whether or not they enter the contrast."""
    _, cells, seeds = scores.shape
    own = np.sum(noise(scores)**2, axis=2) / (seeds - 1) * cells / (cells - 1)
    parts = weights**2 * own[:, None]
    variance = parts.sum(axis=2)
    degrees = (seeds - 1) * np.maximum(1, variance**2 / np.sum(parts**2, axis=2) * (cells - 1) / cells)
    return tested(scores, weights, variance, degrees)


def welch(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What the harness does, all repetitions at once: the same over the cells that enter alone."""
    return np.stack([welch_over_all(scores[:, one != 0], one[None, one != 0])[:, 0] for one in weights], axis=1)


CANDIDATES: dict[str, Candidate] = {"paired t": paired, "analysis of variance": pooled,
                                    "Welch over all cells": welch_over_all, "Welch over the contrast's cells": welch}


def noises(cells: int) -> dict[str, np.ndarray]:
    """Noise variances by name."""
    def one(place: int, value: float) -> np.ndarray:
        found = np.ones(cells)
        found[place] = value
        return found
    return {"equal": np.ones(cells), "first x10": one(0, 10), "last x10": one(-1, 10), "first x0.1": one(0, 0.1),
            "every other x10": np.where(np.arange(cells) % 2, 10, 1), "last x100": one(-1, 100)}


def any_found(p: np.ndarray) -> float:
    """The share of repetitions with a finding after Holm's correction: its first step decides whether there is one."""
    return 100 * float(np.mean(np.min(p, axis=1) * p.shape[1] < LEVEL))


def simulate(repetitions: int, seed: int) -> pd.DataFrame:
    generator, rows = np.random.default_rng(seed), []
    for shape, seeds in itertools.product(DESIGNS, (3, 5)):
        mains, pairs = contrasts(shape)
        cells = mains.shape[1]
        for name, variances in noises(cells).items():
            scores = (generator.normal(size=(repetitions, cells, seeds)) * np.sqrt(variances)[:, None]
                      + generator.normal(size=(repetitions, 1, seeds)))
            there = scores + EFFECT * (mains[0] > 0)[:, None]
            # The last cell may be the noisy one; where it has a part in every interaction, there is none to find.
            apart = pairs[pairs[:, -1] == 0][:1]
            together = scores + APART * np.eye(cells)[np.argmax(apart[0] > 0)][:, None] if len(apart) else scores
            for candidate, test in CANDIDATES.items():
                power = np.mean(test(there, mains)[:, 0] * len(mains) < LEVEL)
                found = np.mean(test(together, apart)[:, 0] * len(pairs) < LEVEL) if len(apart) else np.nan
                rows.append({"design": " x ".join(map(str, shape)), "seeds": seeds, "noise": name, "test": candidate,
                             "error, main effects": any_found(test(scores, mains)),
                             "error, interactions": any_found(test(scores, pairs)), "power": 100 * float(power),
                             "power, interaction": 100 * float(found)})
        check(scores[:20], np.concatenate([mains, pairs]))
    return pd.DataFrame(rows)


def check(scores: np.ndarray, weights: np.ndarray) -> None:
    """The test of all repetitions at once is the one that the harness has."""
    for p, table in zip(welch(scores, weights), scores, strict=True):
        np.testing.assert_allclose(p, [across(table, one).p for one in weights])


def report(found: pd.DataFrame, repetitions: int, seed: int) -> str:
    """Tells each candidate's worst errors and its mean power."""
    what = (__doc__ or "").split("\n\n")[2].replace("\n", " ").strip()
    lines = ["# The test of main effects and interactions, by simulation", "",
             f"`python -m tests.effects_simulation --repetitions {repetitions} --seed {seed}`, numpy {np.__version__}, "
             f"scipy {scipy.__version__}. {what}",
             "Designs: levels of each factor. Noise: variances relative to the other cells'. All numbers in percent; "
             "every scenario is in `effects.csv`.", "",
             "| test | worst error, noise up to tenfold | worst error, a cell x100 | power, 3 seeds, equal | 5 seeds, "
             "equal | 3 seeds, tenfold | 5 seeds, tenfold | of interactions without the cell x100, 3 seeds | 5 seeds |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for name in CANDIDATES:
        of = found[found["test"] == name]
        wild, equal = of["noise"] == "last x100", of["noise"] == "equal"
        errors = of[["error, main effects", "error, interactions"]].max(axis=1)
        powers = [of["power"][(of["seeds"] == seeds) & which].mean()
                  for which in (equal, ~wild & ~equal) for seeds in (3, 5)]
        powers += [of["power, interaction"][(of["seeds"] == seeds) & wild].mean() for seeds in (3, 5)]
        lines.append(f"| {name} | {errors[~wild].max():.2f} | {errors[wild].max():.2f} | "
                     + " | ".join(f"{power:.0f}" for power in powers) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found = simulate(chosen.repetitions, chosen.seed)
    found.round(2).to_csv(OUT / "effects.csv", index=False)
    (OUT / "effects.md").write_text(report(found, chosen.repetitions, chosen.seed))


if __name__ == "__main__":
    main()
