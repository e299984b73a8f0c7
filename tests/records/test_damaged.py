"""A file that is damaged is named with its own remedy and set apart; all others are reported as before."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
import synthetic
from rich.console import Console
from undrawn import undrawn

from harness import records
from harness.analysis.summarize import summarize
from harness.progress.status import Reader
from harness.records import configs, curves, files, outcomes
from harness.records.files import REMEDY
from harness.records.loaded import Loaded
from harness.records.reading import FormError
from harness.report import ReportError, _entry, report
from harness.reporting.captions import caption, weighty
from harness.training import probe

DATA = dataclasses.replace(synthetic.DATASET, test_examples=200)
RUNS = [synthetic.record({"a": level}, seed, 0.9 + 0.01 * seed, dataset=DATA) for level in "xy" for seed in range(2)]
BAD = synthetic.run_id(RUNS[1])
WRITTEN_AGAIN = "move the file away to have it written again"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    synthetic.write(folder, synthetic.plan({"a": ["x", "y"]}, RUNS), *RUNS, with_predictions=True)
    other = dataclasses.replace(RUNS[0], ablation="other")
    synthetic.write(folder, None, other, with_predictions=True)
    return folder


@pytest.fixture
def damage(results):
    """Puts content in a file's place, or what a function makes of it, and takes it back afterwards."""
    with contextlib.ExitStack() as back:
        def damaged(path, content):
            path = results / "made_up" / path
            whole = path.read_bytes()
            back.callback(path.write_bytes, whole)
            path.write_bytes(content(whole) if callable(content) else content)
            return records.Folder(results, "made_up")

        yield damaged


def put(*path, value):
    """Puts a value, or text that is JSON, at a place in a JSON file."""
    def changed(whole):
        stored = inner = json.loads(whole)
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = "@" if isinstance(value, bytes) else value
        text = json.dumps(stored).encode()
        return text.replace(b'"@"', value) if isinstance(value, bytes) else text

    return changed


def arrays(**changes):
    def changed(whole):
        with np.load(io.BytesIO(whole)) as stored:
            found = dict(stored)
        file = io.BytesIO()
        np.savez_compressed(file, **(found | {name: make(found[name]) for name, make in changes.items()}))
        return file.getvalue()

    return changed


def flipped(whole, place):
    return whole[:place] + bytes([whole[place] ^ 0b100]) + whole[place + 1:]


def line(number, text):
    def changed(whole):
        lines = whole.splitlines(keepends=True)
        lines[number] = text
        return b"".join(lines)

    return changed


DEEP = b"[" * 300 + b"]" * 300
POINTER = b"version https://git-lfs.github.com/spec/v1\n"
WHOLE_FILES = [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"seed": 1}', b"0" * 5000, POINTER]
VALUES = [
    (("seed",), None), (("seed",), "0"), (("seed",), -1), (("seed",), b"1" * 100), (("seed",), b"1" * 5000),
    (("seed",), True), (("stopped_early",), 1), (("seed",), 1.5),
    (("best", "test_accuracy"), b"NaN"), (("best", "test_accuracy"), b"1e999"),
    (("best", "test_accuracy"), b"1" * 400), (("best", "test_accuracy"), "high"), (("best", "test_accuracy"), -0.1),
    (("best", "test_accuracy"), 1.2), (("best", "test_loss"), -1.0), (("best",), None), (("best", "epoch"), 99),
    (("best", "test_loss"), b"1" * 400), (("epochs_trained",), -3), (("status",), "finished"),
    (("started_at",), "yesterday"), (("finished_at",), "0001-01-01T00:00:00"), (("labels",), None),
    (("labels",), {"a": 1}), (("config",), []), (("config", "batch_size"), 1), (("config", "more"), DEEP),
    (("config_hash",), "0" * 64), (("dataset",), []), (("dataset", "class_names"), "abc"),
    (("dataset", "image_shape"), [28, None]), (("environment", "packages"), None), (("cost", "layers"), [1]),
    (("cost", "parameters"), -1), (("timing", "train_s"), b"-Infinity"), (("timing",), "long"), (("schema",), []),
    (("schema",), 99), (("placement",), 7), (("backbone",), "none"), (("overrides",), [])]


def nested(whole):
    """Nests a configuration deep, with the hash that it then has."""
    stored = json.loads(whole)
    stored["config"]["more"] = json.loads(DEEP)
    return json.dumps(stored | {"config_hash": configs.config_hash(stored["config"])}).encode()


def test_what_is_nested_deep_is_refused_whatever_its_hash(damage):
    assert_named(read := Loaded(damage(f"runs/{BAD}/record.json", nested)), f"runs/{BAD}/record.json", REMEDY)
    assert BAD not in read.records


@pytest.mark.parametrize("content", [*WHOLE_FILES, *(put(*path, value=value) for path, value in VALUES)], ids=[
    *(repr(content[:8]) for content in WHOLE_FILES),
    *(f"{'.'.join(path)}={str(value)[:20]}" for path, value in VALUES)])
def test_a_damaged_record_is_a_missing_run(damage, content):
    folder = damage(f"runs/{BAD}/record.json", content)
    loaded = Loaded(folder)
    assert list(loaded.records) == [synthetic.run_id(run) for run in RUNS if synthetic.run_id(run) != BAD]
    assert_named(loaded, f"runs/{BAD}/record.json", "" if content is POINTER else REMEDY)
    sweep = Reader(folder).read(0.0)
    assert [run.state for run in sweep.runs] == ["done", "damaged", "done", "done"]
    assert sweep.recorded == 4, "or watching would never end"
    assert "record.json" in sweep.damaged[0]


def assert_named(loaded, path, remedy):
    """In one line, with its own remedy."""
    assert loaded.records
    [about] = loaded.apart.damaged
    assert about.startswith(f"{path} ")
    assert about.endswith(remedy)
    assert len(about) < 600
    assert "\n" not in about


def test_what_is_damaged_is_counted_under_the_table_and_in_the_index(damage):
    folder = damage(f"runs/{BAD}/record.json", b"{")
    loaded = Loaded(folder)
    summary = summarize("made_up", loaded.plan, loaded.records, apart=loaded.apart)
    assert [row.runs["missing"] for row in summary.rows] == [1, 0]
    [about] = loaded.apart.damaged
    assert f"Warning: 1 damaged file counted nowhere: {about}." in caption(summary)
    assert about in weighty(summary)[1], "after what is missing"
    assert _entry(folder).summary.apart == loaded.apart


def test_a_loss_that_is_large_and_finite_is_no_damage(damage):
    """A network that came near to diverging is recorded as done."""
    loaded = Loaded(damage(f"runs/{BAD}/record.json", put("last", "test_loss", value=3e25)))
    assert loaded.records[BAD].last.test_loss == 3e25
    assert not loaded.apart.damaged


CONTRADICTIONS = [
    ("record.json", put("best", "test_accuracy", value=0.915), "has a test accuracy of 0.915, and its predictions.npz"),
    ("predictions.npz", arrays(predicted=lambda values: np.roll(values, 5)), "predictions.npz 0 of 200 right"),
    ("record.json", put("best", "validation_accuracy", value=0.5), "has validation_accuracy = 0.5 of epoch 8"),
    ("curve.csv", line(8, b"8,0.2,0.93,0.3,0.5\n"), "of epoch 8, and its curve.csv 0.5")]


@pytest.mark.parametrize(("name", "content", "told"), CONTRADICTIONS, ids=[told[:30] for *_, told in CONTRADICTIONS])
def test_a_record_that_contradicts_what_lies_beside_it_is_a_missing_run(damage, name, content, told):
    folder = damage(f"runs/{BAD}/{name}", content)
    loaded = Loaded(folder)
    assert BAD not in loaded.records
    assert_named(loaded, f"runs/{BAD}/record.json", REMEDY)
    assert told in loaded.apart.damaged[0]


CURVES = {
    "empty": b"", "a pointer": POINTER, "no columns": b"epoch\n1\n", "binary": b"\xff\x00\xfe" * 9,
    "cut in half": lambda whole: whole[:len(whole) // 2],
    "a row less": lambda whole: whole[:whole[:-1].rindex(b"\n") + 1],
    "an epoch twice": line(3, b"2,0.2,0.9,0.3,0.9\n"), "text": line(3, b"3,high,0.9,0.3,0.9\n"),
    "beyond a fraction": line(3, b"3,0.2,7.9,0.3,0.9\n"), "below zero": line(3, b"3,-0.2,0.9,0.3,0.9\n"),
    "no number": line(3, b"3,0.2,0.9,,0.9\n"), "epoch beyond": line(3, b"9" * 40 + b",1,1,1,1\n"),
    "epoch of a billion digits": line(3, b"9" * 9999 + b",1,1,1,1\n")}


@pytest.mark.parametrize("content", CURVES.values(), ids=CURVES)
def test_a_damaged_curve_costs_its_run_no_more_than_the_curve(damage, content):
    folder = damage(f"runs/{BAD}/curve.csv", content)
    loaded = Loaded(folder)
    assert len(loaded.records) == len(loaded.predictions) == 4
    assert BAD not in loaded.curves
    assert_named(loaded, f"runs/{BAD}/curve.csv", "" if content is POINTER else curves.REMEDY)


PREDICTIONS = {
    "empty": b"", "a pointer": POINTER, "text": b"no archive", "cut in half": lambda whole: whole[:len(whole) // 2],
    "a bit": lambda whole: flipped(whole, 100), "too short": arrays(label=lambda values: values[:-1]),
    "two axes": arrays(predicted=lambda values: values[:, None]), "floats": arrays(predicted=lambda values: values / 2),
    "a class too high": arrays(predicted=lambda values: values + 9),
    "no probabilities": arrays(probability=lambda values: values + 1),
    "not finite": arrays(probability=lambda values: values * np.nan),
    "objects": arrays(label=lambda values: values.astype(object))}


@pytest.mark.parametrize("content", PREDICTIONS.values(), ids=PREDICTIONS)
def test_damaged_predictions_cost_their_run_no_more_than_these(damage, content):
    folder = damage(f"runs/{BAD}/predictions.npz", content)
    loaded = Loaded(folder)
    assert len(loaded.records) == len(loaded.curves) == 4
    assert BAD not in loaded.predictions
    assert_named(loaded, f"runs/{BAD}/predictions.npz", "" if content is POINTER else outcomes.REMEDY)
    assert "allow_pickle" not in loaded.apart.damaged[0] or content is PREDICTIONS["objects"], "no advice for this"


def test_a_bit_of_predictions_that_flips_is_never_another_number(tmp_path):
    path = tmp_path / "predictions.npz"
    files.write_arrays(path, synthetic.predictions(RUNS[0]))
    whole, told = path.read_bytes(), files.read_arrays(path)
    named = 0
    for place in range(0, len(whole), 5):
        path.write_bytes(flipped(whole, place))
        try:
            read = files.read_arrays(path)
        except (OSError, ValueError):
            named += 1
        else:
            assert all(np.array_equal(told[name], array) for name, array in read.items() if name in told)
    assert named > len(whole) / 10


CLAIM = {"source": "s", "metric": "test_accuracy", "value": 0.9, "kind": "about", "within": 0.1, "state": "last",
         "labels": {}, "over": None, "protocol": ""}
RULE = {"within": 0.01, "step": 2, "seeds": [0, 1, 2, 3]}
FIXED = {"at": "2026-01-01T00:00:00+00:00", "score": "test_accuracy", "select": "last", "comparisons": {}, "seeds": [0]}
PLANS = [*WHOLE_FILES[:-1], put("question", value=None), put("runs", value=[7]), put("runs", 0, "seed", value=-1),
         put("runs", 0, "seed", value=b"1" * 200), put("factors", value={"a": []}), put("factors", "a", value=None),
         put("fixed", value=FIXED | {"select": "first"}),
         *(put("stopping", value=RULE | {name: value})
           for name, value in {"step": 5, "within": -0.1, "seeds": []}.items()),
         *(put("claims", value=[CLAIM | {name: value}])
           for name, value in {"kind": "near", "state": "first", "value": None, "within": "far"}.items())]


@pytest.mark.parametrize("content", PLANS)
def test_without_a_damaged_plan_all_records_count(damage, content):
    folder = damage("plan.json", content)
    loaded = Loaded(folder)
    assert loaded.plan is None
    assert len(loaded.records) == 4
    assert_named(loaded, "plan.json", WRITTEN_AGAIN)
    sweep = Reader(folder).read(0.0)
    assert [run.state for run in sweep.runs] == ["done"] * 4
    assert "plan.json" in sweep.damaged[0]


def test_a_claim_of_what_nobody_measures_is_not_measured(damage):
    folder = damage("plan.json", put("claims", value=[
        CLAIM | {"metric": metric}
        for metric in ("test_accuracx", "nothing", "layer_held", "layers", "confusion_rank")]))
    loaded = Loaded(folder)
    summary = summarize("made_up", loaded.plan, loaded.records, predictions=loaded.predictions)
    assert {claim.verdict for claim in summary.claims} == {"not measured"}


LAYOUT = {"runs": 1, "data": 1, "members": 1, "parallel": "jit", "form": None}


@pytest.mark.parametrize("stored", [None, [], {"why": "x"}, {"layout": None, "why": "x"}, *(
    {"layout": LAYOUT | {name: value}, "why": "x"} for name, value in [
        ("runs", 0), ("data", -1), ("members", 2**40), ("runs", "1"), ("parallel", "both"), ("form", "odd")])], ids=str)
def test_a_damaged_layout_is_no_layout(stored):
    assert probe.kept({"layout": LAYOUT, "why": "x"}).layout.slots == 1
    with pytest.raises(FormError, match="has "):
        probe.kept(stored)


def test_a_report_shows_the_table_names_the_damage_and_fails(results, damage):
    damage(f"runs/{BAD}/record.json", b"{")
    console = Console(file=io.StringIO(), width=100)
    with undrawn(), pytest.raises(ReportError) as failed:
        report([str(results)], [], console)
    assert str(results / "made_up" / "runs" / BAD / "record.json") in str(failed.value)
    assert "\n" not in str(failed.value)
    shown = console.file.getvalue()
    assert "made_up: Does it help?" in shown
    assert "other: Does it help?" in shown
    assert "1 damaged file counted nowhere" in shown
    for page in (results / "made_up" / "report.html", results / "index.html"):
        assert f"{BAD}/record.json" in page.read_text()
    assert "1 damaged file counted nowhere" in (results / "made_up" / "report.html").read_text()
