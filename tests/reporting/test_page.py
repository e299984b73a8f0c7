import collections
import dataclasses
import html.parser
import json
import re
import shlex

import pytest
import synthetic
from pages import HOSTILE, PNG, Column, Picture, Table, built, hostile_page, invented

from harness.analysis.summarize import summarize
from harness.analysis.verdict import Verdict
from harness.records.configs import as_json
from harness.reporting import answer, rounded
from harness.reporting.page import cells, index, page, shell
from harness.reporting.page import runs as page_runs


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
    assert cells.answer(summary) == " ".join(answer.sentences(summary))
    assert "option=b" in cells.answer(summary)
    alone = dataclasses.replace(summary, verdict=Verdict())
    assert cells.answer(alone) == "Too few cells are done to compare them."


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
    assert hostile.find("select") == plain.find("select") == []
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
        assert {name: data["shared"][place] for name, place in run["shared"].items()} == {
            name: record[name] for name in ("config", "dataset", "environment", "cost")}
        assert (run["seed"], run["status"], run["best"]) == (record["seed"], record["status"], record["best"])
        assert run["more"]["timing"] == record["timing"]
    assert len(data["shared"]) == 3 + 3, "a config per cell; data, environment and cost are alike"


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
    assert attribute(content, "47.4 MiB") == pytest.approx(47.4 * 2**20)


@pytest.mark.parametrize(("write", "step"), [(rounded.count, 1000), (rounded.size, 1024)])
def test_every_unit_that_a_number_is_printed_with_sorts_by_its_size(write, step):
    for power in range(5):
        for digits in (1, 9.5, 750):
            assert cells.order(write(digits * step**power)) == pytest.approx(digits * step**power, rel=0.06)


@pytest.mark.parametrize(("text", "value"), [
    ("1 B", 1), ("1.00 KiB", 2**10), ("1.00 MiB", 2**20), ("1.00 GiB", 2**30), ("1.00 TiB", 2**40),
    ("1.00 k", 1e3), ("1.00 M", 1e6), ("1.00 G", 1e9), ("1.00 T", 1e12)])
def test_a_unit_is_exactly_its_power(text, value):
    assert cells.order(text) == value


def test_more_tables_are_shown_with_their_sentences():
    table = Table("Claims", (Column("claim", is_text=True), Column("p")),
                  (("it helps", "<0.001"), ("it harms", "0.040")),
                  frozenset({(1, 0)}), ("What the source says.",), ("One note.",))
    content = built(invented("ab"), "ab", details=[table]).decode()
    for shown in (">Claims</h2>", "What the source says.", "One note.", "<strong>it harms</strong>"):
        assert shown in content
    assert attribute(content.encode(), "&lt;0.001") < attribute(content.encode(), "0.040")


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
    words = shlex.split(page_runs.command("option=a b; rm -rf,seed=3", record))
    named, *settings = expected
    assert words == ["python", "-m", "harness.run", f"--ablation={named}", *settings, "--seeds=3",
                     "--only=option=a b; rm -rf,seed=3", "--results_dir=again"]


@pytest.mark.parametrize("value", [0.01, (512, 256), (64,), (), "sgd", "7", "None", None, True, ((1, 2),), 1e-5])
def test_a_value_in_a_command_is_read_as_it_was(value):
    """Through a record's JSON, which has lists."""
    from harness.run import _value  # takes seconds

    assert _value(page_runs._typed(as_json({"": value})[""])) == (
        ([1, 2],) if value == ((1, 2),) else value)


def test_overrides_that_only_the_name_tells_are_taken_from_there():
    """As in records from before there was a field of them."""
    record = synthetic.record({}, 3, 0.9, ablation="mlp,epochs=5,optimizer.kind=sgd")
    assert "--ablation=mlp --set=epochs=5 --set=optimizer.kind=sgd --seeds=3" in page_runs.command("a", record)


def test_the_index_leads_to_the_pages_there_are_and_names_what_cannot_be_read():
    runs = invented("ab")
    records = synthetic.as_read(*runs)
    summary = summarize("a,b=1", synthetic.plan({"option": ["a", "b"]}, runs, HOSTILE[1]), records)
    content = index.index_page([
        index.Entry("a,b=1", summary, records, has_page=True),
        index.Entry("new", summary, records, has_page=False),
        index.Entry(HOSTILE[0], None, {}, has_page=True, problem="record.json lacks seed"),
    ])
    found = Structure(content)
    assert [link["href"] for link in found.find("a")] == [
        "#main", "a%2Cb%3D1/report.html", "%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E/report.html"]
    assert "record.json lacks seed" in content.decode()
    assert "6 of 6" in content.decode()
    assert found.find("img") == []
