"""A recorded run trained again: the same layout, the same numbers, or what differs first."""

import collections
import dataclasses
import itertools
import types

import commands
import numpy as np
import pytest
import synthetic
from place import ROOT
from rich.console import Console

from ablations import lookup
from ablations.spec import SpecError
from harness import cli, records
from harness.cli import replay as command
from harness.records import again, configs, replayed
from harness.training import layout, replay
from harness.training.layout import Layout

RUN = synthetic.record({"a": "x"}, 0, 0.9)
ID = synthetic.run_id(RUN)
LAYOUTS = [one for fields in itertools.product(
    (1, 2, 12), (1, 4), (1, 16), ("jit", "pmap"), (None, "winograd"), (None, "YNNPACK"),
    (False, True)) if (one := Layout(*fields)).is_possible]


@pytest.mark.parametrize("one", LAYOUTS, ids=str)
def test_a_layout_is_read_as_it_is_written(one):
    assert layout.parsed(str(one)) == one


@pytest.mark.parametrize("text", [
    "", "fast", "0 devices, one run", "2 device, one run on each", "1 device, one run on each",
    "3 devices, one run on every 2, batches split", "1 device, one run, convolutions by x",
    "1 device, one run, data streamed, by pmap",
    f"{9**9} devices, one run on each"])
def test_another_text_is_no_layout(text):
    with pytest.raises(SpecError, match="no layout is called"):
        layout.parsed(text)


def test_a_layout_needs_its_devices():
    assert layout.asked_for(None, 1) is None
    with pytest.raises(SpecError, match="needs 2 devices, and there are 1; on a CPU --devices=2 makes them"):
        layout.asked_for("2 devices, one run on each", 1)


def test_the_command_of_a_record_names_its_first_layout():
    placement = records.Placement(("2 devices, one run on each", "1 device, one run"), "", 1, 0, 0)
    told = again.commands(ID, dataclasses.replace(RUN, placement=placement))[1]
    assert "'--layout=2 devices, one run on each'" in told


@pytest.fixture
def original(tmp_path):
    return synthetic.write(tmp_path / "before", None, RUN, with_predictions=True).run(ID)


def trained(tmp_path, curve=None, arrays=None, **changes):
    """Writes a run as if it had been trained again."""
    changed, folder = dataclasses.replace(RUN, **changes), records.Folder(tmp_path / "now", "made_up")
    folder.write(ID, changed, synthetic.curve(RUN) if curve is None else curve,
                 synthetic.predictions(RUN) if arrays is None else arrays)
    return folder.run(ID)


def test_the_same_numbers_are_equal_whatever_time_they_took(original, tmp_path):
    timing = dataclasses.replace(RUN.timing, train_s=1e3)
    found = replayed.compare(original, trained(tmp_path, timing=timing, finished_at="2026-01-01T00:00:00"))
    assert found == replayed.Outcome(True, "equal: 8 epochs and 10,000 test predictions, to the last digit")


def test_the_first_number_that_differs_is_named_and_what_else_is_not_as_it_was(original, tmp_path):
    curve = synthetic.curve(RUN)
    curve.loc[2:, "validation_loss"] *= 1 + 1e-6
    machine = dataclasses.replace(RUN.environment, packages={"jax": "0.12.0"}, device="another")
    found = replayed.compare(original, trained(tmp_path, curve, environment=machine))
    assert not found.is_equal
    assert found.line.startswith("different: validation_loss of epoch 3, ")
    assert "alike to 6 digits" in found.line
    assert "jax: 0.10.2 -> 0.12.0" in found.line
    assert "another" in found.line


@pytest.mark.parametrize("kept", ["before", "now"])
def test_without_the_predictions_of_one_the_other_numbers_are_compared(original, tmp_path, kept):
    now = trained(tmp_path)
    (now if kept == "before" else original).joinpath("predictions.npz").unlink()
    found = replayed.compare(original, now)
    assert found.is_equal
    assert found.line == "equal: 8 epochs; test predictions are not kept of both, to the last digit"


@pytest.mark.parametrize(("changes", "told"), [
    ({"status": "diverged"}, "status, done and diverged"),
    ({"last": dataclasses.replace(RUN.last, test_accuracy=0.5)}, "last.test_accuracy, 0.896 and 0.5"),
    ({"arrays": synthetic.predictions(RUN) | {"probability": np.full(10_000, 0.5, np.float16)}},
     "probability of 10000 test examples, the first is 0: 0.89")])
def test_status_scores_and_predictions_are_compared_too(original, tmp_path, changes, told):
    found = replayed.compare(original, trained(tmp_path, **changes))
    assert not found.is_equal
    assert told in found.line


def test_a_run_is_found_by_record_or_folder_and_one_without_numbers_is_refused(original, tmp_path):
    assert replay.find(str(original)) == replay.find(str(original / "record.json"))
    with pytest.raises(records.RecordError, match="there is no such record"):
        replay.find(str(tmp_path))
    failed = synthetic.write(tmp_path / "failed", None, synthetic.record({"a": "x"}, 0, None, status="oom")).run(ID)
    with pytest.raises(records.RecordError, match="recorded as oom and has no numbers"):
        replay.find(str(failed))


@pytest.mark.parametrize("name", ["", ":WIDE"])
@pytest.mark.parametrize("folder", ["12:30", "a study"])
def test_the_file_of_an_ablation_is_looked_for_where_the_record_lies_whatever_its_folder_is_called(
        tmp_path, folder, name):
    file = tmp_path / folder / "mine.py"
    file.parent.mkdir()
    file.touch()
    made = replay.Replay(tmp_path / "results" / "mine" / "runs" / ID,
                         dataclasses.replace(RUN, origin=f"{folder}/mine.py{name}"))
    assert made.arguments()[0] == f"--ablation={file}{name}"


def test_what_the_ablation_no_longer_says_is_not_trained():
    folder = records.Folder(ROOT / records.SHIPPED_RESULTS, "kmnist_mlp")
    wanted = replay.find(str(folder.run(folder.recorded()[0])))
    from ablations import get

    runs = get("kmnist_mlp").runs()
    assert wanted.run_of(runs).run_id == folder.recorded()[0]
    with pytest.raises(records.RecordError, match="no longer has"):
        wanted.run_of(runs[1:] if runs[0].run_id == wanted.run_id else runs[:1])
    config = wanted.record.config | {"batch_size": 1}
    changed = dataclasses.replace(wanted.record, config=config, config_hash=configs.config_hash(config))
    with pytest.raises(records.RecordError, match="its ablation now says batch_size: 1 -> "):
        dataclasses.replace(wanted, record=changed).run_of(runs)


def test_a_record_whose_ablation_was_named_otherwise_is_found_again_where_it_is_trained_now(tmp_path):
    """Overrides whose text loses characters in a folder's name were once written without a hash."""
    overrides = {"dataset": "npz:/a/my set.npz", "augment.erase_area": [0.1, 0.2]}
    old = dataclasses.replace(RUN, ablation="quickstart,augment.erase_area=0.1_0.2,dataset=npz_a_my_set.npz",
                              overrides=overrides)
    study = lookup.overridden(lookup.find("quickstart"), overrides | {"augment.erase_area": (0.1, 0.2)}, (0,))
    assert replay.Replay(tmp_path, old)._again(str(tmp_path)) == records.Folder(tmp_path, study.name).run(ID)
    assert study.name != old.ablation


def test_nothing_is_trained_over(original, tmp_path):
    wanted = replay.find(str(original))
    trained(tmp_path)
    with pytest.raises(records.RecordError, match="nothing is overwritten"):
        wanted.refuse_recorded(str(tmp_path / "now"))


class Chosen(collections.defaultdict):
    """Flags of which --results_dir alone is given, or none."""

    dry_run = False

    def __init__(self, results_dir):
        super().__init__(lambda: types.SimpleNamespace(present=False))
        self.results_dir = results_dir
        self["results_dir"].present = bool(results_dir)

    def __call__(self, arguments):
        self["results_dir"].present = True  # as replay says where to train


@pytest.mark.parametrize(("results_dir", "said"), [
    ("", "stopped, and nothing is kept: .* if --results_dir=DIR is given"), ("now", "run the same command again")])
def test_a_replay_that_is_stopped_says_what_is_kept_of_it(original, tmp_path, monkeypatch, results_dir, said):
    def carry_out(wanted):
        raise cli.StoppedError("stopped; run the same command again to go on from here")

    monkeypatch.setattr(command, "flags", types.SimpleNamespace(
        FLAGS=Chosen(results_dir and str(tmp_path / results_dir))))
    with pytest.raises(cli.StoppedError, match=said) as stopped:
        command.replay(str(original), Console(), carry_out)
    assert stopped.value.exit_code == 75


@pytest.mark.slow
def test_a_replay_trains_the_record_again_and_fails_where_a_digit_differs(tmp_path):
    only = ["--ablation=quickstart", "--epochs=2", "--seeds=3", "--only=network=mlp,regularizer=batch_norm,"]
    before = commands.here().run("harness.run", *only, f"--results_dir={tmp_path}/before")
    assert before.returncode == 0, before.stderr
    [record] = (tmp_path / "before").rglob("record.json")
    equal = commands.here().run("harness.run", f"--replay={record}", f"--results_dir={tmp_path}/now")
    assert equal.returncode == 0, equal.stderr
    assert equal.stdout.splitlines()[-1].startswith("equal: 2 epochs and ")
    again = commands.here().run("harness.run", f"--replay={record}", f"--results_dir={tmp_path}/now")
    assert again.returncode == 1
    assert "nothing is overwritten" in again.stderr
    curve = record.with_name("curve.csv")
    rows = curve.read_text().splitlines()
    curve.write_text("\n".join([rows[0], f"1,9.25,{rows[1].split(',', 2)[2]}", *rows[2:]]))
    different = commands.here().run("harness.run", f"--replay={record}")
    assert different.returncode == 1
    assert different.stderr.startswith("error: different: train_loss of epoch 1, 9.25 and ")


def test_nothing_that_lies_with_results_is_executed(tmp_path):
    written = dataclasses.replace(RUN, origin="results/made_up/sources/study.py")
    folder = records.Folder(tmp_path / "results", "made_up")
    folder.write(ID, written, synthetic.curve(RUN), synthetic.predictions(RUN))
    copy = tmp_path / "results/made_up/sources/study.py"
    copy.parent.mkdir(parents=True)
    copy.write_text("raise SystemExit")
    with pytest.raises(records.RecordError, match="lies with the results, and nothing there is executed"):
        replay.find(str(folder.run(ID))).arguments()
