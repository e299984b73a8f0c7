r"""Reports ablations from their records: a table, its question and caption, and learning curves.

Nothing is trained or loaded here; it takes seconds and may run while runs are still under way.

  python -m harness.report                                     every ablation that has records
  python -m harness.report --ablation=fashion_regularization   one; repeat the flag for more
  python -m harness.report --results_dir=/tmp/results          records kept elsewhere

It prints each table and writes table.md, table.csv, table.tex, curves_accuracy.png and curves_loss.png into
results/<ablation>/. The same records give the same bytes.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import rich.text
from absl import app, flags
from rich.console import Console

from harness import plots, records, summary, tables


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
    return [path for name in names or found for path in _report(records.Folder(results_dir, name), console)]


def _report(folder: records.Folder, console: Console) -> list[pathlib.Path]:
    found = {path.parent.name: _read(folder, path) for path in sorted(folder.run("").glob("*/record.json"))}
    plan = folder.plan() if (folder.path / "plan.json").exists() else None
    table = summary.summarize(folder.ablation, plan, found)
    curves: dict[str, list[Any]] = {}
    for run_id, record in found.items():
        if record["status"] == "done":
            curves.setdefault(record["cell"], []).append(_curve(folder, run_id))
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


def _read(folder: records.Folder, path: pathlib.Path) -> dict[str, Any]:
    record = folder.record(path.parent.name) or {}
    required = {field.name for field in dataclasses.fields(records.RunRecord) if field.default is dataclasses.MISSING}
    if lacking := sorted(required - record.keys()):
        raise records.RecordError(f"{path} is not a record: it lacks {', '.join(lacking)}; move the file away")
    return record


def _curve(folder: records.Folder, run_id: str) -> Any:
    try:
        curve = folder.curve(run_id)
    except (OSError, ValueError) as error:
        raise records.RecordError(f"the learning curve of {run_id} cannot be read: {error}") from None
    if lacking := sorted(set(records.CURVE_COLUMNS) - set(curve.columns)):
        raise records.RecordError(f"the learning curve of {run_id} lacks {', '.join(lacking)}")
    return curve


def _short(path: pathlib.Path) -> str:
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _define_flags() -> None:
    # Only when run as a program: harness.run calls `report` and defines flags of its own with these names.
    flags.DEFINE_multi_string("ablation", [], "Ablation to report; repeat for several. Default: all with records.")
    flags.DEFINE_string("results_dir", "results", "Folder that holds one folder per ablation.")


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        stray = flags.FLAGS(argv)[1:]
    except flags.Error as error:
        sys.exit(f"{tables.printable(str(error))} (--help lists the flags)")
    if stray:
        sys.exit(f'"{tables.printable(stray[0])}" is no flag; an ablation is named as --ablation=NAME')
    return list(argv[:1])


def main(_: Sequence[str]) -> None:
    """Reports what the flags name."""
    try:
        report(flags.FLAGS.results_dir, flags.FLAGS.ablation, Console(highlight=False))
    except (ReportError, records.RecordError, summary.MixtureError) as error:
        sys.exit(tables.printable(str(error)))


if __name__ == "__main__":
    _define_flags()
    app.run(main, flags_parser=_parse)
