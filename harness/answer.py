"""The answer in words: the one place that turns a verdict into sentences, for tables, pictures, pages and README."""

from collections import Counter
from collections.abc import Sequence

from harness import numbers
from harness.render import shortened
from harness.rows import CellRow, Summary

HEADLINE = ("Welch's test over the shared seeds, less what a seed does to all other cells, with Holm's correction for "
            "the comparisons in the table.")
TEST = "p below 0.05 by the headline test, corrected for the number of comparisons"
_NAMED = 4


def sentences(summary: Summary) -> list[str]:
    """Says which cell is best and which differ from the baseline, and how sure that is; nothing of fewer than two."""
    verdict, rows = summary.verdict, {row.cell: row for row in summary.rows}
    if verdict.leader is None or not verdict.behind:
        return []
    found = [lead(summary)]
    baseline = next((row for row in summary.rows if row.is_baseline), None)
    if baseline is None or not verdict.against:
        return found
    groups = {"better": verdict.above, "worse": verdict.below, "not clearly different": verdict.unclear}
    parts = [f"{words}: {_listed([_compared(rows[cell], summary) for cell in cells])}"
             for words, cells in groups.items() if cells]
    return [*found, f"Against the baseline {named(baseline, summary)} ({TEST}): {'; '.join(parts)}."]


def lead(summary: Summary) -> str:
    """Says which cell has the best mean and whether it is clearly ahead of the others; the summary has several."""
    verdict, rows = summary.verdict, {row.cell: row for row in summary.rows}
    assert verdict.leader is not None
    leader, metric, is_loss = rows[verdict.leader], summary.view.metric, summary.view.is_loss
    figure = f"{named(leader, summary)}, {numbers.score(leader.score, metric)}{'' if is_loss else ' %'}"
    if verdict.best:
        return f"Best: {figure}; clearly ahead of every other cell."
    near = _listed([named(rows[cell], summary) for cell in verdict.near])
    return f"{'Lowest' if is_loss else 'Highest'} mean: {figure}; not clearly ahead of {near}."


def claimed(summary: Summary) -> str:
    """Counts how the source's claims have fared; nothing where it makes none."""
    counts = Counter[str](claim.verdict for claim in summary.claims)
    words = ("holds", "does not hold", "cannot tell", "not measured", "not auditable")
    parts = [f"{counts[word]} {word}" for word in words if counts[word]]
    return f"The source's claims: {', '.join(parts)}." if parts else ""


def named(row: CellRow, summary: Summary) -> str:
    """Names a cell within a sentence, where a bare level such as 0.1 would be lost."""
    return shortened(f"{summary.factors[0]}={row.label}" if len(summary.factors) == 1 else row.label)


def _compared(row: CellRow, summary: Summary) -> str:
    mean, metric = row.difference.mean, summary.view.metric
    if row.cell in summary.verdict.unclear or mean is None:
        return named(row, summary)
    size = f"{mean:+.4f}" if metric.endswith("loss") else f"{100 * mean:+.2f}"
    return f"{named(row, summary)} ({size})"


def _listed(names: Sequence[str]) -> str:
    return " / ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
