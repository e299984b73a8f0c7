r"""Reports ablations from their records: tables, their question and caption, and learning curves.

Nothing is trained or loaded here; it takes seconds and may run while runs are still under way.

  python -m harness.report                                     every ablation that has records
  python -m harness.report --ablation=fashion_regularization   one; repeat the flag for more
  python -m harness.report --results_dir=my_results            records kept elsewhere
  python -m harness.report --watch                             a live table of what trains in another terminal
  python -m harness.report --export=mlflow --export_dir=DIR    records for MLflow; wandb: Weights & Biases, offline

It prints the tables and writes into results/<ablation>/: table.md, table.tex and table.csv, effects.csv and claims.csv
where there are any, the scores of each class (classes.md, .csv), the layers and their memory (layers.md, .csv), and
the learning curves. The same records give the same bytes.

Another view of the same records is printed, and written to table files with the view in their names:

  python -m harness.report --ablation=fashion_mlp --baseline=dropout=0.1   differences from another cell
  python -m harness.report --metric=test_loss                              another score
  python -m harness.report --select=last                                   scores after the last epoch
"""

import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import rich.text
from absl import flags
from rich.console import Console

from harness import (
    cli,
    detail_tables,
    exporters,
    figures,
    pooling,
    records,
    render,
    rows,
    summary,
    sweep,
    tables,
    watch,
)
from harness.rows import View


class ReportError(Exception):
    """There is nothing to report as asked; the message is one line."""


def report(results_dir: str, names: Sequence[str], console: Console, view: View | None = None) -> list[pathlib.Path]:
    """Writes and prints the report of each ablation.

    Args:
      results_dir: the folder that holds one folder per ablation.
      names: ablations; none means all that have records.
      console: where the tables are printed.
      view: what the tables show; any but the default one, None, writes tables alone.

    Returns:
      The files written.

    Raises:
      ReportError: if there are no records, or none of an ablation named.
      harness.records.RecordError: if a record cannot be read.
      harness.pooling.MixtureError: if records in one table do not belong together.
      harness.rows.ViewError: if no cell is the view's baseline.
    """
    folders, view = _folders(results_dir, names), view or View()
    if view.baseline is not None and len(folders) > 1:
        raise ReportError(f"--baseline={view.baseline} needs --ablation=NAME, one of: "
                          f"{', '.join(folder.ablation for folder in folders)}")
    return [path for folder in folders for path in _report(folder, console, view)]


def _folders(results_dir: str, names: Sequence[str]) -> list[records.Folder]:
    """Locates the ablations named, or all that there are."""
    found = records.ablations_in(results_dir)
    if not found:
        raise ReportError(f"no records in {results_dir}; make some with: python -m harness.run --ablation=NAME")
    for name in names:
        if name not in found:
            raise ReportError(f'no records of "{name}" in {results_dir}; there are records of: {", ".join(found)}')
    return [records.Folder(results_dir, name) for name in names or found]


def _report(folder: records.Folder, console: Console, view: View) -> list[pathlib.Path]:
    found = folder.records()
    predictions = _predictions(folder, found)
    table = summary.summarize(folder.ablation, folder.plan(), found, view, predictions)
    # Any other view gets names of its own: it must not pass for the table that belongs to the records.
    suffix = _suffix(view)
    files = {f"table{suffix}.md": tables.markdown(table), f"table{suffix}.csv": tables.csv(table),
             f"table{suffix}.tex": tables.latex(table),
             f"effects{suffix}.csv": tables.effects_csv(table), f"claims{suffix}.csv": tables.claims_csv(table)}
    contents = {name: content.encode() for name, content in files.items()}
    if view == View():
        contents |= _details(table, found, predictions) | _pictures(folder, table, found)
    for name, content in contents.items():
        if content.strip():
            records.write_atomic(folder.path / name, content)
        else:  # of earlier records
            (folder.path / name).unlink(missing_ok=True)
    paths = [folder.path / name for name, content in contents.items() if content.strip()]
    tables.show(table, console)
    console.print(rich.text.Text("\n".join(["", *map(_short, paths), ""])), soft_wrap=True)
    return paths


def _suffix(view: View) -> str:
    """Names what a view changes, so that it can stand in a file's name."""
    default = View()
    changed = {name: value for name in ("baseline", "metric", "select")
               if (value := getattr(view, name)) != getattr(default, name)}
    return "".join(f",{name}={re.sub('[^A-Za-z0-9._+=-]+', '_', value)}" for name, value in changed.items())


def _predictions(folder: records.Folder, found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Reads the test predictions of done runs; those that lack the true classes are left out.

    Raises:
      harness.records.RecordError: if a file cannot be read.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for run_id, record in found.items():
        path = folder.run(run_id) / "predictions.npz"
        if record["status"] == "done" and path.exists():
            try:
                stored = folder.predictions(run_id)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise records.RecordError(f"{path} cannot be read: {error}") from None
            if {"predicted", "label"} <= stored.keys():
                known[run_id] = stored
    return known


def _details(table: rows.Summary, found: Mapping[str, Any], predictions: Mapping[str, Any]) -> dict[str, bytes]:
    scores = detail_tables.class_rows(table, found, predictions)
    layers = detail_tables.layer_records(table)
    files = {
        "classes.md": render.markdown(detail_tables.classes(table, scores)),
        "classes.csv": tables.to_csv(detail_tables.class_records(scores)),
        "layers.md": render.markdown(detail_tables.layers(table)) if layers else "",
        "layers.csv": tables.to_csv(layers)}
    return {name: content.encode() for name, content in files.items()}


def _pictures(folder: records.Folder, table: rows.Summary, found: Mapping[str, Any]) -> dict[str, bytes]:
    drawn = figures.draw(folder, table, found)
    page = figures.markdown(table, drawn, figures.left_out(folder, table, found))
    return {"figures.md": page.encode(), **{f"{figure.name}.png": figure.png for figure in drawn},
            **{f"{figure.name}.pdf": figure.pdf for figure in drawn if figure.pdf}}


def _short(path: pathlib.Path) -> str:
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _define_flags() -> None:
    # Only when run as a program: harness.run calls `report` and defines flags of its own with these names.
    flags.DEFINE_multi_string("ablation", [], "Ablation to report; repeat for several. Default: all with records.")
    flags.DEFINE_string("results_dir", "results", "Folder that holds one folder per ablation.")
    flags.DEFINE_string("baseline", None, "Cell that the others are compared with. Default: all reference levels.")
    flags.DEFINE_string("metric", "test_accuracy", f"Score that is compared: {', '.join(rows.METRICS)}.")
    flags.DEFINE_string("select", "best_validation", f"State whose scores count: {', '.join(rows.SELECTIONS)}.")
    flags.DEFINE_bool("watch", False, "Show the latest sweep, or those of --ablation, live, until all is recorded.")
    flags.DEFINE_enum("export", None, list(exporters.TRACKERS), "Hand the records to this tracker and report nothing.")
    flags.DEFINE_string("export_dir", "", "Folder that the tracker's files are written into.")


def main() -> None:
    """Reports what the flags name."""
    chosen, console = flags.FLAGS, Console(highlight=False)
    if chosen.watch:
        folders = _folders(chosen.results_dir, chosen.ablation)
        watch.watch(folders if chosen.ablation else [sweep.latest(folders)], console)
    elif chosen.export:
        names = [folder.ablation for folder in _folders(chosen.results_dir, chosen.ablation)]
        told = exporters.export(chosen.results_dir, names, chosen.export, chosen.export_dir)
        console.print(told, markup=False, soft_wrap=True)
    else:
        report(chosen.results_dir, chosen.ablation, console, View(chosen.baseline, chosen.metric, chosen.select))


if __name__ == "__main__":
    _define_flags()
    cli.run(main, ReportError, exporters.ExportError, records.RecordError, pooling.MixtureError, rows.ViewError)
