"""What was fixed before anything was trained, and what was decided after results were seen, in sentences."""

from collections.abc import Iterable, Sequence

from harness.analysis.cells import Summary
from harness.records import Fixed, Plan, Stopping
from harness.records.text import printable, shortened
from harness.reporting.answer import listed


def sentences(summary: Summary) -> list[str]:
    """Says what the plan fixed, and what was decided afterwards; nothing of plans that fixed nothing."""
    if summary.plan is None or (fixed := summary.plan.fixed) is None:
        return []
    bases = list(dict.fromkeys(fixed.comparisons.values()))
    compared = len(fixed.comparisons) - len(bases)
    against = f"compared with {_printed(bases)}: {compared} cell{'' if compared == 1 else 's'}" if compared else (
        "nothing is compared")
    stated = (f"Fixed at {fixed.at} (sha256 {fixed.sha256[:12]}): {_score(fixed.score, fixed.select)}; {against}; "
              f"seeds {_printed(map(str, fixed.seeds))}; {_rule(fixed.stopping)}.")
    looks = ["Seeds were added by validation accuracy alone; the test set is read once, after training. The intervals "
             "of its differences and effects hold for all looks and comparisons together (repeated confidence "
             "intervals, Jennison and Turnbull 1989); those of means and claims are 95 % intervals that ask nothing of "
             "when the study stopped."] if summary.plan.stopping else []
    return [stated, *looks, *afterwards(summary)]


def afterwards(summary: Summary) -> list[str]:
    """Says what differs from what was fixed, and so was decided after results were seen."""
    if summary.plan is None or (fixed := summary.plan.fixed) is None:
        return []
    plan, view, warnings = summary.plan, summary.view, []
    if not fixed.is_whole:
        warnings.append("Warning: what the plan says was fixed has been edited since: its sha256 is another one.")
    first = min((record.finished_at for record in summary.records.values()), default=None)
    if first is not None and first[:19] < fixed.at[:19]:
        warnings.append(f"Warning: the plan was fixed after the first run was recorded, at {first}.")
    changes = [
        *_added("seeds", sorted({run.seed for run in plan.runs} - _allowed(fixed)), str),
        *_added("cells", [cell for cell in dict.fromkeys(run.cell for run in plan.runs)
                          if fixed.comparisons and cell not in fixed.comparisons], str),
        *_compared_otherwise(plan, fixed),
        *([f"the rule for adding seeds ({_rule(plan.stopping)})"] if plan.stopping != fixed.stopping else []),
        *([f"another score ({_score(view.metric, view.select)})"]
          if (view.metric, view.select) != (fixed.score, fixed.select) else []),
        *([f"another baseline ({shortened(printable(view.baseline))})"] if view.baseline is not None else [])]
    return warnings + ([f"Decided after results were seen: {'; '.join(changes)}."] if changes else [])


def _added(what: str, found: Sequence[object], write: type[str]) -> list[str]:
    return [f"{what} added ({_printed(map(write, found))})"] if found else []


def _compared_otherwise(plan: Plan, fixed: Fixed) -> list[str]:
    changed = [cell for cell, base in fixed.comparisons.items() if plan.comparisons.get(cell, base) != base]
    return [f"other baselines (of {_printed(changed)})"] if changed else []


def _allowed(fixed: Fixed) -> set[int]:
    return {*fixed.seeds, *(fixed.stopping.seeds if fixed.stopping else ())}


def _rule(rule: Stopping | None) -> str:
    if rule is None:
        return "no seed added by results"
    return (f"{rule.step} more at a time, {len(rule.seeds)} at most, until the interval of each difference in "
            f"validation accuracy excludes zero or lies within {100 * rule.within:g} points of it")


def _score(metric: str, select: str) -> str:
    state = {"best_validation": "at the best validation epoch", "last": "after the last epoch"}[select]
    return f"{metric.replace('_', ' ')} {state}"


def _printed(names: Iterable[str]) -> str:
    return listed([shortened(printable(name)) for name in names])
