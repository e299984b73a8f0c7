"""Compares candidates for the headline test of a results table: family-wise error and power, by simulation.

Run: python -m tests.headline_simulation      Writes results/headline_test/simulation.csv and simulation.md.

Scores are normal: a cell's mean, plus what a seed does to every cell alike, plus the cell's own noise. Cell 0 is the
baseline and the last cell is the one whose noise differs. Errors are after Holm's correction, at the 5 % level.
"""

import argparse
import itertools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import scipy
from scipy import special

from harness.analysis import headline

LEVEL = 0.05
CHOSEN = "this test, caution 2"
OUT = pathlib.Path(__file__).parent.parent / "results" / "headline_test"

# scores [repetition, cell, seed] -> standard errors and degrees of freedom of cells 1.. less cell 0, [repetition, cell]
Candidate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def variance(values: np.ndarray) -> np.ndarray:
    return np.var(values, axis=-1, ddof=1)


def residuals(scores: np.ndarray) -> np.ndarray:
    """What is left of [repetition, cell, seed] when each cell's and each seed's mean are taken out."""
    return (scores - scores.mean(axis=2, keepdims=True) - scores.mean(axis=1, keepdims=True)
            + scores.mean(axis=(1, 2), keepdims=True))


def like(degrees: np.ndarray | float, error: np.ndarray) -> np.ndarray:
    return np.broadcast_to(degrees, error.shape)


def paired(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = scores.shape[2]
    error = np.sqrt(variance(scores[:, 1:] - scores[:, :1]) / n)
    return error, like(n - 1, error)


def pooled(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Randomised blocks: one noise variance for all cells."""
    repetitions, cells, n = scores.shape
    degrees = (cells - 1) * (n - 1)
    noise = np.sum(residuals(scores)**2, axis=(1, 2)) / degrees
    error = np.broadcast_to(np.sqrt(2 * noise / n)[:, None], (repetitions, cells - 1))
    return error, like(degrees, error)


def moderated(prior_degrees: float) -> Candidate:
    """Smyth 2004 with prior degrees of freedom that are set, not estimated; the prior variance is the mean."""
    def test(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = scores.shape[2]
        own = variance(scores[:, 1:] - scores[:, :1])
        prior = own.mean(axis=1, keepdims=True)
        error = np.sqrt((prior_degrees * prior + (n - 1) * own) / (prior_degrees + n - 1) / n)
        return error, like(prior_degrees + n - 1, error)
    return test


def moderated_estimated(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smyth 2004, sec. 6.2: prior degrees of freedom and variance by the moments of the log variances."""
    n, comparisons = scores.shape[2], scores.shape[1] - 1
    own, half = variance(scores[:, 1:] - scores[:, :1]), (n - 1) / 2
    logs = np.log(own) - special.digamma(half) + np.log(half)
    excess = np.var(logs, axis=1, ddof=1) - special.polygamma(1, half)
    target = np.where(excess > 0, excess, 1.0)
    inverse = 0.5 + 1 / target
    for _ in range(30):  # Newton's method on the trigamma function, Smyth 2004, appendix
        value = special.polygamma(1, inverse)
        inverse = inverse + value * (1 - value / target) / special.polygamma(2, inverse)
    prior_degrees = np.where(excess > 0, 2 * inverse, 1e9)[:, None]
    prior = np.exp(logs.mean(axis=1) + np.where(excess > 0, special.digamma(inverse) - np.log(inverse), 0))[:, None]
    error = np.sqrt((prior_degrees * prior + (n - 1) * own) / (prior_degrees + n - 1) / n)
    return error, like(np.minimum(prior_degrees + n - 1, comparisons * (n - 1)), error)


def satterthwaite(noise: np.ndarray, degrees: np.ndarray | float, n: int, overlap: float = 0.0
                  ) -> tuple[np.ndarray, np.ndarray]:
    """From one noise variance per cell, [repetition, cell], whose estimates have squared correlation `overlap`."""
    degrees = np.broadcast_to(degrees, noise.shape)
    own, theirs = noise[:, 1:], noise[:, :1]
    shared = 2 * overlap * own * theirs / np.sqrt(degrees[:, 1:] * degrees[:, :1])
    return np.sqrt((own + theirs) / n), (own + theirs)**2 / (
        own**2 / degrees[:, 1:] + theirs**2 / degrees[:, :1] + shared)


def welch(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = scores.shape[2]
    return satterthwaite(variance(scores), n - 1, n)


def residual_welch(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One noise variance per cell from the residuals of the two-way layout."""
    cells, n = scores.shape[1:]
    noise = np.sum(residuals(scores)**2, axis=2) / (n - 1) * cells / (cells - 1)
    return satterthwaite(noise, n - 1, n, overlap=(cells - 1)**-2)


def moderated_welch(prior_degrees: float, only_raise: bool) -> Candidate:
    """Each cell's variance shrunk towards the median cell's; `only_raise`: unless that lowers it."""
    def test(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, own = scores.shape[2], variance(scores)
        prior = np.median(own, axis=1, keepdims=True)
        noise = (prior_degrees * prior + (n - 1) * own) / (prior_degrees + n - 1)
        if not only_raise:
            return satterthwaite(noise, prior_degrees + n - 1, n)
        return satterthwaite(np.maximum(noise, own), n - 1 + prior_degrees * np.minimum(1, prior / own)**2, n)
    return test


def chosen(caution: float) -> Candidate:
    def test(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = range(1, scores.shape[1])
        found = [headline.standard_error(scores[:, cell], scores[:, 0], np.delete(scores, [0, cell], axis=1), caution)
                 for cell in cells]
        error, degrees = zip(*found, strict=True)
        return np.stack(error, axis=1), np.stack(degrees, axis=1)
    return test


def unpaired(caution: float) -> Candidate:
    """The chosen test without the paired t test's share and without the least noise."""
    def test(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, found = scores.shape[2], []
        for cell in range(1, scores.shape[1]):
            shared = headline._shared(np.delete(scores, [0, cell], axis=1))
            own, theirs = variance(scores[:, cell] - shared), variance(scores[:, 0] - shared)
            balance = (2 * own * theirs / (own**2 + theirs**2))**caution
            found.append((np.sqrt((own + theirs) / n), (n - 1) * (1 + balance)))
        error, degrees = zip(*found, strict=True)
        return np.stack(error, axis=1), np.stack(degrees, axis=1)
    return test


CANDIDATES: dict[str, Candidate] = {
    "paired t": paired,
    "pooled blocks": pooled,
    "moderated t, prior estimated": moderated_estimated,
    "moderated t, d0 = 1": moderated(1),
    "moderated t, d0 = 4": moderated(4),
    "Welch": welch,
    "Welch on two-way residuals": residual_welch,
    "moderated Welch, d0 = 2": moderated_welch(2, only_raise=False),
    "moderated Welch, d0 = 2, only raised": moderated_welch(2, only_raise=True),
    "this test, caution 2, unpaired": unpaired(2),
} | {f"this test, caution {caution:g}": chosen(caution) for caution in (1, 1.5, 2, 3)}


def noises(cells: int) -> dict[str, np.ndarray]:
    """Noise variances by name; the first six are the tenfold ones that a candidate must pass."""
    def where(which: int | slice, value: float) -> np.ndarray:
        found = np.ones(cells)
        found[which] = value
        return found
    half = slice(cells // 2, None)
    return {"equal": np.ones(cells), "one x10": where(-1, 10), "half x10": where(half, 10),
            "baseline x10": where(0, 10), "one x0.1": where(-1, 0.1), "baseline x0.1": where(0, 0.1),
            "one x100": where(-1, 100), "baseline x100": where(0, 100), "one x1000": where(-1, 1000),
            "half x100": where(half, 100)}


MUST_PASS = tuple(noises(3))[:6]
STRESS = tuple(noises(3))[6:9]


def p_values(scores: np.ndarray, error: np.ndarray, degrees: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """Two-sided p of each comparison, [repetition, cell], where true differences are larger by `shift`."""
    means = scores.mean(axis=2)
    return 2 * special.stdtr(degrees, -np.abs(means[:, 1:] - means[:, :1] + shift) / error)


def found_by_holm(p: np.ndarray) -> np.ndarray:
    """Which of [repetition, comparison] stay below the level after Holm 1979."""
    order = np.argsort(p, axis=1)
    below = np.take_along_axis(p, order, axis=1) * np.arange(p.shape[1], 0, -1) < LEVEL
    found = np.empty_like(below)
    np.put_along_axis(found, order, np.logical_and.accumulate(below, axis=1), axis=1)
    return found


def baseline_rows(scores: np.ndarray, noise: np.ndarray, test: Candidate) -> Iterator[tuple[str, np.ndarray]]:
    """Measures the comparisons with the baseline: (measure, value per repetition)."""
    cells, n = scores.shape[1:]
    error, degrees = test(scores)
    p = p_values(scores, error, degrees)
    # Where all other differences are huge, Holm's last step tests the null ones among themselves.
    for name, null in {"all equal": slice(None), "last cell equal": slice(-1, None),
                       "half equal": slice(-(cells // 2), None)}.items():
        yield f"error: {name}", np.min(p[:, null], axis=1) * p[:, null].shape[1] < LEVEL
    sign = np.where(np.arange(1, cells) % 2, 1, -1)
    for size in (4, 6):
        shift = size * sign * np.sqrt((noise[1:] + noise[0]) / n)
        yield f"power: {size} errors", found_by_holm(p_values(scores, error, degrees, shift)).mean(axis=1)


def leader_rows(scores: np.ndarray, test: Candidate) -> Iterator[tuple[str, np.ndarray]]:
    """Measures the comparisons of the best cell with every other: (measure, value per repetition)."""
    cells, n = scores.shape[1:]
    behind = 3 * np.sqrt(2 / n)
    means = {"all equal": np.zeros(cells), "top two equal": np.r_[0.0, np.full(cells - 2, -behind), 0.0],
             "one ahead": np.r_[2 * behind, np.zeros(cells - 1)]}
    for name, of_cells in means.items():
        shifted = scores + of_cells[:, None]
        order = np.argsort(-shifted.mean(axis=2), axis=1)
        ranked = np.take_along_axis(shifted, order[:, :, None], axis=1)
        p = p_values(ranked, *test(ranked))
        found = found_by_holm(p)
        right = (order[:, 0] == 0) | (name != "one ahead")
        kind = "power" if name == "one ahead" else "error"
        yield f"leader {kind}: {name}, ahead of every other by Holm", np.all(found, axis=1) & right
        yield f"leader {kind}: {name}, ahead of every other uncorrected", np.all(p < LEVEL, axis=1) & right
        if name == "all equal":
            yield f"leader {kind}: {name}, ahead of any by Holm", np.any(found, axis=1)


def simulate(repetitions: int, seed: int) -> pd.DataFrame:
    """Runs every candidate on the same scores in every scenario; one row per scenario, measure and candidate."""
    rows = []
    for n, cells, seed_effect in itertools.product((2, 3, 5), (3, 5, 10), (0.0, 1.0, 4.0)):
        for noise, variances in noises(cells).items():
            if seed_effect > 1 and noise not in ("equal", "one x10"):
                continue  # it only widens what does not take it out
            generator = np.random.default_rng(seed)
            scores = generator.normal(size=(repetitions, cells, n)) * np.sqrt(variances)[:, None]
            scores += np.sqrt(seed_effect) * generator.normal(size=(repetitions, 1, n))
            for name, test in CANDIDATES.items():
                measured = list(baseline_rows(scores, variances, test))
                if n > 2 and seed_effect < 4 and noise in MUST_PASS[:4]:
                    measured += leader_rows(scores, test)
                rows += [(cells, n, noise, seed_effect, measure, name, float(values.mean()),
                          float(values.std() / np.sqrt(repetitions))) for measure, values in measured]
        print(f"{n} seeds, {cells} cells, seed effect {seed_effect:g}", flush=True)
    return pd.DataFrame(rows, columns=["cells", "seeds", "noise", "seed_effect", "measure", "candidate", "value",
                                       "mc_error"])


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """One row per scenario and measure; per candidate its value and the Monte Carlo error of that."""
    found = table.pivot_table(index=["cells", "seeds", "noise", "seed_effect", "measure"], columns="candidate",
                              values=["value", "mc_error"], sort=False)
    columns = list(itertools.product(CANDIDATES, ("value", "mc_error")))
    found = found[[(kind, candidate) for candidate, kind in columns]]
    found.columns = pd.Index([candidate if kind == "value" else f"{candidate}: Monte Carlo error"
                              for candidate, kind in columns])
    return found


def worst(rows: pd.DataFrame) -> tuple[str, bool]:
    """The largest error and where it is, and whether it is above the level by more than chance allows."""
    row = rows.sort_values("value").to_dict("records")[-1]
    where = (f"{row['cells']} cells, {row['seeds']} seeds, {row['noise']}, seed effect {row['seed_effect']:g}, "
             f"{row['measure'].removeprefix('leader ').removeprefix('error: ')}")
    allowed = LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL)) * row["mc_error"] / np.sqrt(row["value"] * (1 - row["value"]))
    return f"{100 * row['value']:.2f} ({where})", bool(row["value"] > allowed)


def errors_lines(table: pd.DataFrame) -> Iterator[str]:
    """A line per candidate: its worst errors, and whether it is out."""
    measure, noise = table["measure"], table["noise"]
    false = measure.str.startswith("error")
    every = measure.str.startswith("leader error") & measure.str.contains("every other by Holm")
    groups = [false & noise.isin(MUST_PASS), every, false & noise.isin(STRESS), false & (noise == "half x100")]
    yield "| candidate | noise up to tenfold | leader ahead of every other | one cell or baseline x100, x1000 "\
          "| half x100 | verdict |"
    yield "|---|---|---|---|---|---|"
    for candidate in CANDIDATES:
        found = [worst(table[group & (table["candidate"] == candidate)]) for group in groups]
        out = "out" if any(above for _, above in found[:2]) else "holds"
        yield f"| {candidate} | {' | '.join(text for text, _ in found)} | {'chosen' if candidate == CHOSEN else out} |"


def power_lines(table: pd.DataFrame) -> Iterator[str]:
    """A line per candidate: its power, mean over 3, 5 and 10 cells and differences of 4 and 6 standard errors."""
    power = table[table["measure"].str.startswith("power")]
    unequal = power["noise"].isin(MUST_PASS[1:4])
    shown = {f"{n} seeds, {name}": power["seeds"].eq(n) & power["seed_effect"].eq(effect) & rows
             for n, (name, effect, rows) in itertools.product((3, 5), (
                 ("equal noise", 0, power["noise"] == "equal"), ("tenfold noise", 0, unequal),
                 ("equal noise, seed effect 1", 1, power["noise"] == "equal")))}
    yield f"| candidate | {' | '.join(shown)} |"
    yield "|---" * (1 + len(shown)) + "|"
    for candidate in CANDIDATES:
        means = [power[rows & (power["candidate"] == candidate)]["value"].mean() for rows in shown.values()]
        yield f"| {candidate} | {' | '.join(f'{100 * mean:.0f}' for mean in means)} |"


def gain_lines(table: pd.DataFrame) -> Iterator[str]:
    """A line per scenario: power of the paired t test and of the chosen one at differences of 4 standard errors."""
    power = table[(table["measure"] == "power: 4 errors") & (table["seed_effect"] < 4) & (table["seeds"] > 2)]
    shown = list(itertools.product((3, 5), (3, 5, 10)))
    yield f"| noise, seed effect | {' | '.join(f'{n} seeds, {cells} cells' for n, cells in shown)} |"
    yield "|---" * (1 + len(shown)) + "|"
    for noise, effect in itertools.product(MUST_PASS, (0, 1)):
        here = power[(power["noise"] == noise) & (power["seed_effect"] == effect)]
        values = here.set_index(["candidate", "seeds", "cells"])["value"]
        pairs = [f"{100 * values['paired t', n, cells]:.0f} -> {100 * values[CHOSEN, n, cells]:.0f}"
                 for n, cells in shown]
        yield f"| {noise}, {effect} | {' | '.join(pairs)} |"


def leader_lines(table: pd.DataFrame) -> Iterator[str]:
    """A line per claim about the best cell: how often the paired t test and the chosen one make it."""
    yield "| claim | paired t, largest | mean | this test, largest | mean |"
    yield "|---|---|---|---|---|"
    leader = table[table["measure"].str.startswith("leader")]
    for measure in leader["measure"].unique():
        rows = leader[leader["measure"] == measure].groupby("candidate")["value"]
        values = [f"{100 * value[test]:.1f}" for test in ("paired t", CHOSEN) for value in (rows.max(), rows.mean())]
        yield f"| {measure.removeprefix('leader ')} | {' | '.join(values)} |"


def markdown(table: pd.DataFrame, repetitions: int, seed: int) -> str:
    """Sums up the simulation; all numbers in percent."""
    error = 100 * np.sqrt(LEVEL * (1 - LEVEL) / repetitions)
    return "\n".join([
        "# The headline test, chosen by simulation", "",
        f"`python -m tests.headline_simulation --repetitions {repetitions} --seed {seed}`, numpy {np.__version__}, "
        f"scipy {scipy.__version__}. {repetitions} repetitions a scenario; the Monte Carlo error of 5 % is {error:.2f} "
        "points. Every candidate sees the same scores. A candidate is out if an error of the first two columns is "
        "above 5 % by more than three Monte Carlo errors; the other columns tell what bounds it. Noise: variances "
        "relative to the other cells'; seed effect: variance of what a seed does to all cells alike, relative to a "
        "cell's noise. Caution: see `standard_error` in harness/analysis/headline.py. All numbers in percent; every "
        "scenario is in `simulation.csv`.", "",
        "## Chance of any false finding, largest over the scenarios, after Holm's correction", "",
        *errors_lines(table), "",
        "## Power, mean over 3, 5 and 10 cells and over true differences of 4 and 6 standard errors", "",
        *power_lines(table), "",
        "## Power at 4 standard errors: paired t -> this test", "", *gain_lines(table), "",
        "## Claims about the leading cell", "", *leader_lines(table), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    arguments = parser.parse_args()
    table = simulate(arguments.repetitions, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    wide(table).to_csv(arguments.out / "simulation.csv", float_format="%.5f")
    (arguments.out / "simulation.md").write_text(markdown(table, arguments.repetitions, arguments.seed))


if __name__ == "__main__":
    main()
