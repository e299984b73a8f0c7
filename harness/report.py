r"""Reports ablations from their records: a table, its question and caption, and learning curves.

Nothing is trained or loaded here; it takes seconds and may run while runs are still under way.

  python -m harness.report                                     every ablation that has records
  python -m harness.report --ablation=fashion_regularization   one; repeat the flag for more
  python -m harness.report --results_dir=/tmp/results          records kept elsewhere
  python -m harness.report --watch                             a live table of what trains in another terminal
  python -m harness.report --export=mlflow --export_dir=DIR    records for MLflow; wandb: Weights & Biases, offline

It prints each table and writes table.md, table.csv, table.tex, curves_accuracy.png and curves_loss.png into
results/<ablation>/. The same records give the same bytes.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import rich.text
from absl import flags
from rich.console import Console

from harness import cli, exporters, plots, records, summary, sweep, tables, watch


class ReportError(Exception):
    """There is nothing to report as asked; the message is one line."""


def report(results_dir: str, names: Sequence[str], console: Console) -> list[pathlib.Path]:
    """Writes and prints the report of each ablation.

    Args:
      results_dir: the folder that holds one folder per ablation.
      names: ablations; none means all that have records.
      console: where the tables are printed.

    Returns:
      The files written.

    Raises:
      ReportError: if there are no records, or none of an ablation named.
      harness.records.RecordError: if a record cannot be read.
      harness.summary.MixtureError: if records in one cell do not belong together.
    """
    return [path for folder in _folders(results_dir, names) for path in _report(folder, console)]


def _folders(results_dir: str, names: Sequence[str]) -> list[records.Folder]:
    """Locates the ablations named, or all that there are."""
    found = records.ablations_in(results_dir)
    if not found:
        raise ReportError(f"no records in {results_dir}; make some with: python -m harness.run --ablation=NAME")
    for name in names:
        if name not in found:
            raise ReportError(f'no records of "{name}" in {results_dir}; there are records of: {", ".join(found)}')
    return [records.Folder(results_dir, name) for name in names or found]


def _report(folder: records.Folder, console: Console) -> list[pathlib.Path]:
    found = folder.records()
    table = summary.summarize(folder.ablation, folder.plan(), found)
    curves: dict[str, list[Any]] = {}
    for run_id, record in found.items():
        if record["status"] == "done":
            curves.setdefault(record["cell"], []).append(folder.curve(run_id))
    files = {
        "table.md": tables.markdown(table).encode(),
        "table.csv": tables.csv(table).encode(),
        "table.tex": tables.latex(table).encode(),
        "curves_accuracy.png": plots.learning_curves(table, curves, "accuracy"),
        "curves_loss.png": plots.learning_curves(table, curves, "loss"),
    }
    for name, content in files.items():
        records.write_atomic(folder.path / name, content)
    paths = [folder.path / name for name in files]
    tables.show(table, console)
    console.print(rich.text.Text("\n".join(["", *map(_short, paths), ""])), soft_wrap=True)
    return paths


def _short(path: pathlib.Path) -> str:
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _define_flags() -> None:
    # Only when run as a program: harness.run calls `report` and defines flags of its own with these names.
    flags.DEFINE_multi_string("ablation", [], "Ablation to report; repeat for several. Default: all with records.")
    flags.DEFINE_string("results_dir", "results", "Folder that holds one folder per ablation.")
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
        report(chosen.results_dir, chosen.ablation, console)


if __name__ == "__main__":
    _define_flags()
    cli.run(main, ReportError, exporters.ExportError, records.RecordError, summary.MixtureError)
