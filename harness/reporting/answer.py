"""The answer in words: the one place that turns a verdict into sentences, for tables, pictures, pages and README."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from harness.analysis.cells import ABSENT, CellRow, Summary, level_named
from harness.analysis.claims import ClaimRow, is_score, unit
from harness.analysis.compare import HALF_A_POINT
from harness.analysis.effects import Effects, Together
from harness.analysis.headline import Contrast
from harness.analysis.power import MOST_SEEDS
from harness.analysis.stats import Estimate
from harness.analysis.verdict import is_clear
from harness.records.text import printable, shortened
from harness.reporting import rounded
from harness.reporting.render import DASH

HEADLINE = ("Welch's test over the shared seeds, less what a seed does to all other cells, with Holm's correction for "
            "the comparisons in the table.")
OF_LOOKS = ("Welch's test over the shared seeds, less what a seed does to all other cells, corrected for all looks "
            "that there may be (Lan and DeMets 1983, spending as share of seeds ** 1.5) and by Bonferroni for the "
            "comparisons in the table.")
_NAMED = 4


def headline(summary: Summary) -> str:
    """Names the test that decides."""
    return OF_LOOKS if summary.looked else HEADLINE


def sentences(summary: Summary) -> list[str]:
    """Answers in a few sentences: what the factors do, which cell is best, the source's claims, what seeds leave open.

    Of one cell, its score; that there is nothing to compare, where fewer than two of several cells have a done run.
    """
    verdict = summary.verdict
    if verdict.leader is None or (not verdict.behind and len(summary.rows) > 1):
        return ["Too few cells are done to compare them.", *filter(None, (uncounted(summary), claimed(summary)))]
    if not verdict.behind:
        [row] = summary.rows
        mean = f"Mean: {_scored(row, summary)}; nothing is compared."
        return list(filter(None, (mean, uncounted(summary), claimed(summary))))
    return list(filter(None, (*found(summary), lead(summary), uncounted(summary), claimed(summary),
                              left_open(summary))))


def found(summary: Summary) -> list[str]:
    """Says what the factors do, each on average where they do not depend on each other, else cell by cell."""
    if summary.leaves_out:
        return list(filter(None, (worth(summary), _together(summary))))
    averaged, by_cell = _told(summary)
    judged = [_on_average(factor, summary) for factor in averaged] + (_cell_by_cell(summary) if by_cell else [])
    return [sentence for sentence in (*judged, _together(summary)) if sentence]


def _told(summary: Summary) -> tuple[list[str], bool]:
    """Says which factors are told on average, and whether cells are told one by one."""
    effects = summary.effects or Effects()
    # On average nothing is told of factors that depend on each other.
    apart = {part[0] for one in effects.together if is_clear(one.contrast) for part in one.parts}
    # Averages are against reference levels, not against a baseline that a reader has chosen.
    # Nor of the one seed that a damaged cell has, which tells less than the other cells' own.
    least = min(2, max((test.n for test in summary.verdict.against.values()), default=0))
    apart |= {margin.factor for margin in effects.margins if margin.contrast.n < least}
    averaged = [factor for factor in dict.fromkeys(margin.factor for margin in effects.margins)
                if factor not in apart and summary.view.baseline is None]
    known = {(margin.factor, margin.level): _side(margin.contrast) for margin in effects.margins}
    # What single cells show plainly, averages may be too noisy to tell, as where a level fails to train.
    hidden = any(not any(known.get(label) == _side(summary.verdict.against[cell]) for label in _changed(cell, summary))
                 for cell in (*summary.verdict.above, *summary.verdict.below))
    references = {margin.factor: margin.reference for margin in effects.margins}
    lost = any(summary.levels[factor] - {references[factor]} - {level for name, level in known if name == factor}
               for factor in averaged)
    return averaged if any(known.values()) or not hidden else [], hidden or lost or len(averaged) < len(summary.factors)


def _side(contrast: Contrast) -> int:
    """Says where a contrast clearly lies: above zero 1, below -1, and 0 where that is not clear."""
    return (1 if (contrast.mean or 0.0) > 0 else -1) if is_clear(contrast) else 0


def _changed(cell: str, summary: Summary) -> list[tuple[str, str]]:
    """Lists the levels in which a cell differs from the one that it is compared with."""
    row = summary.by_cell[cell]
    base = summary.by_cell[row.baseline].labels.items() if row.baseline else ()
    return [label for label in row.labels.items() if label not in base]


def worth(summary: Summary) -> str:
    """Says what each component of a full model is worth: the full model less what is left without the component."""
    sign = -1 if summary.view.lower_is_better else 1
    groups: dict[str, list[str]] = {"clearly helps": [], "clearly harms": [], "not clearly anything": []}
    tests = summary.verdict.against
    for cell in sorted((cell for cell in tests if tests[cell].mean is not None),
                       key=lambda cell: sign * (tests[cell].mean or 0.0)):
        test = tests[cell]
        side = "helps" if sign * (test.mean or 0.0) < 0 else "harms"
        size = rounded.score(_negative(estimated(test)), summary.view.metric, sign="+")
        name = shortened(printable(summary.by_cell[cell].label.removeprefix("without ")))
        groups[f"clearly {side}" if is_clear(test) else "not clearly anything"].append(f"{name} ({size})")
    parts = [f"{words}: {listed(names)}" for words, names in groups.items() if names]
    return f"Each component's worth in the full model: {'; '.join(parts)}." if parts else ""


def _negative(found: Estimate) -> Estimate:
    """Turns a difference round."""
    low, mean, high = (None if end is None else -end for end in (found.high, found.mean, found.low))
    return dataclasses.replace(found, mean=mean, low=low, high=high)


def decided(summary: Summary) -> str:
    """Says which differences were decided by adding seeds; empty where none were added."""
    looked = summary.looked
    if looked is None or not looked.outcomes or summary.plan is None or summary.plan.stopping is None:
        return ""
    rows, within = summary.by_cell, 100 * summary.plan.stopping.within
    words = {"differs": "decided to differ", "alike": f"decided to lie within {within:g} points of it",
             "open": "still open", "failed": "without a pair of runs"}
    parts = []
    for answer, said in words.items():
        named_here = [f"{named(rows[cell], summary)} ({outcome.seeds} seeds)"
                      for cell, outcome in looked.outcomes.items() if outcome.answer == answer and cell in rows]
        parts += [f"{said}: {listed(named_here)}"] if named_here else []
    planned = "planned " if summary.view.baseline is not None else ""
    return f"By validation accuracy, from the {planned}baseline, {'; '.join(parts)}."


def left_open(summary: Summary) -> str:
    """Says how small a difference the seeds could show, and how many half a point takes; empty if all is clear."""
    if summary.looked:
        return decided(summary)
    (averaged, by_cell), in_points = _told(summary), summary.view.is_fraction
    margins, tests = (summary.effects or Effects()).margins, list(summary.verdict.against.values())
    beside = sum(test.p is not None for test in tests)
    if not (by_cell or summary.leaves_out):  # a cell's difference is noisier than a mean of several
        tests = [margin.contrast for margin in margins if margin.factor in averaged]
        beside = sum(margin.contrast.p is not None for margin in margins)
    known = [(test, size) for test in tests
             if not is_clear(test) and (size := test.detectable(comparisons=max(1, beside))) is not None]
    if not known:
        return ""
    # A cell that lacks runs has noise of its own.
    seeds = max(statistics.multimode(test.n for test, _ in known))
    usual = [(test, size) for test, size in known if test.n == seeds]
    typical = rounded.single(statistics.median(size for _, size in usual), summary.view.metric)
    shown = f"{seeds} seeds find a true difference of {typical}{' points' if in_points else ''} four times out of five"
    needed = statistics.median_high(test.seeds_needed(HALF_A_POINT, max(1, beside)) or MOST_SEEDS + 1
                                    for test, _ in usual)
    if not in_points or needed <= seeds:
        return f"{shown}."
    many = f"about {needed}" if needed <= MOST_SEEDS else f"more than {MOST_SEEDS:,}"
    return f"{shown}; half a point takes {many} seeds."


def lead(summary: Summary) -> str:
    """Says which cell has the best mean and whether it is clearly ahead of the others; the summary has several."""
    verdict, rows = summary.verdict, summary.by_cell
    assert verdict.leader is not None
    leader, view = rows[verdict.leader], summary.view
    figure = f"{named(leader, summary)}, {_scored(leader, summary)}"
    if verdict.best:
        unscored = [row for row in summary.rows if row.score.mean is None]
        has = "this score" if any(row.runs["done"] for row in unscored) else "a done run"
        return f"Best: {figure}; clearly ahead of every other cell{f' that has {has}' if unscored else ''}."
    near = listed([named(rows[cell], summary) for cell in verdict.near])
    if len(verdict.near) == len(verdict.behind) > 1:
        near = "any other cell"
    return f"{'Lowest' if view.lower_is_better else 'Highest'} mean: {figure}; not clearly ahead of {near}."


def uncounted(summary: Summary) -> str:
    """Says which cells' means lack runs that failed, and how many runs are missing; empty where none are."""
    words = {"error": "failed", "oom": "ran out of memory"}
    lost = [f"{row.runs[status]} of {sum(row.runs[each] for each in ('done', *ABSENT))} runs of {named(row, summary)} "
            f"{words.get(status, status)}"
            for status in ABSENT for row in summary.rows if status != "missing" and row.runs[status]]
    missing = sum(row.runs["missing"] for row in summary.rows)
    parts = ([listed(lost)] if lost else []) + (
        [f"{missing} run{'s are' if missing > 1 else ' is'} missing"] if missing else [])
    return f"In no mean: {'; '.join(parts)}." if parts else ""


def _scored(row: CellRow, summary: Summary) -> str:
    return f"{rounded.score(row.score, summary.view.metric)}{' %' if summary.view.is_fraction else ''}"


def claimed(summary: Summary) -> str:
    """Counts how the source's claims have fared, and names those that do not hold; empty where it makes none."""
    counts = Counter[str](claim.verdict for claim in summary.claims)
    if not counts.keys() - {"not auditable"}:
        return ""
    labels = {row.cell: named(row, summary) for row in summary.rows}
    refuted: dict[str, list[ClaimRow]] = {}
    for claim in summary.claims:
        if claim.verdict == "does not hold":
            refuted.setdefault(f"{figure(claim, labels)}: {stated(claim)}", []).append(claim)
    which = {"does not hold": f" ({listed([_refuted(words, of) for words, of in refuted.items()])})"}
    parts = [f"{counts[verdict]} {words[counts[verdict] > 1]}{which.get(verdict, '')}"
             for verdict, words in _VERDICTS.items() if counts[verdict]]
    return f"Of what the source claims, cell by cell, {', '.join(parts)}." if parts else ""


def _refuted(words: str, claims: Sequence[ClaimRow]) -> str:
    claim = claims[0]
    measured = [found for one in claims  # of a claim about each run the lowest
                if (found := one.measured.mean if one.lowest is None else one.lowest) is not None]
    low, high = (f"{value:,.0f}" if unit(claim.metric) == "number" else rounded.single(value, claim.metric)
                 for value in (min(measured), max(measured)))
    what = "measured" if claim.lowest is None else "lowest"
    return f"{words}, {what} {low if low == high else f'{low} to {high}'}"


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
    over = f", less that of {labels.get(claim.over, claim.over)}" if claim.over else ""
    return f"{name}{state if is_score(claim.metric) else ''}{over}"


def stated(claim: ClaimRow) -> str:
    """Writes what a claim says of it."""
    def text(value: float) -> str:
        return f"{value:,.0f}" if unit(claim.metric) == "number" else rounded.single(value, claim.metric)

    if claim.value is None:
        return DASH
    if claim.kind == "about":
        return text(claim.value) + (f" ± {text(claim.within)}" if claim.within else "")
    return f"{claim.kind.replace('_', ' ')} {text(claim.value)}"


def named(row: CellRow, summary: Summary) -> str:
    """Names a cell within a sentence."""
    return shortened(printable(row.label)) if len(summary.factors) == 1 or summary.leaves_out else shortened(row.label)


def level(factor: str, label: str, summary: Summary) -> str:
    """Names a level within a sentence, with its factor where it alone would be lost or taken for another's."""
    same = [name for name, levels in summary.levels.items() if label in levels]
    return shortened(printable(level_named(factor, label) if len(same) < 2 else f"{factor}={label}"))


def _on_average(factor: str, summary: Summary) -> str:
    """Says what a factor's levels do on average over the other factors."""
    assert summary.effects is not None
    margins = [margin for margin in summary.effects.margins if margin.factor == factor]
    over = " and ".join(printable(name) for name in summary.factors if name != factor)
    if margins[0].pairs:  # some combinations are not there
        over = f"pairs of cells that differ in {printable(factor)} alone"
    seeds = margins[0].contrast.n
    # A single cell may share more with its baseline.
    if seeds < max((test.n for test in summary.verdict.against.values()), default=0):
        over += f", in the {seeds} seeds that all of them have,"
    return _judged(f"On average over {over} against {level(factor, margins[0].reference, summary)}",
                   {level(factor, margin.level, summary): margin.contrast for margin in margins}, summary)


def _cell_by_cell(summary: Summary) -> list[str]:
    """Says which cells differ from their baselines."""
    rows = summary.by_cell
    groups: dict[str, dict[str, Contrast]] = {}
    for cell, test in summary.verdict.against.items():
        groups.setdefault(rows[cell].baseline or "", {})[named(rows[cell], summary)] = test
    return [_judged(f"Against {named(rows[base], summary)}", tests, summary) for base, tests in groups.items()]


_UNTESTED = "untested: one seed, or equal ones, show no spread to test by"


def _judged(against: str, tests: Mapping[str, Contrast], summary: Summary) -> str:
    """Says which are clearly better or worse, and which are not; of each group the first with its interval."""
    sign = -1 if summary.view.lower_is_better else 1
    groups: dict[str, list[str]] = {
        "clearly better": [], "clearly worse": [], "not clearly different": [], _UNTESTED: []}
    order = sorted(tests.items(), key=lambda item: -abs(item[1].mean or 0.0))
    for name, test in order:
        if test.mean is None:
            continue
        side = "better" if sign * test.mean > 0 else "worse"
        group = groups[f"clearly {side}" if is_clear(test) else _UNTESTED if test.p is None else
                       "not clearly different"]
        size = rounded.score(estimated(test), summary.view.metric, sign="+")
        group.append(f"{name} ({size.partition(' ')[0] if group else size})")
    parts = [f"{listed(names)} {'are' if len(names) > 1 else 'is'} {words}"
             for words, names in groups.items() if names]
    return f"{against}: {'; '.join(parts)}." if parts else ""


def _together(summary: Summary) -> str:
    """Says whether changes add up: of those that clearly do not, or of all, the one that is farthest from it."""
    known = [one for one in (summary.effects or Effects()).together if one.contrast.mean is not None]
    if not known:
        return ""
    clear = [one for one in known if is_clear(one.contrast)]
    one = max(clear or known, key=lambda one: abs(one.contrast.mean or 0.0))
    size = rounded.score(estimated(one.contrast), summary.view.metric, sign="+")
    first, second = parts(one, summary)
    others = [printable(name) for name in summary.factors if name not in {part[0] for part in one.parts}]
    # Levels are compared over those of the other factors; cells as they are.
    over = f", on average over {' and '.join(others)}" if one.references and others else ""
    if not clear:
        return (f"{first} and {second} may add up: together they give {size} beyond the sum of both{over}."
                if len(known) == 1 else
                f"Effects may add up: farthest from it are {first} and {second}, {size} beyond the sum of both{over}.")
    alone, together = (f"{100 * value:+.2f}" if summary.view.is_fraction else f"{value:+.4f}"
                       for value in (one.alone, one.together))
    where = level(one.parts[1][0], one.references[1], summary) if one.references else "the baseline"
    more = f", and {len(clear) - 1} more" if len(clear) > 1 else ""
    return (f"Effects do not add up{over}: {first} gives {alone} at {where} and {together} at {second} ({size} "
            f"apart{more}).")


def parts(one: Together, summary: Summary) -> tuple[str, str]:
    """Names two changes: cells by their rows, levels by their factors."""
    first, second = (named(summary.by_cell[part], summary) if isinstance(part, str) else level(*part, summary)
                     for part in one.parts)
    return first, second


def estimated(contrast: Contrast) -> Estimate:
    """Gives a contrast as an estimate, to be written with its interval."""
    return Estimate(contrast.n, contrast.mean, None, contrast.low, contrast.high)


def listed(names: Sequence[str]) -> str:
    """Lists the first few names and counts the others."""
    between = " / " if any(", " in name.partition(" (")[0] for name in names) else ", "
    shown = len(names) if len(names) <= _NAMED + 1 else _NAMED  # a last one is as short as its count
    return between.join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
