"""The tables behind the main one: coverage, claims, effects, comparisons, spread."""

from collections.abc import Callable, Mapping
from typing import Any

from harness.analysis.cells import ABSENT, CellRow, Summary
from harness.analysis.claims import ClaimRow, is_exact, unit
from harness.analysis.effects import Together
from harness.analysis.headline import Contrast
from harness.analysis.power import MOST_SEEDS, Planned
from harness.analysis.stats import FEWEST_PAIRS_THAT_TELL
from harness.reporting import answer, rounded
from harness.reporting.render import DASH, Cell, Column, Table
from harness.reporting.tables.columns import RowColumn, interval, labels, number, scored, short, table, whole

CLAIMS = "What the source claims"
_HOLM = "Holm's method"
EFFECTS = "What does each change do on average, and do two of them add up?"


def coverage(summary: Summary) -> Table | None:
    """Counts what became of each cell's runs; None where all that was planned is done."""
    if not any(row.runs[status] for row in summary.rows for status in ABSENT):
        return None
    counts = [RowColumn("failed" if status == "error" else status, lambda row, status=status: whole(row.runs[status]))  # type: ignore[misc]
              for status in ("planned", "done", "diverged", "oom", "error", "missing")]
    return table("Coverage: what became of the runs", [*labels(summary), *counts, _PAIRS], summary.rows,
                  notes=(_BALANCED,))


_BEYOND = 1e300  # JSON, which pages sort by, has no infinity
_BALANCED = "A comparison is balanced if cell and baseline have the same seeds done, else partial."


def _pairs(row: CellRow) -> Cell:
    if row.comparison is None:
        return Cell("baseline" if row.is_baseline else DASH)
    pairs = row.comparison.difference.n
    kind = "balanced" if row.comparison.balanced else "partial"
    return Cell(f"{kind}, {pairs} pair{'' if pairs == 1 else 's'}", pairs)


_PAIRS = RowColumn("comparison", _pairs)


def comparisons(summary: Summary) -> Table | None:
    """Shows how sure each difference from the baseline is; None without one."""
    rows = [row for row in summary.rows if row.comparison]
    if not rows:
        return None
    metric = summary.view.metric

    def of(header: str, write: Callable[[Any], Cell], group: int = 0) -> RowColumn:
        return RowColumn(header, lambda row: write(row.comparison), group=group)

    # Below six pairs sign flips cannot go below 0.05 whatever was seen, and would only look like doubt.
    flips = max(row.comparison.difference.n for row in rows if row.comparison) >= FEWEST_PAIRS_THAT_TELL
    shown = [
        *labels(summary), _PAIRS,
        of("headline\np", lambda one: _p(one.headline_p)),
        of("corrected", lambda one: _p(one.headline_holm)),
        of("p, these\npairs alone", lambda one: _p(one.t_p)),
        of("corrected", lambda one: _p(one.t_holm)),
        *([of("p, sign\nflips", lambda one: _p(one.sign_flip_p)),
           of("corrected", lambda one: _p(one.sign_flip_holm))] if flips else []),
        of("detectable\ndifference",
           lambda one: _planned(one.detectable, lambda value: rounded.single(value, metric)), 1)]
    if summary.view.is_fraction:
        shown.append(of("seeds for\n0.5 points", _seeds, 1))
    return table("Is the difference from the baseline more than chance?", shown, rows, notes=(
        f"The headline test decides what is marked and said: {answer.headline(summary)} The others are evidence "
        "beside it.",
        "These pairs alone: a paired t test that borrows nothing from other cells"
        + ("; sign flips: exact, and assuming least, with 2/2^n as the smallest p that n pairs allow" if flips else "")
        + ". All are two-sided, and corrected by Holm's method for the comparisons in this table"
        + (", the headline test apart, and not for looks." if summary.looked else "."),
        "Detectable: the true difference that as many seeds show with power 0.8 at level 0.05 by these pairs alone"
        + ("; the last column: the seeds that half a point would take" if summary.view.is_fraction else "")
        + ". In brackets: at the ends of the noise's own 95 % interval, as wide as so few differences leave it.",
        _BALANCED))


def _p(value: float | None) -> Cell:
    return Cell(rounded.p_value(value), value)


def _planned(figure: Planned, write: Callable[[float], str]) -> Cell:
    if figure.value is None:
        return Cell("n/a")
    low, high = ("?" if end is None else write(end) for end in (figure.low, figure.high))
    return Cell(f"{write(figure.value)} [{low}, {high}]", figure.value)


def _seeds(comparison: Any) -> Cell:
    needed = comparison.seeds_for_half_a_point
    if needed is None:
        return Cell("n/a")
    value, low, high = (f">{MOST_SEEDS:,}" if seeds is None else f"{seeds:,.0f}"
                        for seeds in (needed.value, needed.low, needed.high))
    return Cell(f"{value} [{low}, {high}]", _BEYOND if needed.value is None else needed.value)


def shared(summary: Summary) -> Table | None:
    """Compares cells with the baseline on the same test examples; None without predictions."""
    rows = [row for row in summary.rows if row.comparison and row.comparison.shared]
    if not rows:
        return None

    def of(header: str, write: Callable[[Any], Cell]) -> RowColumn:
        return RowColumn(header, lambda row: write(row.comparison and row.comparison.shared))

    return table("Do these networks differ on the same test examples?", [
        *labels(summary),
        of("pairs", lambda shared: whole(shared.pairs)),
        of("gained", lambda shared: Cell(f"{shared.gained:.1f}", shared.gained)),
        of("lost", lambda shared: Cell(f"{shared.lost:.1f}", shared.lost)),
        of("difference\n[95 % CI]", lambda shared: scored(shared.difference, "accuracy", "+")),
        of("p,\nMcNemar", lambda shared: _p(shared.p)),
        of("pairs with\np < 0.05", lambda shared: Cell(f"{shared.clear} of {shared.pairs}", shared.clear)),
    ], rows, notes=(
        "Gained and lost: examples that only the cell, and only the baseline, classifies correctly; means over pairs "
        "of runs with the same seed, at the best validation epoch; differences are in points of accuracy. Another "
        "question than the headline's: the interval is over test examples, for the networks trained here, and tells "
        "whether these would differ on other images; what other seeds would do is in the table above. p: exact McNemar "
        "tests of the pairs, merged by their median, which allows for any dependence.",))


def spread(summary: Summary) -> Table | None:
    """Shows how far seeds are apart, and the optimistic readings; None without a done run."""
    metric = summary.view.metric
    rows = [row for row in summary.rows if row.score.mean is not None]
    if not rows:
        return None
    unit = " %" if summary.view.is_fraction else ""

    def mean(header: str, name: str) -> RowColumn:
        return RowColumn(header, lambda row: number(getattr(row, name).mean, lambda mean: f"{100 * mean:.2f}"), group=1)

    return table("Spread over seeds, and the optimistic readings that notebooks quote", [
        *labels(summary),
        RowColumn("n", lambda row: whole(row.score.n)),
        RowColumn(f"sd of\n{short(metric)}", lambda row: Cell(rounded.single(row.score.sd, metric), row.score.sd)),
        RowColumn(f"interquartile\nmean{unit} [95 % CI]", lambda row: scored(row.interquartile_mean, metric)),
        mean("best val.\nacc. %\n(optimistic)", "optimistic_validation_accuracy"),
        mean("best test\nacc. %\n(optimistic)", "optimistic_test_accuracy"),
        mean("test\nacc. %\nlast epoch", "last_test_accuracy"),
    ], rows, notes=(
        "The interquartile mean leaves out a quarter of the seeds at each end, rounded down; below four seeds it is "
        "the mean. Its interval is a bootstrap over seeds, 2,000 resamples, and too narrow with few of them.",
        "Optimistic readings are maxima over what they are quoted for, and too high by that choice: the validation "
        "accuracy of the epoch that it chose, and the better of two readings of the test set, at the best validation "
        "epoch and at the last. The test set is not read at other epochs, so the best test epoch is not known."))


def effects(summary: Summary) -> Table | None:
    """Shows main effects and what is more or less than a sum, or why there are none; None where they make no sense."""
    found, metric = summary.effects, summary.view.metric
    if found is None:
        return None

    def row(of: str, what: str, contrast: Contrast) -> tuple[Cell, ...]:
        return (Cell(of), Cell(what), scored(answer.estimated(contrast), metric, "+"), _p(contrast.p),
                _p(contrast.holm))

    rows = [row(margin.factor, f"{margin.level} against {margin.reference}", margin.contrast)
            for margin in found.margins]
    rows += [row(*_pair(one, summary), one.contrast) for one in found.together]
    shown = (Column("effect of", is_text=True), Column("what", is_text=True), Column(f"effect\n{interval(summary)}"),
             Column("p"), Column("corrected"))
    notes = [found.note] if found.note else []
    if any(margin.pairs for margin in found.margins):
        notes.append("An interaction is how much the effect of the first factor's level changes with the second's, "
                     "over sets of four cells that differ in these two alone.")
    elif found.margins:
        notes.append("A main effect is the mean at the level less the mean at the reference level, over all levels of "
                     "the other factors; an interaction is how much the effect of the first factor's level changes "
                     "with the second's, over all levels of any others.")
    if found.together and not found.margins:
        notes.append("Beyond the sum: what a cell with both changes has more than both changes alone add up to.")
    if rows:
        notes.append("Welch's test over all cells that enter, each with a noise of its own, less what a seed does to "
                     f"all of them; corrected {'for looks and by Bonferroni' if summary.looked else f'by {_HOLM}'}, "
                     "main effects and the rest apart.")
    return Table(EFFECTS, shown, tuple(rows), notes=tuple(notes))


def _pair(one: Together, summary: Summary) -> tuple[str, str]:
    """Names what a row about two changes is of."""
    if one.references is None:
        return "beyond the sum", " with ".join(answer.parts(one, summary))
    pairs = zip(one.parts, one.references, strict=True)
    return (" x ".join(part[0] for part in one.parts),
            ", ".join(f"{level} against {reference}" for (_, level), reference in pairs))


def claims(summary: Summary) -> Table | None:
    """Holds the source's claims against what was measured; None without claims."""
    if not summary.claims:
        return None
    labels = {row.cell: answer.named(row, summary) for row in summary.rows}
    shown = (*(Column(name, is_text=True) for name in ("source", "cell", "figure")), Column("claimed"),
             Column("measured\n[95 % CI]"), Column("the claim", is_text=True), Column("its protocol", is_text=True))
    rows = tuple(
        (Cell(claim.source), Cell(labels[claim.cell] if claim.cell else DASH), Cell(answer.figure(claim, labels)),
         Cell(answer.stated(claim), claim.value), Cell(_measured(claim), claim.measured.mean), Cell(claim.verdict),
         Cell(claim.protocol)) for claim in summary.claims)
    stated = {claim.metric for claim in summary.claims}
    return Table(CLAIMS, shown, rows, notes=(
        "A claim is a range: from the figure up (at least), down (at most), or as far to both sides as stated (about); "
        "counts must be equal in every run. It holds if the whole measured interval lies in the range, does not hold "
        "if all of it lies outside, and else, or without an interval, nothing can be told. Accuracies, macro averages, "
        "shares and deviations in percent.",
        *(["Each at least: does not hold if one run is below the figure, holds if all runs are there and none is, "
           "whatever the interval."]
          if any(claim.kind == "each_at_least" for claim in summary.claims) else []),
        *(["Intervals of a difference are of these pairs alone, as of a paired t test; the answer's are the headline "
           "test's."] if any(claim.over for claim in summary.claims) else []),
        *(note for words, note in _MEANINGS.items() if any(word in metric for metric in stated for word in words)),
        *(["Not auditable: what the runs' records cannot tell, with the reason before the protocol."]
          if any(claim.verdict == "not auditable" for claim in summary.claims) else [])))


def all_claims(summaries: Mapping[str, Summary]) -> Table | None:
    """Puts what all sources claim into one table, source by source; None without claims."""
    held = {ablation: table for ablation, summary in summaries.items() if (table := claims(summary))}
    if not held:
        return None
    rows = [(row[0], Cell(ablation), *row[1:4], row[4], Cell(f"{claim.measured.n}", claim.measured.n), *row[5:])
            for ablation, table in held.items()
            for row, claim in zip(table.cells, summaries[ablation].claims, strict=True)]
    source, *columns = next(iter(held.values())).columns
    shown = (source, Column("ablation", is_text=True), *columns[:4], Column("n"), *columns[4:])
    return Table("What the sources claim", shown, tuple(sorted(rows, key=lambda row: row[0].text)),
                 notes=tuple(dict.fromkeys(note for table in held.values() for note in table.notes)))


# Parts of metrics' names -> what a reader must know of them.
_MEANINGS = {
    ("_held",): "Held: numbers, counted as the source counts its bytes. Pixels are those of the training set, "
                "validation images included; a layer's are its inputs and outputs for one batch; activations are the "
                "sum of these over layers with parameters; numbers held are pixels, parameters and activations.",
    ("_bytes",): "Bytes: four a number; the memory estimate is of parameters, gradients, optimizer and activations, "
                 "without data; compiled is the training program's own figure, data included; measured the most "
                 "that any run saw in use, of the process above its start on a CPU, of the device elsewhere.",
    ("training_images",): "Training images: those of the data set, validation images included, on which no run here "
                          "trains.",
    ("macro_", "predicted_", "confusion_"): "Precision, recall, F1, predicted counts and confusion come from the "
                                            "test predictions, which are those of the best validation epoch.",
    ("predicted_count",): "Predicted count deviation: how far the number of predictions of a class is from its number "
                          "of test images, as a share of that, averaged over classes.",
    ("confusion_",): "Confusion rank: the place of two classes among all pairs of classes by the mispredictions "
                     "between them, 1 the most; confusion share: the part that the pairs have of all mispredictions.",
}


def _measured(claim: ClaimRow) -> str:
    found, sign = claim.measured, "+" if claim.over else ""
    if found.mean is None:
        return DASH
    if is_exact(claim.metric):
        ends = [f"{end:{sign},.0f}" for end in (found.low, found.high) if end is not None]
        return f"{found.mean:{sign},.0f}" if len(set(ends)) < 2 else " to ".join(ends)
    if unit(claim.metric) != "number":
        lowest = "" if claim.lowest is None else f", lowest {rounded.single(claim.lowest, claim.metric)}"
        return rounded.score(found, claim.metric, sign) + lowest
    interval = "n/a" if found.low is None or found.high is None else f"{found.low:{sign}.1f}, {found.high:{sign}.1f}"
    return f"{found.mean:{sign}.1f} [{interval}]"
