r"""Reports ablations from their records: tables with their evidence, pictures, and a page to open in a browser.

Nothing is trained or loaded here; it takes seconds and may run while runs are still under way.

  python -m harness.report                                     every ablation: your own records, else the shipped ones
  python -m harness.report --ablation=fashion_regularization   one; repeat the flag for more
  python -m harness.report --results_dir=results               the shipped records, tables and pictures made anew
  python -m harness.report --pdf                               the pictures for print, too; takes twice as long
  python -m harness.report --full                              every table and note printed
  python -m harness.report --watch                             a live table of what trains in another terminal
  python -m harness.report --export=mlflow --export_dir=DIR    records for MLflow; wandb: Weights & Biases, offline

Your own are those that harness.run has written into my_results/; results/ has those that came with the harness. The
answer is printed with one table. Files are written beside the records: report.html, the page; table.md, table.tex and
table.csv, effects.csv and claims.csv where there are any; other scores of the test set (scores.md, .csv), those of
each class (classes.md, .csv), the layers and their memory (layers.md, .csv); the pictures and a page of them
(figures.md). index.html, one folder up, leads to all pages. The same records give the same bytes. What was shipped has
its tables and pictures already: there, pages alone are written, unless --results_dir=results asks for all of it.

Another view of the same records is printed, and written to table files with the view in their names:

  python -m harness.report --ablation=fashion_mlp --baseline=dropout=0.1   differences from another cell
  python -m harness.report --metric=test_loss                              another score; of the test set there are
                                    top5_accuracy, balanced_accuracy, macro_f1, log_loss, calibration_error (15 bins),
                                    tta_accuracy, and the ablation's own metrics, which harness.run computes and keeps
  python -m harness.report --select=last                                   scores after the last epoch
"""

import contextlib
import pathlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

if not __package__:  # python harness/report.py, which puts that folder on the path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it imports, Ctrl-C ends it without a traceback

import rich.text
from absl import flags
from rich.console import Console

from harness import cli, records
from harness.analysis import cells, claims, summarize
from harness.analysis.cells import View
from harness.progress import live, status
from harness.records import pooling
from harness.records.files import in_home
from harness.records.loaded import Loaded
from harness.reporting import files as contents
from harness.reporting import findings
from harness.reporting.export import exporters
from harness.reporting.page import index as page_index
from harness.reporting.tables import report as tables
from harness.reporting.writing import Writer

Reported = tuple[page_index.Entry, list[pathlib.Path]]


class ReportError(cli.UsageError):
    """There is nothing to report as asked; the message is one line."""


def report(results_dirs: Sequence[str], names: Sequence[str], console: Console, view: View | None = None,
           kept: str | None = None, *, full: bool = False, pdf: bool = False) -> list[pathlib.Path]:
    """Writes and prints the report of each ablation, and an index over all in each results folder reported.

    Args:
      results_dirs: folders that hold one folder per ablation; an ablation's records are those of the first that has it.
      names: ablations; none means all that have records.
      console: where the tables are printed.
      view: what of the records is shown; None is the view that belongs to them.
      kept: the one of these folders whose tables and pictures stay as they are; pages are written there all the same.
      full: whether all tables and notes are printed, not the answer and one table alone.
      pdf: whether pictures are made for print, too.

    Returns:
      The files written.

    Raises:
      ReportError: if there are no records, or none of an ablation named; at the end, if some cannot be reported, if
        files were set apart as damaged, or if files could not be written where they may be.
      harness.records.RecordError: if nothing of the one ablation can be read.
      harness.records.pooling.MixtureError: if records in one table do not belong together.
      harness.analysis.cells.ViewError: if no cell is the view's baseline.
    """
    (folders, hidden), view = _folders(results_dirs, names), view or View()
    if view.baseline is not None and len(folders) > 1:
        raise ReportError(f"--baseline={view.baseline} needs --ablation=NAME, one of: "
                          f"{', '.join(folder.ablation for folder in folders)}")
    writer, damaged = Writer(), list[Exception]()

    def reported(folder: records.Folder) -> Reported:
        loaded = Loaded(folder)
        try:
            return _report(loaded, console, view, writer, full=full, pdf=pdf,
                           pages_alone=_is(folder.results_dir, kept))
        finally:
            damaged.extend(loaded.damaged)

    paths, summed_up, failed = _one_by_one(folders, reported)
    if failed and len(folders) == 1:
        raise failed[0]
    lines = [_hidden(folder) for folder in hidden]
    if view == View():
        for results_dir in dict.fromkeys(folder.results_dir for folder in folders):
            paths += _write_overview(results_dir, summed_up, writer, pages_alone=_is(results_dir, kept))
        if len(folders) > 1:
            lines += [f"All of them: {_short(path)}" for path in paths if path.name == "index.html"]
    if writer.failed and writer.is_refused and not pdf:  # what was asked for is printed
        lines += [writer.line()]
        writer.failed.clear()
    if lines:
        console.print(rich.text.Text("\n".join([*lines, ""])), soft_wrap=True)
    _refuse([*map(str, (*damaged, *failed)), *filter(None, [writer.line()])])
    return paths


def _refuse(wrong: Sequence[str]) -> None:
    """Raises ReportError if anything is wrong, each once."""
    told = list(dict.fromkeys(wrong))
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    if told:
        raise ReportError("; ".join(told[:_TOLD]) + more)


_TOLD = 10


def _one_by_one(folders: Sequence[records.Folder], reported: Callable[[records.Folder], Reported]
                ) -> tuple[list[pathlib.Path], dict[pathlib.Path, page_index.Entry], list[Exception]]:
    """Reports ablations in order; those that cannot be reported stop no other."""
    paths: list[pathlib.Path] = []
    summed_up: dict[pathlib.Path, page_index.Entry] = {}
    failed: list[Exception] = []
    for folder in folders:
        try:
            summed_up[folder.path], written = reported(folder)
            paths += written
        except (records.RecordError, pooling.MixtureError) as error:
            failed.append(error)
    return paths, summed_up, failed


def _hidden(folder: records.Folder) -> str:
    return (f"{_short(folder.path)} has other records, not shown: --results_dir={_short(folder.results_dir)} "
            f"--ablation={folder.ablation} does")


def _folders(results_dirs: Sequence[str], names: Sequence[str]) -> tuple[list[records.Folder], list[records.Folder]]:
    """Locates the ablations named, or all that there are; and those of the same names that they hide."""
    found, hidden = records.find(results_dirs)
    where = " or ".join(results_dirs)
    if not found:
        raise ReportError(f"no records in {where}; make some with: python -m harness.run --ablation=NAME")
    known = {folder.ablation: folder for folder in found}
    for name in names:
        if name not in known:
            raise ReportError(f'no records of "{name}" in {where}; there are records of: {", ".join(sorted(known))}')
    chosen = [known[name] for name in names or known]
    return chosen, [folder for folder in hidden if folder.ablation in (names or known)]


def _is(results_dir: pathlib.Path, kept: str | None) -> bool:
    return kept is not None and results_dir == pathlib.Path(kept).resolve()


def _write_overview(results_dir: pathlib.Path, summed_up: Mapping[pathlib.Path, page_index.Entry], writer: Writer, *,
                    pages_alone: bool) -> list[pathlib.Path]:
    """Writes the page over all ablations of a results folder, claims.md, and the tables of a README.md with marks."""
    entries = [summed_up.get(folder.path) or _entry(folder) for folder in records.find([results_dir])[0]]
    index, readme, claimed = (results_dir / name for name in ("index.html", "README.md", "claims.md"))
    files = {index: page_index.index_page(entries)}
    if not pages_alone:
        files[claimed] = findings.claims(entries).encode()
        if readme.is_file():
            files[readme] = findings.filled(readme.read_text(encoding="utf-8"), entries).encode()
    changed = {path: content for path, content in files.items()
               if not (path.is_file() and path.read_bytes() == content)}
    written = [path for path, content in changed.items() if writer.write(path, content)]
    return written if index in changed else [index, *written]


def _report(loaded: Loaded, console: Console, view: View, writer: Writer, *, full: bool, pdf: bool, pages_alone: bool
            ) -> Reported:
    loaded.refuse_ruins()
    table, files = contents.contents(loaded, view, pdf=pdf, pages_alone=pages_alone)
    paths = [path for name, content in files.items()  # without content, it goes: it was of earlier records
             if (path := loaded.folder.path / name).suffix == ".html" or not pages_alone
             if writer.write(path, content)]
    kind, name = ("Page", "report.html") if view == View() else ("Table", ".md")
    where = [f"{kind}: {_short(path)}" for path in paths if path.name.endswith(name)]
    tables.show(table, console, where, full=full)
    return page_index.Entry(loaded.folder.ablation, table, loaded.records, has_page=True,
                            results_dir=_short(loaded.folder.results_dir)), paths


def _entry(folder: records.Folder) -> page_index.Entry:
    """Sums up an ablation for the index, which lists it also where its records are of no use."""
    has_page, where = (folder.path / "report.html").exists(), _short(folder.results_dir)
    try:
        loaded = Loaded(folder)
        claimed = {claim.metric for claim in loaded.plan.claims} if loaded.plan else set()
        # What is listed of an ablation does not depend on which one was asked for: runs that its files contradict are
        # left out here too, and claims are read from predictions.
        predictions = loaded.predictions if claimed & set(claims.FROM_PREDICTIONS) else None
        loaded.refuse_ruins()
        table = summarize.summarize(folder.ablation, loaded.plan, loaded.records, predictions=predictions,
                                    apart=loaded.apart)
        return page_index.Entry(folder.ablation, table, loaded.records, has_page, where)
    except (records.RecordError, pooling.MixtureError) as error:
        return page_index.Entry(folder.ablation, None, {}, has_page, where, str(error))


def _own_metrics(folders: Sequence[records.Folder]) -> tuple[str, ...]:
    """Lists the metrics of their own that ablations have values of."""
    found: set[str] = set()
    for folder in folders:
        for run_id in folder.recorded():
            with contextlib.suppress(records.RecordError):  # which the report names
                found |= folder.scores(run_id).keys()
    return tuple(sorted(found))


def _short(path: pathlib.Path) -> str:
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _define_flags() -> None:
    # Only when run as a program: harness.run calls `report` and defines flags of its own with these names.
    flags.DEFINE_multi_string("ablation", [], "Ablation to report; repeat for several. Default: all with records.")
    flags.DEFINE_string("results_dir", None, "Folder that holds one folder per ablation. Default: "
                        f"{records.OWN_RESULTS}, and {records.SHIPPED_RESULTS} for ablations that are not there.")
    flags.DEFINE_string("baseline", None, "Cell that the others are compared with. Default: all reference levels.")
    flags.DEFINE_string("metric", "test_accuracy", f"Score that is compared: {', '.join(cells.METRICS)}, or one of the "
                        "ablation's own metrics. Lower is better of a loss or an error.")
    flags.DEFINE_string("select", "best_validation", f"State whose scores count: {', '.join(cells.SELECTIONS)}.")
    flags.DEFINE_bool("pdf", False, "Make the pictures for print, too; where there are some they are kept up to date.")
    flags.DEFINE_bool("full", False, "Print every table and note, not the answer and one table alone.")
    flags.DEFINE_bool("watch", False, "Show the latest sweep, or those of --ablation, live, until all is recorded.")
    flags.DEFINE_enum("export", None, list(exporters.TRACKERS), "Hand the records to this tracker and report nothing.")
    flags.DEFINE_string("export_dir", "", "Folder that the tracker's files are written into.")


def main() -> None:
    """Reports what the flags name."""
    chosen, console = flags.FLAGS, Console(highlight=False)
    given = chosen.results_dir
    results_dirs = [records.OWN_RESULTS, records.SHIPPED_RESULTS] if given is None else [str(in_home(given))]
    if chosen.watch and chosen.export:
        raise cli.UsageError("--watch and --export do different things: leave out one of them")
    if chosen.export_dir and not chosen.export:
        raise cli.UsageError(f"--export_dir belongs to --export={' or '.join(exporters.TRACKERS)}: give both, or leave "
                             "it out")
    if chosen.watch:
        folders, _ = _folders(results_dirs, chosen.ablation)
        live.watch(folders if chosen.ablation else [status.latest(folders)], console)
    elif chosen.export:
        folders, _ = _folders(results_dirs, chosen.ablation)
        console.print(exporters.export(folders, chosen.export, chosen.export_dir), markup=False, soft_wrap=True)
    else:
        own = () if chosen.metric in cells.METRICS else _own_metrics(_folders(results_dirs, chosen.ablation)[0])
        report(results_dirs, chosen.ablation, console, View(chosen.baseline, chosen.metric, chosen.select, own),
               kept=records.SHIPPED_RESULTS if given is None else None, full=chosen.full, pdf=chosen.pdf)


if __name__ == "__main__":
    _define_flags()
    cli.run(main, exporters.ExportError, records.RecordError, pooling.MixtureError, cells.ViewError)
