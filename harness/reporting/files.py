"""The files that an ablation's report consists of, as bytes. `harness.report` writes them and prints the tables."""

import hashlib
import re
from collections.abc import Mapping

from harness.analysis import cells, scores, summarize
from harness.analysis.cells import View
from harness.records.loaded import Loaded
from harness.reporting import render
from harness.reporting.figures import figures, kept
from harness.reporting.page import page
from harness.reporting.tables import details, report
from harness.reporting.tables import scores as other_scores


def contents(loaded: Loaded, view: View, *, pdf: bool = False, pages_alone: bool = False
             ) -> tuple[cells.Summary, dict[str, bytes]]:
    """Makes a report from what an ablation's runs left behind; the same files give the same bytes.

    Args:
      loaded: the records, curves, predictions and exhibits of runs.
      view: what of the records is shown.
      pdf: whether pictures are made for print, too; where there are some already they are kept up to date in any case.
      pages_alone: whether pages are all that is asked for; they show the pictures that lie there as they are.

    Returns:
      the summary, and name -> content of each file; empty content where there is nothing to say.

    Raises:
      harness.records.RecordError: if a file cannot be read.
      harness.records.pooling.MixtureError: if records in one table do not belong together.
      harness.analysis.cells.ViewError: if no cell is the view's baseline.
    """
    found = loaded.records
    more = scores.of_runs(found, loaded.predictions, loaded.scores)
    table = summarize.summarize(loaded.folder.ablation, loaded.plan, found, view, loaded.predictions, more,
                                loaded.apart)
    # Any other view gets names of its own: it must not pass for the table that belongs to the records.
    suffix = _suffix(view)
    files = {f"table{suffix}.md": report.markdown(table), f"table{suffix}.csv": report.csv(table),
             f"table{suffix}.tex": report.latex(table),
             f"effects{suffix}.csv": report.effects_csv(table), f"claims{suffix}.csv": report.claims_csv(table)}
    if view != View():
        return table, _encoded(files)
    drawn, left_out, pictures = _pictures(loaded, table, pdf=pdf, pages_alone=pages_alone)
    of_classes = details.class_rows(table, found, loaded.predictions)
    classes, layers = details.classes(table, of_classes), details.layers(table)
    others = other_scores.tables(table, more)
    layer_rows = details.layer_records(table)
    files |= {"classes.md": render.markdown(classes), "layers.md": render.markdown(layers) if layer_rows else "",
              "classes.csv": report.to_csv(details.class_records(of_classes)),
              "layers.csv": report.to_csv(layer_rows), "scores.md": render.markdown(others),
              "scores.csv": report.to_csv(other_scores.csv_rows(table, more)),
              "figures.md": figures.markdown(table, drawn, left_out)}
    shown = {"Evidence": report.tables(table)[1:], "Scores": others, "Classes": classes,
             "Layers and memory": layers if layer_rows else []}
    return table, _encoded(files) | pictures | {
        "report.html": page.ablation_page(table, found, loaded.curves, drawn, shown)}


def _pictures(loaded: Loaded, table: cells.Summary, *, pdf: bool, pages_alone: bool
              ) -> tuple[list[figures.Figure], dict[str, str], dict[str, bytes]]:
    """Draws what has changed since the pictures that lie there; gives them, what is missing, and their files."""
    folder = loaded.folder
    if pages_alone:
        return *figures.draw(loaded, table, kept=kept.as_they_are(folder)), {}
    pdf = pdf or any(folder.path.glob("*.pdf"))
    digest = kept.inputs(folder)
    drawn, left_out = figures.draw(loaded, table, pdf=pdf, kept=kept.pictures(folder, digest, pdf=pdf))
    files = {f"{name}.{kind}": b"" for name in left_out for kind in ("png", "pdf")}
    files |= {f"{figure.name}.png": figure.png for figure in drawn}
    files |= {f"{figure.name}.pdf": figure.pdf for figure in drawn if figure.pdf}
    return drawn, left_out, files | {kept.NAME: kept.note(digest, files)}


def _suffix(view: View) -> str:
    """Names what a view changes, so that it can stand in a file's name."""
    default = View()
    changed = {name: value for name in ("baseline", "metric", "select")
               if (value := getattr(view, name)) != getattr(default, name)}
    return "".join(f",{name}={_in_a_name(value)}" for name, value in changed.items())


def _in_a_name(value: str) -> str:
    """Makes a text fit for a file's name; what has letters that are left out has its hash behind it."""
    fit = re.sub("[^A-Za-z0-9._+=-]+", "_", value)
    return fit if value.isascii() else f"{fit}_{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: content.encode() for name, content in files.items()}
