import io
import textwrap

import numpy as np
import pytest
from place import ROOT
from rich.console import Console

import ablations
from harness.data import Dataset, Split, inputs
from harness.progress.dry_run import about, show, told
from harness.records import Cost
from harness.training import cost
from harness.training import estimate as estimates
from harness.training.estimate import CellEstimate, SweepEstimate

COST = Cost((), 4_200_842, 4_200_842, 299_507_072, 10**7, 10**7, 10**7, 10**7, 72_600_000, None, None)
LABELS = [{"network": "mobilenet", "regularizer": name} for name in ("none", "batch norm", "dropout and l2")]
HEADERS = ["runs", "time", "memory", "disk", "parameters", "MACs/"]
WORDS = {*HEADERS, "MiB", "example", "min", "network,", "regularizer", "mobilenet,", "none", "batch", "norm", "dropout",
         "and", "l2"}


def sweep(wall_s=700.0, apart=1.0, features_s=0.0):
    cells = tuple(CellEstimate(",".join(labels.values()), labels, 5, COST, wall_s, 10**8) for labels in LABELS)
    return SweepEstimate(cells, 2, 10.0, features_s, 42, apart)


def shown(width, estimate):
    console = Console(file=io.StringIO(), width=width)
    show(estimate, "mine", "a CPU", console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_columns_go_by_importance_and_words_stay_whole(width):
    text = shown(width, sweep())
    assert max(map(len, text.splitlines())) <= width
    table = text.partition("\n\n")[0]
    there = [header for header in HEADERS if header in table]
    assert there == HEADERS[:len(there)]
    assert len(there) == len(HEADERS) or width < 80
    assert {word for word in table.split() if not word[0].isdigit()} <= WORDS
    assert {"mobilenet,", "regularizer", "dropout"} <= set(table.split())


def test_the_text_says_the_total_and_where_it_comes_from():
    text = told(sweep(), ["mine"], "a CPU")
    assert "15 runs, 2 compiled programs: about 35 min in all" in text
    assert "from the speed of 42 runs recorded on a CPU." in text
    assert "about 286.1 MiB" in text
    assert "differ by up to 36 times in MACs: rough" in told(sweep(apart=36.2), ["mine"], "a CPU")


def test_features_are_told_apart():
    assert "features come on top if they are not kept yet: about 24 min" in told(sweep(features_s=1440.0), ["mine"], "")
    assert "in a time unknown" in told(sweep(features_s=None), ["mine"], "")


def test_an_unknown_time_says_how_to_get_it():
    text = told(sweep(wall_s=None), ["--ablation=my studies/mine.py:WIDTH", "--results_dir=mine"], "a CPU")
    assert "time unknown on this machine (a CPU)" in text
    assert "python -m harness.run '--ablation=my studies/mine.py:WIDTH' --results_dir=mine --smoke" in text
    assert "unknown" in shown(80, sweep(wall_s=None)).partition("\n\n")[0]


@pytest.mark.parametrize(("seconds", "text"), [
    (0.2, "1 s"), (119, "119 s"), (120, "2.0 min"), (3599, "60 min"), (7200, "2.0 h"), (86_400 * 20, "20 d")])
def test_times_are_as_rough_as_they_are_known(seconds, text):
    assert about(seconds) == text


def foretold(name):
    """A dry run on the machine of the shipped records, as its page shows it; pixels do not matter."""
    def split(examples):
        return Split(np.broadcast_to(np.uint8(0), (examples, 28, 28, 1)), np.broadcast_to(np.uint8(0), (examples,)))

    runs = ablations.get(name).runs()
    images = Dataset(name=runs[0].config.dataset, train=split(55_000), validation=split(5_000), test=split(10_000),
                     class_names=tuple("abcdefghij"), fingerprint="", pixels="", official=True, warnings=(), source="")
    found = {inputs.key(run.config): inputs.Inputs(images) for run in runs}
    device = "Intel(R) Xeon(R) Processor, 2 cores"
    estimate = estimates.sweep(runs, found, cost.measure_all(runs, found), estimates.speeds([ROOT / "results"], device),
                               keeps=True)
    console = Console(file=io.StringIO(), width=80)
    show(estimate, [f"--ablation={name}"], device, console)
    lines = (line.rstrip() for line in console.file.getvalue().rstrip().splitlines())
    return textwrap.indent("\n".join(lines), "    ")


def test_what_build_shows_of_a_dry_run_is_what_the_shipped_records_foretell():
    assert f"\n{foretold('fashion_regularization')}\n" in (ROOT / "harness/reporting/README.md").read_text()
