"""The files that an ablation's report consists of, as bytes. `harness.report` writes them and prints the tables."""

import re
from collections.abc import Mapping

from harness import detail_tables, figures, page, render, rows, summary, tables
from harness.loaded import Loaded
from harness.rows import View


def contents(loaded: Loaded, view: View) -> tuple[rows.Summary, dict[str, bytes]]:
    """Makes a report from what an ablation's runs left behind; the same files give the same bytes.

    Returns:
      the summary, and name -> content of each file; empty content where there is nothing to say.

    Raises:
      harness.records.RecordError: if a file cannot be read.
      harness.pooling.MixtureError: if records in one table do not belong together.
      harness.rows.ViewError: if no cell is the view's baseline.
    """
    found = loaded.records
    table = summary.summarize(loaded.folder.ablation, loaded.plan, found, view, loaded.predictions)
    # Any other view gets names of its own: it must not pass for the table that belongs to the records.
    suffix = _suffix(view)
    files = {f"table{suffix}.md": tables.markdown(table), f"table{suffix}.csv": tables.csv(table),
             f"table{suffix}.tex": tables.latex(table),
             f"effects{suffix}.csv": tables.effects_csv(table), f"claims{suffix}.csv": tables.claims_csv(table)}
    if view != View():
        return table, _encoded(files)
    drawn, left_out = figures.draw(loaded, table)
    scores = detail_tables.class_rows(table, found, loaded.predictions)
    classes, layers = detail_tables.classes(table, scores), detail_tables.layers(table)
    layer_rows = detail_tables.layer_records(table)
    files |= {"classes.md": render.markdown(classes), "layers.md": render.markdown(layers) if layer_rows else "",
              "classes.csv": tables.to_csv(detail_tables.class_records(scores)),
              "layers.csv": tables.to_csv(layer_rows),
              "figures.md": figures.markdown(table, drawn, left_out)}
    pictures = {f"{name}.{kind}": b"" for name in left_out for kind in ("png", "pdf")}
    pictures |= {f"{figure.name}.png": figure.png for figure in drawn}
    pictures |= {f"{figure.name}.pdf": figure.pdf for figure in drawn if figure.pdf}
    more = [*tables.tables(table)[1:], *classes, *(layers if layer_rows else ())]
    return table, _encoded(files) | pictures | {
        "report.html": page.ablation_page(table, found, loaded.curves, drawn, more)}


def _suffix(view: View) -> str:
    """Names what a view changes, so that it can stand in a file's name."""
    default = View()
    changed = {name: value for name in ("baseline", "metric", "select")
               if (value := getattr(view, name)) != getattr(default, name)}
    return "".join(f",{name}={re.sub('[^A-Za-z0-9._+=-]+', '_', value)}" for name, value in changed.items())


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: content.encode() for name, content in files.items()}
