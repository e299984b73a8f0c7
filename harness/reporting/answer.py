"""The answer in words: the one place that turns a verdict into sentences, for tables, pictures, pages and README."""

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.analysis.cells import CellRow, Summary
from harness.analysis.claims import ClaimRow, is_score, unit
from harness.records.text import shortened
from harness.reporting import rounded
from harness.reporting.render import DASH

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
    figure = f"{named(leader, summary)}, {rounded.score(leader.score, metric)}{'' if is_loss else ' %'}"
    if verdict.best:
        return f"Best: {figure}; clearly ahead of every other cell."
    near = _listed([named(rows[cell], summary) for cell in verdict.near])
    return f"{'Lowest' if is_loss else 'Highest'} mean: {figure}; not clearly ahead of {near}."


def claimed(summary: Summary) -> str:
    """Counts how the source's claims have fared, and names those that do not hold; nothing where it makes none."""
    counts = Counter[str](claim.verdict for claim in summary.claims)
    labels = {row.cell: row.label for row in summary.rows}
    refuted = dict.fromkeys(f"{figure(claim, labels)}: {stated(claim)}" for claim in summary.claims
                            if claim.verdict == "does not hold")
    named = {"does not hold": f" ({_listed(list(refuted))})"}
    parts = [f"{counts[verdict]} {words[counts[verdict] > 1]}{named.get(verdict, '')}"
             for verdict, words in _VERDICTS.items() if counts[verdict]]
    return f"Of what the source claims, cell by cell, {', '.join(parts)}." if parts else ""


# Of one claim, of several.
_VERDICTS = {
    "does not hold": ("does not hold", "do not hold"), "holds": ("holds", "hold"),
    "cannot tell": ("cannot be told", "cannot be told"), "not measured": ("is not measured", "are not measured"),
    "not auditable": ("cannot be audited", "cannot be audited")}


def figure(claim: ClaimRow, labels: Mapping[str, str]) -> str:
    """Names what a claim is about.

    Args:
      labels: cell -> its row's label.
    """
    if claim.verdict == "not auditable":
        return claim.metric
    pairs = ("/".join(pair) for pair in zip(claim.of[::2], claim.of[1::2], strict=False))
    of = ", ".join(pairs if claim.metric.startswith("confusion") else claim.of)
    name = claim.metric.replace("_", " ") + (f" of {of}" if of else "")
    state = {"last": ", last epoch", "best_validation": ", best validation epoch"}[claim.state]
    over = f", less that of {labels[claim.over]}" if claim.over else ""
    return f"{name}{state if is_score(claim.metric) else ''}{over}"


def stated(claim: ClaimRow) -> str:
    """Writes what a claim says of it."""
    def text(value: float) -> str:
        return f"{value:,.0f}" if unit(claim.metric) == "number" else rounded.single(value, claim.metric)

    if claim.value is None:
        return DASH
    if claim.kind == "about":
        return text(claim.value) + (f" -+ {text(claim.within)}" if claim.within else "")
    return f"{claim.kind.replace('_', ' ')} {text(claim.value)}"


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
