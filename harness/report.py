r"""Reports ablations from their records: a table, its question and caption, and learning curves.

Nothing is trained or loaded here; it takes seconds and may run while runs are still under way.

  python -m harness.report                                     every ablation that has records
  python -m harness.report --ablation=fashion_regularization   one; repeat the flag for more
  python -m harness.report --results_dir=/tmp/results          records kept elsewhere

It prints each table and writes report.html, table.md, table.csv, table.tex, curves_accuracy.png and curves_loss.png
into results/<ablation>/, and results/index.html, which leads to all pages. The same records give the same bytes.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import rich.text
from absl import flags
from rich.console import Console

from harness import cli, page, page_index, plots, records, summary, tables


class Picture(NamedTuple):
    """A figure of the page and the file of its name."""

    name: str
    title: str
    caption: str
    png: bytes


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
    found = records.ablations_in(results_dir)
    if not found:
        raise ReportError(f"no records in {results_dir}; make some with: python -m harness.run --ablation=NAME")
    for name in names:
        if name not in found:
            raise ReportError(f'no records of "{name}" in {results_dir}; there are records of: {", ".join(found)}')
    paths = [path for name in names or found for path in _report(records.Folder(results_dir, name), console)]
    index = pathlib.Path(results_dir).resolve() / "index.html"
    records.write_atomic(index, page_index.index_page([_entry(records.Folder(results_dir, name)) for name in found]))
    pages = [path for path in [*paths, index] if path.suffix == ".html"]
    lines = ["Open in a browser:", *map(_short, pages), ""]
    console.print(rich.text.Text("\n".join(lines)), soft_wrap=True)
    return [*paths, index]


def _entry(folder: records.Folder) -> page_index.Entry:
    """Sums up an ablation for the index, which lists it also where its records are of no use."""
    has_page = (folder.path / "report.html").exists()
    try:
        found = folder.records()
        table = summary.summarize(folder.ablation, folder.plan(), found)
        return page_index.Entry(folder.ablation, table, found, has_page)
    except (records.RecordError, summary.MixtureError) as error:
        return page_index.Entry(folder.ablation, None, {}, has_page, str(error))


def _report(folder: records.Folder, console: Console) -> list[pathlib.Path]:
    found = folder.records()
    table = summary.summarize(folder.ablation, folder.plan(), found)
    curves = {run_id: folder.curve(run_id) for run_id in found}
    of_done: dict[str, list[Any]] = {}
    for run_id, record in found.items():
        if record["status"] == "done":
            of_done.setdefault(record["cell"], []).append(curves[run_id])
    pictures = [Picture(f"curves_{metric}", f"Learning curves: {metric}", "Training and validation of every cell.",
                        plots.learning_curves(table, of_done, metric)) for metric in ("accuracy", "loss")]
    files = {
        "table.md": tables.markdown(table).encode(),
        "table.csv": tables.csv(table).encode(),
        "table.tex": tables.latex(table).encode(),
        **{f"{picture.name}.png": picture.png for picture in pictures},
        "report.html": page.ablation_page(table, found, curves, pictures),
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


def main() -> None:
    """Reports what the flags name."""
    report(flags.FLAGS.results_dir, flags.FLAGS.ablation, Console(highlight=False))


if __name__ == "__main__":
    _define_flags()
    cli.run(main, ReportError, records.RecordError, summary.MixtureError)
