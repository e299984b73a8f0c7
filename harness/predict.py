"""Tells what a trained network sees in pictures: a row for each file, with its label and the label's probability.

  python -m harness.predict --run=my_results/quickstart/runs/RUN a.png b.jpg    of one run, which keeps its network
  python -m harness.predict --run=my_results/quickstart PICTURES/               of an ablation, its best cell; a folder
  python -m harness.predict --run=my_results/quickstart --split=test            accuracy on the run's own test set

Pictures of any size and mode are brought to what the network reads by the rule that it was trained with. A folder is
walked as a data set is; where its pictures lie in folders named like classes, the accuracy is told. A file that is no
picture is told in a line and leaves a row without a label, and the command ends with 1.

A run keeps its network as model.safetensors and config.json if it is the first seed of its cell (harness.run
--keep_weights); both files may be copied to any other folder and used there. In Python:

  network = harness.load("my_results/quickstart"); network("a.png")             probabilities of network.class_names

Nothing in a folder of results is executed. A network of a class of your own needs the file that defines the class, as
it was then: --ablation=my_study.py, or --trust_code for the copy of it that was kept with the results.
"""

import pathlib
import sys
from collections.abc import Sequence

if not __package__:  # python harness/predict.py, which puts that folder on the path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from absl import flags
from rich.console import Console

import ablations
from ablations.spec import SpecError
from harness import cli, data, records
from harness.records.files import write_atomic
from harness.records.kept import KeptError
from harness.reporting.page.predictions import Shown, predictions_page
from harness.serving import configuration, locate, network, pictures, tables
from harness.serving.pictures import Prediction
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


def main(names: Sequence[str]) -> None:
    """Carries out the command."""
    if RUN.value is None:
        raise cli.UsageError("--run=FOLDER is needed: an ablation's, such as my_results/quickstart, or a run's in it")
    if bool(names) == bool(SPLIT.value):
        raise cli.UsageError("name the pictures or folders to classify, or give --split=test; one of the two")
    environment.configure(1)
    console = Console()
    folder, told = locate.find(RUN.value)
    if told:
        _tell(console, told)
    classifier = network.load(folder, ablation=ABLATION.value, trust_code=TRUST_CODE.value)
    topk = min(TOPK.value, len(classifier.class_names))
    split = SPLIT.value
    found = _of_split(classifier, folder, split, topk) if split else _of_files(classifier, names, topk, console)
    facts = _facts(found, classifier)
    _write(found, classifier, facts, topk, console)
    for fact in facts:
        _tell(console, fact)
    if bad := sum(bool(one.error) for one in found):
        raise cli.UsageError(f"{bad} of {len(found)} files could not be read")


def _of_files(classifier: network.Classifier, names: Sequence[str], topk: int, console: Console) -> list[Prediction]:
    """Classifies files and prints a row for each."""
    asked, notes = pictures.asked(names, classifier.class_names)
    for note in notes:
        _tell(console, note)
    found = []
    for one in pictures.predictions(classifier, asked, topk):
        found.append(one)
        if one.error:
            print(f"error: {tables.shown(one.error)}", file=sys.stderr)
    for row in tables.rows(found):
        _tell(console, row)
    return found


def _of_split(classifier: network.Classifier, folder: pathlib.Path, split: str, topk: int
              ) -> list[Prediction]:
    """Classifies a split of the data set that the run was of.

    Raises:
      data.DataError: if the data set is not there, or not as it was.
    """
    kept = classifier.kept
    config = configuration.of(kept, folder, ABLATION.value, trust_code=TRUST_CODE.value, with_data=True)
    loaded = data.load(config.dataset, DATA_DIR.value, validation_size=config.validation_size, skip_unreadable=True,
                       tell=lambda line: None)
    if loaded.fingerprint != kept.data_fingerprint:
        raise data.DataError(f"{kept.data} is not as it was when the run was trained: its fingerprint is "
                             f"{loaded.fingerprint[:16]}..., that of the run's data {kept.data_fingerprint[:16]}...")
    return list(pictures.of_split(classifier, split, getattr(loaded, split), topk))


def _facts(found: Sequence[Prediction], classifier: network.Classifier) -> list[str]:
    right, judged = pictures.accuracy(found)
    if not judged:
        return []
    stated = ""
    if SPLIT.value:
        score = getattr(classifier.kept.scores, f"{SPLIT.value}_accuracy")
        stated = f"; the record says {score:.4f}, of the {classifier.kept.state} weights"
    unknown = sum(one.truth is None and not one.error for one in found)
    of_others = f"; the class of {unknown} more is not known" if unknown else ""
    return [f"accuracy {right / judged:.4f} ({right:,} of {judged:,} pictures){stated}{of_others}"]


def _write(found: Sequence[Prediction], classifier: network.Classifier, facts: Sequence[str], topk: int,
           console: Console) -> None:
    files = {CSV.value: lambda: tables.as_csv(found, topk).encode(), JSON.value: lambda: tables.as_json(found).encode(),
             HTML.value: lambda: _page(found, classifier, facts)}
    for path, content in files.items():
        if path:
            write_atomic(pathlib.Path(path), content())
            _tell(console, f"written: {path}")


def _page(found: Sequence[Prediction], classifier: network.Classifier, facts: Sequence[str]) -> bytes:
    kept = classifier.kept
    cut = [f"The first {_MOST_SHOWN:,} of {len(found):,} are shown."] if len(found) > _MOST_SHOWN else []
    about = (f"{kept.architecture} trained on {kept.data}, weights of epoch {kept.scores.epoch}. Each picture is shown "
             "as the network reads it.")
    return predictions_page(f"{kept.ablation}, {kept.run_id}", [about, *facts, *cut], [
        Shown(tables.readable(one.name), one.pixels, one.ranked, one.truth or "", one.error)
        for one in found[:_MOST_SHOWN]])


def _tell(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    cli.run(main, *EXPECTED, takes_names=True)
