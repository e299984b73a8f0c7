"""Tells what a trained network sees in pictures: a row for each file, with its label and the label's probability.

  python -m harness.predict --run=my_results/quickstart/runs/RUN a.png b.jpg    of one run, which keeps its network
  python -m harness.predict --run=my_results/quickstart PICTURES/               of an ablation, its best cell; a folder
  python -m harness.predict --run=my_results/quickstart --split=test            accuracy on the run's own test set

Pictures of any size and mode are brought to what the network reads by the rule that it was trained with. A folder is
walked as a data set is; where its pictures lie in folders named like classes, the accuracy is told. A file that is no
picture is told in a line and leaves a row without a label, and the command ends with 1. Rows are printed as they come;
files asked for with --csv, --json and --html are there when all is done, and as they were where it fails.

A run keeps its network as model.safetensors and config.json if it is the first seed of its cell (harness.run
--keep_weights); both files may be copied to any other folder and used there. In Python:

  network = harness.load("my_results/quickstart"); network("a.png")             probabilities of network.class_names

Nothing in a folder of results is executed. A network of a class of your own needs the file that defines the class, as
it was then: --ablation=my_study.py, or --trust_code for the copy of it that was kept with the results.
"""

import contextlib
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

if not __package__:  # python harness/predict.py, which puts that folder on the path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it imports, Ctrl-C ends it without a traceback

from absl import flags
from rich.console import Console

import ablations
from ablations.spec import SpecError
from harness import cli, data, records
from harness.data.layout import SUFFIXES
from harness.records.files import in_home, opened_atomic
from harness.records.kept import KeptError, KeptNetwork, read
from harness.reporting.page.predictions import Shown, predictions_page
from harness.serving import configuration, locate, network, pictures, tables
from harness.serving.pictures import Prediction, Tally
from harness.training import environment

RUN = flags.DEFINE_string("run", None, "Folder of a run that keeps its network, of an ablation, or of a copy of "
                          "model.safetensors and config.json.")
TOPK = flags.DEFINE_integer("topk", 1, "How many labels to tell of each picture, the likeliest first.", lower_bound=1)
SPLIT = flags.DEFINE_enum("split", None, ["test", "validation"], "Classify this split of the run's own data set.")
CSV = flags.DEFINE_string("csv", None, "File to write a row for each picture into: filename, label, prob.")
JSON = flags.DEFINE_string("json", None, "File to write the same into as JSON.")
HTML = flags.DEFINE_string("html", None, "File to write a page with the pictures into.")
ABLATION = flags.DEFINE_string("ablation", "", "File or module that defines the network's class, if it is your own.")
TRUST_CODE = flags.DEFINE_bool("trust_code", False, "Execute the copy of that file which lies with the results.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "For --split: folder of the data sets, as harness.run has it.")

EXPECTED = (KeptError, records.RecordError, data.DataError, SpecError, ablations.UnknownAblationError,
            environment.DeviceError)
_MOST_SHOWN = 1000  # pictures on a page
# Of what a table never is.
_NO_TABLES = (*SUFFIXES, ".py", ".npz", ".safetensors")


class Page:
    """The page with the first pictures, written when all are known."""

    def __init__(self, file: BinaryIO, kept: KeptNetwork, tally: Tally):
        self._file, self._kept, self._tally = file, kept, tally
        self._shown: list[Shown] = []

    def add(self, one: Prediction) -> None:
        """Keeps a picture, of which there may be more than fit the memory."""
        if len(self._shown) < _MOST_SHOWN:
            self._shown.append(Shown(tables.readable(one.name), one.pixels, one.ranked, one.truth or "",
                                     tables.readable(one.error)))

    def end(self) -> None:
        """Writes the page."""
        kept, total = self._kept, self._tally.total
        cut = [f"The first {_MOST_SHOWN:,} of {total:,} are shown."] if total > _MOST_SHOWN else []
        about = (f"{kept.architecture} trained on {kept.data}, weights of epoch {kept.scores.epoch}. Each picture is "
                 "shown as the network reads it.")
        self._file.write(predictions_page(f"{kept.ablation}, {kept.run_id}", [about, *_facts(self._tally, kept), *cut],
                                          self._shown))


def main(names: Sequence[str]) -> None:
    """Carries out the command."""
    if RUN.value is None:
        raise cli.UsageError("--run=FOLDER is needed: an ablation's, such as my_results/quickstart, or a run's in it")
    if bool(names) == bool(SPLIT.value):
        raise cli.UsageError("name the pictures or folders to classify, or give --split=test; one of the two")
    paths = _outputs()
    environment.configure(1)
    console, tally = Console(), Tally()
    with contextlib.ExitStack() as stack:
        files = {flag: stack.enter_context(opened_atomic(path)) for flag, path in paths.items()}
        kept = _predict(RUN.value, names, files, tally, console)
    for line in (*(tables.shown(f"written: {path}") for path in paths.values()), *_facts(tally, kept)):
        _tell(console, line)
    if tally.unreadable:
        raise cli.UsageError(f"{tally.unreadable} of {tally.total} files could not be read")


def _outputs() -> dict[str, pathlib.Path]:
    """Reads which files are to be written: flag -> file.

    Raises:
      cli.UsageError: if two are the same.
    """
    found: dict[pathlib.Path, str] = {}
    paths = {flag.name: in_home(flag.value) for flag in (CSV, JSON, HTML) if flag.value}
    for flag, path in paths.items():
        if (other := found.setdefault(path.resolve(), flag)) != flag:
            raise cli.UsageError(f"--{other} and --{flag} both name {path}: give each a file of its own")
        if path.name.casefold().endswith(_NO_TABLES) or (flag != JSON.name and path.suffix.casefold() == ".json"):
            raise cli.UsageError(f"--{flag}={path} names a file of another kind, which would be written over: give a "
                                 f"name that ends in .{flag}")  # the name was forgotten, and a picture's follows
    return paths


def _predict(run: str, names: Sequence[str], files: Mapping[str, BinaryIO], tally: Tally, console: Console
             ) -> KeptNetwork:
    """Classifies the pictures and writes what comes of each at once.

    Raises:
      data.DataError: if a folder or a data set is not there, or not as it was.
    """
    folder, told = locate.find(run)
    if told:
        _tell(console, told)
    kept = read(folder)
    config = configuration.of(kept, folder, ABLATION.value, trust_code=TRUST_CODE.value, with_data=bool(SPLIT.value))
    classifier = network.restored(folder, kept, config)
    topk = min(TOPK.value, len(kept.class_names))
    if SPLIT.value:
        found, with_truth, rows = _of_split(classifier, SPLIT.value, topk), True, None
    else:
        asked, notes = pictures.asked(names, kept.class_names)
        for note in notes:
            _tell(console, tables.shown(note))
        found, with_truth = pictures.predictions(classifier, asked, topk), any(one.truth is not None for one in asked)
        rows = tables.Rows((str(one.file) for one in asked), kept.class_names)
    make: dict[str, Callable[[BinaryIO], tables.Output]] = {
        CSV.name: lambda file: tables.Csv(file, topk, with_truth=with_truth), JSON.name: tables.Json,
        HTML.name: lambda file: Page(file, kept, tally)}
    outputs = [make[flag](file) for flag, file in files.items()]
    for one in found:
        tally.add(one)
        for output in outputs:
            output.add(one)
        if one.error:
            print(f"error: {tables.shown(one.error)}", file=sys.stderr)
        if rows:
            _tell(console, rows.row(one))
    for output in outputs:
        output.end()
    return kept


def _of_split(classifier: network.Classifier, split: str, topk: int) -> Iterator[Prediction]:
    """Classifies a split of the data set that the run was of.

    Raises:
      data.DataError: if the data set is not there, or not as it was.
    """
    kept, config = classifier.kept, classifier.config
    loaded = data.load(config.dataset, DATA_DIR.value, validation_size=config.validation_size, skip_unreadable=True,
                       tell=lambda line: None)
    if loaded.fingerprint != kept.data_fingerprint:
        raise data.DataError(f"{kept.data} is not as it was when the run was trained: its fingerprint is "
                             f"{loaded.fingerprint[:16]}..., that of the run's data {kept.data_fingerprint[:16]}...")
    if loaded.class_names != kept.class_names:
        raise data.DataError(f"{kept.data} is not as it was when the run was trained: its classes are "
                             f"{', '.join(loaded.class_names)}, then {', '.join(kept.class_names)}")
    return pictures.of_split(classifier, split, getattr(loaded, split), topk)


def _facts(tally: Tally, kept: KeptNetwork) -> list[str]:
    if not tally.judged:
        return []
    stated = ""
    if SPLIT.value:
        score = getattr(kept.scores, f"{SPLIT.value}_accuracy")
        stated = f"; the record says {score:.4f}, of the {kept.state} weights"
    unknown = tally.total - tally.unreadable - tally.judged
    of_others = f"; the class of {unknown} more is not known" if unknown else ""
    return [f"accuracy {tally.right / tally.judged:.4f} ({tally.right:,} of {tally.judged:,} pictures){stated}"
            f"{of_others}"]


def _tell(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    cli.run(main, *EXPECTED, takes_names=True)
