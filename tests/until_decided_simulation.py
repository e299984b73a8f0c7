"""Measures what --until_decided promises: how often it errs, and how many seeds it takes, by simulation.

Run: python -m tests.until_decided_simulation      Writes results/until_decided/simulation.csv and simulation.md.

Scores are normal: a cell's mean, plus what a seed does to every cell alike, plus the cell's own noise. Cell 0 is the
baseline. All studies of a scenario are looked at together; a test holds this against `harness.analysis.looks`.
"""

import argparse
import itertools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import scipy
from scipy import special

from harness.analysis import headline, looks, spending
from tests.headline_simulation import found_by_holm, p_values

OUT = pathlib.Path(__file__).parent.parent / "results" / "until_decided"
CELLS = (2, 5, 10)
STEPS = ((2, 20), (3, 30), (5, 30))  # seeds at a time, and at most
NOISES = {"equal": {}, "one x10": {-1: 10.0}, "baseline x10": {0: 10.0}}
SPENDING: dict[str, Callable[[float, float], float]] = {
    "Pocock's": lambda alpha, share: alpha * np.log(1 + (np.e - 1) * share),
    "share": lambda alpha, share: alpha * share, "share ** 1.5": spending.power_family,
    "share ** 2": lambda alpha, share: alpha * share**2, "share ** 3": lambda alpha, share: alpha * share**3}
# In points: a cell's noise and what seeds share, as standard deviations.
NOISE, SHARED, HALF_A_POINT = 0.35, 0.1, 0.5
OPEN, DIFFERS, ALIKE = range(3)


def scores(studies: int, means: np.ndarray, variances: np.ndarray, shared: float, seeds: int, seed: int) -> np.ndarray:
    """Invents [study, cell, seed]."""
    generator = np.random.default_rng(seed)
    found = generator.normal(size=(studies, len(means), seeds)) * np.sqrt(variances)[:, None] + means[:, None]
    return found + shared * generator.normal(size=(studies, 1, seeds))


def decided(invented: np.ndarray, step: int, within: float, levels: tuple[float, ...]
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Takes all looks of all studies.

    Returns:
      [study, compared cell]: what each difference was found to be, the seeds of its cell, and its interval's ends.
    """
    studies, cells, _ = invented.shape
    answer = np.full((studies, cells - 1), OPEN)
    used, ends = np.zeros_like(answer), np.full((studies, cells - 1, 2), np.nan)
    for number, level in enumerate(levels, 1):
        waiting = answer == OPEN
        used[waiting] = number * step
        patterns, which = np.unique(waiting, axis=0, return_inverse=True)
        for place, pattern in enumerate(patterns):
            studies_here, cells_here = np.flatnonzero(which.ravel() == place), np.flatnonzero(pattern)
            seen = invented[studies_here][:, [0, *(cells_here + 1)], :number * step]
            for column, cell in enumerate(cells_here, 1):
                mean = (seen[:, column] - seen[:, 0]).mean(axis=1)
                error, degrees = headline.standard_error(seen[:, column], seen[:, 0],
                                                         np.delete(seen, [0, column], axis=1))
                half_width = -special.stdtrit(degrees, level / 2) * error
                low, high = mean - half_width, mean + half_width
                ends[studies_here, cell] = np.stack([low, high], axis=1)
                answer[studies_here, cell] = np.where(
                    (low > 0) | (high < 0), DIFFERS, np.where((low >= -within) & (high <= within), ALIKE, OPEN))
    return answer, used, ends


def levels(cells: int, step: int, most: int) -> tuple[float, ...]:
    """Gives what `looks.look` tests at."""
    return spending.levels(looks.LEVEL / (cells - 1), most // step)


def errors(studies: int, seed: int) -> pd.DataFrame:
    """How often any of several true zeros is found to differ, at any look; nothing but that ends a study."""
    rows = []
    for cells, (step, most), noise, shared in itertools.product(CELLS, STEPS, NOISES, (0.0, 1.0)):
        variances = np.ones(cells)
        variances[list(NOISES[noise])] = list(NOISES[noise].values())
        invented = scores(studies, np.zeros(cells), variances, shared, most, seed)
        answer, _, _ = decided(invented, step, 0.0, levels(cells, step, most))
        rows.append((cells, step, most, noise, shared, float(np.any(answer == DIFFERS, axis=1).mean())))
    return pd.DataFrame(rows, columns=["cells", "step", "most", "noise", "seed_effect", "error"])


def fixed_power(invented: np.ndarray) -> dict[int, float]:
    """How many of the differences the headline test with Holm's correction finds, by a fixed number of seeds."""
    found = {}
    for seeds in range(2, invented.shape[2] + 1):
        seen = invented[:, :, :seeds]
        tests = [headline.standard_error(seen[:, cell], seen[:, 0], np.delete(seen, [0, cell], axis=1))
                 for cell in range(1, seen.shape[1])]
        error, degrees = (np.stack(of, axis=1) for of in zip(*tests, strict=True))
        found[seeds] = float(found_by_holm(p_values(seen, error, degrees)).mean())
    return found


def savings(studies: int, seed: int, sizes: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5),
            numbers: tuple[int, ...] = CELLS) -> pd.DataFrame:
    """What becomes of true differences, and the seeds that a fixed number would take to find as many of them."""
    rows = []
    for cells, (step, most), size in itertools.product(numbers, STEPS[1:2], sizes):
        means = np.r_[0.0, np.full(cells - 1, size)]
        invented = scores(studies, means, np.full(cells, NOISE**2), SHARED, most, seed)
        answer, used, ends = decided(invented, step, HALF_A_POINT, levels(cells, step, most))
        power = float((answer == DIFFERS).mean())
        fixed = next((seeds for seeds, found in fixed_power(invented).items() if found >= power), most) if size else 0
        missed = np.any((ends[..., 0] > size) | (ends[..., 1] < size), axis=1)
        runs = used.sum(axis=1) + used.max(axis=1)
        rows.append((cells, step, most, size, power, float((answer == ALIKE).mean()), float(used.mean()),
                     float(runs.mean()), fixed, fixed * cells, float(missed.mean())))
    return pd.DataFrame(rows, columns=["cells", "step", "most", "difference", "differs", "alike", "mean_seeds",
                                       "mean_runs", "fixed_seeds", "fixed_runs", "interval_misses"])


def inflation(studies: int, seed: int) -> Iterator[str]:
    """How much more often than at normal data's levels paired t tests err: what the caution is there for."""
    yield f"| seeds at a time, at most | {' | '.join(SPENDING)} |"
    yield "|---" * (1 + len(SPENDING)) + "|"
    generator = np.random.default_rng(seed)
    for step, most in ((1, 12), (1, 30), *STEPS, (5, 10)):
        data = generator.normal(size=(studies, most))
        total, squares = data.cumsum(axis=1), (data**2).cumsum(axis=1)
        texts = []
        for spent in SPENDING.values():
            worst = 0.0
            for comparisons in (1, 4, 9):
                alpha, found = looks.LEVEL / comparisons, np.zeros(studies, bool)
                for number, level in enumerate(spending.boundary_levels(alpha, most // step, spent), 1):
                    if (n := number * step) > 1:
                        mean = total[:, n - 1] / n
                        error = np.sqrt((squares[:, n - 1] / n - mean**2) / (n - 1))
                        found |= np.abs(mean) > -special.stdtrit(n - 1, level / 2) * error
                worst = max(worst, float(found.mean()) / alpha)
            texts.append(f"{worst:.2f}")
        yield f"| {step}, {most} | {' | '.join(texts)} |"


def markdown(wrong: pd.DataFrame, saved: pd.DataFrame, inflated: list[str], studies: int, seed: int) -> str:
    """Sums up the simulation."""
    error = 100 * np.sqrt(looks.LEVEL * (1 - looks.LEVEL) / studies)
    names = " | ".join(f"{step} at a time, {most} at most" for step, most in STEPS)
    by_noise = wrong.pivot_table(index=["cells", "noise", "seed_effect"], columns="step", values="error", sort=False)
    false = [f"| {cells} | {noise}, {shared:g} | {' | '.join(f'{100 * value:.1f}' for value in row)} |"
             for (cells, noise, shared), row in zip(by_noise.index, by_noise.to_numpy(), strict=True)]
    lines = [f"| {row.cells} | {row.difference:g} | {100 * row.differs:.1f} | {100 * row.alike:.1f} "
             f"| {row.mean_seeds:.1f} | {row.fixed_seeds or ''} | {row.mean_runs:.1f} | {row.fixed_runs or ''} "
             f"| {100 * row.interval_misses:.1f} |" for row in saved.itertuples()]
    return "\n".join([
        "# Seeds until decided, simulated", "",
        f"`python -m tests.until_decided_simulation --studies {studies} --seed {seed}`, numpy {np.__version__}, scipy "
        f"{scipy.__version__}. {studies:,} studies a scenario; the Monte Carlo error of 5 % is {error:.2f} points. The "
        "test is the headline test at the levels of `harness/analysis/spending.py`, Bonferroni's share of 5 % for each "
        "cell. Noise: variances relative to the other cells'; seed effect: what a seed does to all cells alike, as a "
        "standard deviation relative to a cell's noise.", "",
        "## Chance of any false finding at any look, in percent, where no cell differs from the baseline", "",
        "Nothing else ends a study here, so that all looks are taken.", "",
        f"| cells | noise, seed effect | {names} |", "|---" * (2 + len(STEPS)) + "|", *false, "",
        "## Seeds that true differences take", "",
        f"In points of accuracy: a cell's noise {NOISE}, so that differences of runs scatter by {NOISE * 2**0.5:.2f}; "
        "half a point decides. All cells differ from the baseline by the same. Fixed: the number of seeds at which the "
        "headline test with Holm's correction finds as many of the differences; whoever chooses it must know the "
        "difference beforehand. Runs: of a whole study, the baseline's included.", "",
        "| cells | true difference | differs, % | alike, % | mean seeds | fixed seeds | mean runs | fixed runs "
        "| any interval misses, % |", "|---" * 9 + "|", *lines, "",
        "## Error of paired t tests over what is to be spent, at the levels of normal data", "",
        "The largest over 1, 4 and 9 comparisons, by spending function. What is spent is lowered by the factor 0.85 "
        "for this.", "", *inflated, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    arguments = parser.parse_args()
    wrong, saved = (measure(arguments.studies, arguments.seed) for measure in (errors, savings))
    inflated = list(inflation(10 * arguments.studies, arguments.seed))
    arguments.out.mkdir(parents=True, exist_ok=True)
    pd.concat([wrong, saved]).to_csv(arguments.out / "simulation.csv", index=False, float_format="%.5f",
                                     lineterminator="\n")
    (arguments.out / "simulation.md").write_text(markdown(wrong, saved, inflated, arguments.studies, arguments.seed))


if __name__ == "__main__":
    main()
