import collections
import dataclasses
import html.parser
import json
import re
import shlex

import pytest
import synthetic
from pages import HOSTILE, PNG, Picture, built, hostile_page, invented

from harness import cli
from harness.analysis.power import Planned
from harness.analysis.stats import Estimate
from harness.analysis.summarize import summarize
from harness.analysis.verdict import Verdict
from harness.records import BackboneFacts, again
from harness.records.configs import as_json
from harness.reporting import answer, colours
from harness.reporting.page import cells, index, page, shell, words
from harness.reporting.page import runs as page_runs
from harness.reporting.render import Cell, Column, Table
from harness.reporting.tables import report


class Structure(html.parser.HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.cdata_elem == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def find(self, tag, **attributes):
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


def test_the_answer_is_the_finding_of_the_tables():
    runs = invented("ab")
    summary = summarize("made_up", synthetic.plan({"option": ["a", "b"]}, runs), synthetic.as_read(*runs))
    assert cells.answer(summary) == answer.sentences(summary)
    assert "Against a: b (" in cells.answer(summary)[0]
    alone = dataclasses.replace(summary, verdict=Verdict())
    assert cells.answer(alone) == ["Too few cells are done to compare them."]


def test_the_same_records_give_the_same_bytes():
    runs = invented("abc")
    assert built(runs, "abc") == built(list(runs), "abc")


def test_a_page_loads_nothing_and_runs_only_its_own_scripts():
    found = Structure(built(invented("abc"), "abc", [Picture("dot", "Dot", "A dot.", PNG)]))
    for _, attributes in found.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert not re.match(r"(?i)\s*(https?:|//|javascript:)", attributes.get(name) or "")
    [policy] = [meta["content"] for meta in found.find("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    allowed = re.search(r"script-src ([^;]*)", policy)[1].split()
    programs = [text for attributes, text in found.scripts if attributes.get("type", "module") == "module"]
    assert allowed == ["blob:", *(f"'{shell._hash(text)}'" for text in programs)]
    assert len(programs) == 2


def test_json_in_a_page_ends_no_element_and_comes_back_unchanged():
    value = {text: [text, {"deep": text}] for text in HOSTILE}
    written = str(shell.embed_json(value))
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == value


def test_hostile_text_adds_no_element_and_no_attribute():
    plain = Structure(hostile_page([f"text{place}" for place in range(len(HOSTILE))]))
    hostile = Structure(hostile_page(HOSTILE))

    def shape(found):
        return [(tag, sorted(attributes)) for tag, attributes in found.elements]

    assert shape(hostile) == shape(plain)
    assert collections.Counter(tag for tag, _ in shape(plain))["script"] == 5
    assert len(hostile.find("select")) == len(plain.find("select")) == 1
    links = [attributes["href"] for attributes in hostile.find("a")]
    assert all(re.fullmatch(r"#[\w=]+|\.\./index\.html", link) for link in links)


def data_of(content):
    [text] = [text for attributes, text in Structure(content).scripts if attributes.get("id") == "data"]
    return json.loads(text)


def test_every_run_is_told_whole_and_what_recurs_is_kept_once():
    runs = invented("abc")
    records = synthetic.as_read(*runs)
    data = data_of(built(runs, "abc"))
    assert [run["id"] for run in data["runs"]] == list(records)
    for run, record in zip(data["runs"], map(as_json, records.values()), strict=True):
        told = {name: dict(data["shared"][place]) for name, place in run["shared"].items()}
        assert told["config"]["labels: option"] == record["labels"]["option"]
        assert told["dataset"]["image shape"] == "28 x 28 x 1"
        assert told["environment"]["device"] == record["environment"]["device"]
        assert told["cost"]["memory estimate"] == "47.4 MiB"
        assert {name: len(rows) for name, rows in told.items()} == {
            "config": len(record["config"]), "dataset": len(record["dataset"]),
            "environment": len(record["environment"]) - 1, "cost": len(record["cost"]) - 1}, "numerics, layers: none"
        assert (run["seed"], run["status"], run["best"]) == (record["seed"], record["status"], record["best"])
        assert ["timing: train", f"{record['timing']['train_s']:.1f} s"] in run["more"]
    assert len(data["shared"]) == 3 + 3, "a config per cell; data, environment and cost are alike"


def test_rows_of_a_long_table_are_data_and_say_what_they_would_in_the_page(monkeypatch):
    texts = ["a", "b", "c <i>"]
    table = Table("T", (Column("n", is_text=True), Column("v")),
                  tuple((Cell(text), Cell(f"{place} [0, 1]", place)) for place, text in enumerate(texts)),
                  frozenset({(1, 1)}))
    short = built(invented(texts), texts, details={"E": [table]})
    monkeypatch.setattr(page, "_MANY", 2)
    long = built(invented(texts), texts, details={"E": [table]})
    assert data_of(short)["tables"] == {}
    tables = data_of(long)["tables"]
    assert tables["0"][1] == [["b", "b"], ["1 [0, 1]", 1, 1]]
    orders = [str(order) for name, skipped in (("cells", 2), ("0", 0)) for row in tables[name]
              for _, order, *_ in row[skipped:]]
    assert orders == [cell["data-order"] for cell in Structure(short).find("td")]
    assert Structure(long).find("td") == []
    assert [row[:2] for row in tables["cells"]] == [[text, text] for text in texts]
    links = [link["aria-label"] for link in Structure(short).find("a") if "aria-label" in link]
    assert links == [f"{row[0]}: runs and all numbers" for row in tables["cells"]]


def test_curves_of_very_many_runs_keep_every_so_many_epochs(monkeypatch):
    run = synthetic.record({}, 0, 0.9, epochs=10)
    curve = synthetic.curve(run)
    monkeypatch.setattr(page_runs, "_MOST", 4 * 10 // 3)
    data = page_runs.runs_json(synthetic.as_read(run), {run.cell: 0}, {synthetic.run_id(run): curve})
    assert data["curve_step"] == 4
    assert data["runs"][0]["curve"][3] == curve["validation_accuracy"].round(5).tolist()[3::4], "of epochs 4 and 8"


def test_a_curve_keeps_five_digits_and_leaves_out_what_is_not_finite():
    run = synthetic.record({}, 0, 0.9, epochs=3)
    curve = synthetic.curve(run)
    curve.loc[1, "train_loss"] = float("nan")
    curve.loc[2, "train_loss"] = float("inf")
    [found] = page_runs.runs_json(synthetic.as_read(run), {run.cell: 0}, {synthetic.run_id(run): curve})["runs"]
    assert found["curve"][0] == [round(curve["train_loss"][0], 5), None, None]
    assert found["curve"][3] == curve["validation_accuracy"].round(5).tolist()


def attribute(content, text):
    """The sort key of the table cell that shows a text."""
    return float(re.search(rf'<td data-order="([^"]*)"[^>]*>(?:<strong>)?{re.escape(text)}<', content.decode())[1])


def test_numbers_sort_by_their_size_and_not_by_their_digits():
    cost = synthetic.record({}, 0, 0.9).cost
    runs = [synthetic.record({"option": level}, 0, 0.9, cost=dataclasses.replace(cost, parameters=parameters))
            for level, parameters in {"a": 950, "b": 1_500, "c": 2_000_000, "d": None}.items()]
    content = built(runs, "abcd")
    assert attribute(content, "950") < attribute(content, "1.50 k") < attribute(content, "2.00 M")
    assert attribute(content, "n/a") < attribute(content, "950")
    assert attribute(content, "47.4 MiB") == cost.memory_estimate_bytes


@pytest.mark.parametrize(("field", "value", "name", "text"), [
    ("test_accuracy", 0.90604, "test accuracy", "90.60 %"),
    ("compiled_bytes", 150_000_000, "memory of the compiled program", "143 MiB"),
    ("train_s", 41.5, "train", "41.5 s"),
    ("throughput_examples_per_s", 13_200.0, "throughput", "13.2 k examples/s"),
    ("t_p", 0.0004, "p, these pairs alone", "<0.001"),
    ("learning_rate", 0.001, "learning rate", "0.001"),
    ("train_examples", 55_000, "train examples", "55,000"),
    ("stopped_early", False, "stopped early", "no"),
    ("git_commit", None, "git commit", "n/a"),
    ("hidden", [512, 256], "hidden", "512, 256"),
    ("difference", Estimate(3, 0.011, 0.002, 0.004, 0.018), "difference",
     "+1.10 [+0.40, +1.80] points, n = 3, standard deviation 0.20 points"),
    ("test_accuracy", Estimate(1, 0.9), "test accuracy", "90.00 [n/a] %, n = 1"),
    ("detectable", Planned(0.006, 0.003, None), "detectable difference", "0.60 [n/a] points"),
    ("seeds_for_half_a_point", Planned(8.0, 4.0, 221.0), "seeds for 0.5 points", "4 to 8 to 221"),
    ("seeds_for_half_a_point", Planned(8000.0, 2000.0, None), "seeds for 0.5 points", "2,000 to 8,000 to >10,000"),
    ("seeds_for_half_a_point", Planned(None, 5892.0, None), "seeds for 0.5 points", "5,892 to >10,000"),
    ("seeds_for_half_a_point", None, "seeds for 0.5 points", "n/a"),
    ("seeds_for_half_a_point", Planned(), "seeds for 0.5 points", ">10,000"),
])
def test_a_field_has_a_readable_name_and_its_unit(field, value, name, text):
    assert words.told(value, field) == [(name, text)]
    assert words.told({field: value}, "best") == [(f"best: {name}", text)]


def test_more_tables_are_shown_with_their_sentences():
    table = Table("Claims", (Column("claim", is_text=True), Column("p")),
                  ((Cell("it helps"), Cell("<0.001", 0.0002)), (Cell("it harms"), Cell("0.040", 0.0403))),
                  frozenset({(1, 0)}), ("What the source says.",), ("One note.",))
    content = built(invented("ab"), "ab", details={"Evidence": [table], "Classes": []}).decode()
    assert 'label="Classes"' not in content
    for shown in (">Claims</h3>", ">Claims</option>", "<optgroup label=\"Evidence\">", "What the source says.",
                  "One note.", "<strong>it harms</strong>"):
        assert shown in content
    assert attribute(content.encode(), "&lt;0.001") < attribute(content.encode(), "0.040")


def test_a_page_of_many_noisy_cells_is_written():
    """A table of so many rows is JSON, which has no infinity: more seeds than are looked for sort last all the same."""
    runs = [synthetic.record({"option": f"{place:03}"}, seed, (0.1, 0.9, 0.5)[(seed + place) % 3])
            for place in range(102) for seed in range(3)]
    plan = synthetic.plan({"option": [f"{place:03}" for place in range(102)]}, runs)
    summary = summarize("made_up", plan, synthetic.as_read(*runs))
    [planned] = [table for table in report.tables(summary) if table.title.startswith("Is the difference")]
    assert ">10,000" in str(planned)
    assert b"10,000 [" in page.ablation_page(summary, {}, {}, (), {"Evidence": [planned]})


def test_a_cell_says_nothing_of_layers_that_are_in_a_table_of_their_own():
    [row] = summarize("made_up", None, synthetic.as_read(synthetic.record({"option": "a"}, 0, 0.9))).rows
    assert not [name for name, _ in cells.facts(row) if "layers" in name]
    assert ("cost: parameters", "1,234,567") in cells.facts(row)


def test_levels_sort_as_planned():
    levels = ["none", "8", "64"]
    labels = Structure(built(invented(levels), levels)).find("th", scope="row")
    assert [label["data-order"] for label in labels] == ["0", "1", "2"]


def test_what_no_mean_contains_is_said_on_top():
    runs = invented("ab")
    plan = synthetic.plan({"option": ["a", "b", "c"]}, [*runs, *invented("c")])
    records = synthetic.as_read(*runs[:4], synthetic.record({"option": "b"}, 1, None, status="diverged"))
    summary = summarize("made_up", plan, records)
    content = page.ablation_page(summary, {}, {}, ()).decode()
    assert "Runs that no mean contains: b (1 diverged, 1 missing); c (3 missing)." in content


@pytest.mark.parametrize(("origin", "overrides", "expected"), [
    ("", {}, ["mlp"]),
    ("", {"epochs": 5}, ["mlp", "--set=epochs=5"]),
    ("", {"model.hidden": [512, 256], "optimizer.learning_rate": 0.01},
     ["mlp", "--set=model.hidden=512,256", "--set=optimizer.learning_rate=0.01"]),
    ("", {"model.hidden": [64]}, ["mlp", "--set=model.hidden=64,"]),
    ("", {"dataset": "7", "optimizer.kind": "sgd"}, ["mlp", "--set=dataset='7'", "--set=optimizer.kind=sgd"]),
    ("", {"train_size": None, "augment.flip": True}, ["mlp", "--set=train_size=None", "--set=augment.flip=True"]),
    ("studies/my study.py:WIDTH", {"epochs": 5}, ["studies/my study.py:WIDTH", "--set=epochs=5"]),
])
def test_the_command_names_the_run_and_its_overrides(origin, overrides, expected):
    record = synthetic.record({}, 3, 0.9, ablation="mlp,whatever", origin=origin, overrides=overrides)
    record = dataclasses.replace(record, ablation="mlp,whatever" if overrides else "mlp")
    checkout, words = map(shlex.split, again.commands("option=a b; rm -rf,seed=3", record))
    assert checkout == ["git", "checkout", record.environment.git_commit]
    named, *settings = expected
    assert words == ["python", "-m", "harness.run", f"--ablation={named}", *settings, "--seeds=3",
                     "--only=option=a b; rm -rf,seed=3", "--results_dir=again",
                     "--data_dir=DIR"]


@pytest.mark.parametrize("value", [0.01, (512, 256), (64,), (), "sgd", "7", "None", None, True, ((1, 2),), ((4, 4), 4),
                                   1e-5])
def test_a_value_in_a_command_is_read_as_it_was(value):
    """Through a record's JSON, which has lists."""
    assert cli.value(again._typed(as_json({"": value})[""])) == value


def test_overrides_that_only_the_name_tells_are_taken_from_there():
    """As in records from before there was a field of them."""
    record = synthetic.record({}, 3, 0.9, ablation="mlp,epochs=5,optimizer.kind=sgd")
    assert "--ablation=mlp --set=epochs=5 --set=optimizer.kind=sgd --seeds=3" in again.commands("a", record)[1]


def test_the_command_asks_for_folders_only_where_the_files_were_the_users():
    record = synthetic.record({}, 0, 0.9)
    bundled = dataclasses.replace(
        record, dataset=dataclasses.replace(record.dataset, source="bundled"),
        environment=dataclasses.replace(record.environment, git_commit="; rm -rf", git_dirty=True))
    [train] = again.commands("a,seed=0", bundled)
    assert "DIR" not in train
    backbone = BackboneFacts("mobilenet_v2 1.0", 96, "none", "own.h5", "0" * 64, False, 1.0, False)
    assert again.commands("a,seed=0", dataclasses.replace(record, backbone=backbone))[1].endswith(
        "--data_dir=DIR --weights_dir=DIR")
    [told] = page_runs.runs_json({"a,seed=0": bundled}, {bundled.cell: 0}, {})["runs"]
    assert told["advice"] == ["The code had uncommitted changes: its commit may give other numbers."]


def test_the_index_leads_to_the_pages_there_are_and_names_what_cannot_be_read():
    runs = invented("ab")
    records = synthetic.as_read(*runs)
    summary = summarize("a,b=1", synthetic.plan({"option": ["a", "b"]}, runs, HOSTILE[1]), records)
    content = index.index_page([
        index.Entry("a,b=1", summary, records, has_page=True, results_dir="my_results"),
        index.Entry("new", summary, records, has_page=False, results_dir="my results"),
        index.Entry(HOSTILE[0], None, {}, has_page=True, results_dir="", problem="record.json lacks seed"),
    ])
    found = Structure(content)
    assert [link["href"] for link in found.find("a")] == [
        "#main", "a%2Cb%3D1/report.html", "%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E/report.html"]
    assert "record.json lacks seed" in content.decode()
    assert "6 of 6" in content.decode()
    text = re.sub(r"<[^>]*>", "", content.decode())
    assert "python -m harness.report &#39;--results_dir=my results&#39; --ablation=new" in text
    assert html.escape(answer.sentences(summary)[0]) in text
    assert found.find("img") == []


def luminance(colour):
    parts = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", ["#ffffff", "#191d23"])
def test_a_cell_is_seen_in_its_one_colour_on_both_grounds(ground):
    for colour in colours.CELLS:
        low, high = sorted((luminance(colour), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 3, colour
    runs = invented("abcdefg")
    own = colours.cell_colours(summarize("made_up", synthetic.plan({"option": list("abcdefg")}, runs),
                                         synthetic.as_read(*runs)))
    assert list(own.values()) == [colours.BASELINE, *colours.CELLS]
