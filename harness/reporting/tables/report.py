"""What a report's tables hold: the answer first, then claims, effects, comparisons, spread and coverage.

`harness.reporting.render` turns tables into Markdown and terminal text, `harness.reporting.latex` into LaTeX. The CSV
files have every number in full.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from harness.analysis.cells import CellRow, Summary
from harness.records import Cost, Timing
from harness.reporting import answer, render, terminal
from harness.reporting.captions import caption
from harness.reporting.latex import floats
from harness.reporting.render import Table, escape_csv
from harness.reporting.tables import brief, evidence
from harness.reporting.tables.columns import columns, table


def markdown(summary: Summary) -> str:
    """Renders all tables as Markdown."""
    return render.markdown(tables(summary))


def latex(summary: Summary) -> str:
    """Renders all tables for LaTeX with booktabs."""
    return floats.render(tables(summary))


def show(summary: Summary, console: Console, where: Sequence[str], *, full: bool) -> None:
    """Prints the answer with one table, or all tables.

    Args:
      where: lines that say where more is.
    """
    everything = tables(summary)
    if not full:
        brief.show(summary, console, everything, where)
        return
    main, *others = everything
    terminal.show([dataclasses.replace(main, title=f"{summary.ablation}: {main.title}"), *others], console)
    console.print(Text("\n".join([*where, ""])), soft_wrap=True)


def tables(summary: Summary) -> list[Table]:
    """Lays out the tables; those without rows are left out, the main one excepted."""
    main = table(summary.question, columns(summary), summary.rows, lead=tuple(answer.sentences(summary)),
                 notes=caption(summary))
    parts = (evidence.coverage, evidence.claims, evidence.effects, evidence.comparisons, evidence.shared,
             evidence.spread)
    return [main, *(found for part in parts if (found := part(summary)) is not None)]


def csv(summary: Summary) -> str:
    """Renders everything known about each cell, unrounded: accuracies as fractions, sizes in bytes."""
    return to_csv([_flat(row) for row in summary.rows])


def effects_csv(summary: Summary) -> str:
    """Renders each effect, unrounded."""
    if summary.effects is None:
        return ""
    rows = [("main effect", f"{one.factor}={one.level}", f"{one.factor}={one.reference}", one.contrast)
            for one in summary.effects.margins]
    for pair in summary.effects.together:
        parts = [part if isinstance(part, str) else "=".join(part) for part in pair.parts]
        rows.append(("together", " x ".join(parts), " x ".join(pair.references or ()), pair.contrast))
    return to_csv([{"kind": kind, "of": of, "against": against} | _parts("effect", contrast)
                   | {"p": contrast.p, "p_corrected": contrast.holm} for kind, of, against, contrast in rows])


def claims_csv(summary: Summary) -> str:
    """Renders each claim, unrounded."""
    names = ("source", "cell", "over", "metric", "state", "kind", "value", "within")
    return to_csv([
        {name: getattr(claim, name) for name in names} | {"of": " / ".join(claim.of)}
        | _parts("measured", claim.measured) | {"measured.lowest": claim.lowest, "verdict": claim.verdict,
                                                "protocol": claim.protocol}
        for claim in summary.claims])


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Renders rows as CSV, with text that no spreadsheet takes for a formula; nothing where there are none."""
    if not rows:
        return ""
    inert = [{escape_csv(name): escape_csv(value) if isinstance(value, str) else value for name, value in row.items()}
             for row in rows]
    return pd.DataFrame(inert, dtype=object).to_csv(index=False, lineterminator="\n")


def _flat(row: CellRow) -> dict[str, Any]:
    estimates = ("score", "test_accuracy", "validation_accuracy", "last_test_accuracy",
                 "optimistic_validation_accuracy", "optimistic_test_accuracy", "interquartile_mean", "difference")
    costs = [("cost", row.cost, field.name) for field in dataclasses.fields(Cost) if field.name != "layers"]
    timings = [("timing", row.timing, field.name) for field in dataclasses.fields(Timing)]
    shared = row.comparison.shared if row.comparison else None
    return ({"cell": row.cell}
            | {f"labels.{name}": label for name, label in row.labels.items()}
            | {name: getattr(row, name) for name in ("is_baseline", "baseline", "is_best", "behind_best_p")}
            | {f"runs.{status}": number for status, number in row.runs.items()}
            | {key: value for name in estimates for key, value in _parts(name, getattr(row, name)).items()}
            | {f"comparison.{name}": getattr(row.comparison, name, None) for name in (
                "balanced", "headline_p", "headline_holm", "verdict", "t_p", "t_holm", "sign_flip_p", "sign_flip_holm")}
            | {f"comparison.{name}{end}": getattr(getattr(row.comparison, name, None), part, None)
               for name in ("detectable", "seeds_for_half_a_point")
               for end, part in (("", "value"), (".low", "low"), (".high", "high"))}
            | {f"shared.{name}": getattr(shared, name, None) for name in ("pairs", "gained", "lost", "p", "clear")}
            | _parts("shared.difference", getattr(shared, "difference", None))
            | {f"{group}.{name}": getattr(part, name, None) for group, part, name in (*costs, *timings)})


def _parts(name: str, estimate: Any) -> dict[str, Any]:
    return {f"{name}.{part}": getattr(estimate, part, None) for part in ("n", "mean", "sd", "low", "high")}
