import dataclasses

import pytest
import synthetic

from harness.analysis.claims import ClaimRow
from harness.analysis.stats import Estimate
from harness.analysis.summarize import summarize
from harness.records import BackboneFacts, Placement
from harness.reporting import findings
from harness.reporting.page.index import Entry


def at(record, started, finished):
    return dataclasses.replace(record, started_at=f"2026-01-01T{started}:00+00:00",
                               finished_at=f"2026-01-01T{finished}:00+00:00")


@pytest.fixture(scope="module")
def entries():
    made = []
    for ablation, source in (("b", "notebook"), ("a", "a post"), ("c", "notebook")):
        runs = [at(synthetic.record({"x": "0"}, 0, 0.9), "10:00", "10:10"),
                at(synthetic.record({"x": "0"}, 1, 0.9), "10:05", "10:20"),  # side by side for five minutes
                at(synthetic.record({"x": "0"}, 2, 0.9), "15:00", "15:01")]
        records = synthetic.as_read(*runs)
        summary = dataclasses.replace(summarize(ablation, synthetic.plan({"x": ["0"]}, runs), records), claims=(
            ClaimRow(None, None, "accuracy | of all", "about", None, 0.0, "last", source, (), "", Estimate(0),
                     "not auditable"),))
        made.append(Entry(ablation, summary, records, True, "results"))
    return made


def test_time_of_runs_side_by_side_counts_once_and_time_between_launches_not_at_all(entries):
    assert findings.wall_s(entries[0].records) == 21 * 60
    assert findings.wall_s({}) == 0


def test_the_table_of_all_claims_is_in_order_of_sources_and_names_the_ablation(entries):
    rows = [line.split(" | ")[:2] for line in findings.claims(entries).splitlines() if "not auditable" in line]
    assert rows == [["| a post", "a"], ["| notebook", "b"], ["| notebook", "c"]]
    assert findings.claims([dataclasses.replace(entries[0], summary=None)]) == ""


def test_each_table_stands_between_its_marks_and_the_rest_stays(entries):
    text = "before\n<!-- run -->\nold\n<!-- /run -->\nmiddle <!-- found --> no end"
    filled = findings.filled(text, entries)
    assert filled.startswith("before\n<!-- run -->\n| ablation | seeds |")
    assert filled.endswith("<!-- /run -->\nmiddle <!-- found --> no end")
    assert "old" not in filled
    assert "21.0 min | `python -m harness.run --ablation=made_up --seeds=0,1,2 --data_dir=DIR` |" in filled
    assert findings.filled(filled, entries) == filled


def test_the_command_that_gives_a_row_again_has_its_layout_and_folders_and_its_features_their_time(entries):
    placed = Placement(("1 device, one run",), "given by --layout; then out of memory", 3, 0, 3)
    backbone = BackboneFacts("mobilenet_v2 1.0", 96, "none", "own.h5", "0" * 64, False, 90.0, False)
    runs = {name: dataclasses.replace(one, placement=placed, backbone=backbone)
            for name, one in entries[0].records.items()}
    written = findings.run([dataclasses.replace(entries[0], records=runs)])
    assert "21.0 min + 1.5 min features" in written, "of three runs the features are made once"
    assert "--ablation=made_up --seeds=0,1,2 '--layout=1 device, one run' --data_dir=DIR --weights_dir=DIR`" in written


def test_a_layout_that_some_of_the_runs_were_given_is_not_all_of_theirs(entries):
    placed = Placement(("1 device, one run",), "given by --layout", 3, 0, 3)
    first, *others = entries[0].records.items()
    runs = {first[0]: dataclasses.replace(first[1], placement=placed), **dict(others)}
    assert "--layout" not in findings.run([dataclasses.replace(entries[0], records=runs)])


def test_each_set_of_features_has_its_time_and_a_backbone_in_training_takes_none_away(entries):
    made = [BackboneFacts("mobilenet_v2 1.0", 96, "none", "own.h5", "0" * 64, False, 90.0, False),
            BackboneFacts("mobilenet_v2 1.0", 96, "all", "own.h5", "0" * 64, False, None, False),
            BackboneFacts("mobilenet_v2 1.0", 96, "none", "own.h5", "0" * 64, False, 30.0, False)]
    runs = {name: dataclasses.replace(one, backbone=seen)
            for (name, one), seen in zip(entries[0].records.items(), made, strict=True)}
    last = next(reversed(runs))
    runs[last] = dataclasses.replace(
        runs[last], dataset=dataclasses.replace(runs[last].dataset, fingerprint="of other pictures"))
    assert "21.0 min + 2.0 min features" in findings.run([dataclasses.replace(entries[0], records=runs)])


def test_the_command_asks_for_no_cell_that_has_no_record():
    runs = [synthetic.record({"x": level}, 0, 0.9) for level in ("0", "1", "10")]
    records = synthetic.as_read(*runs)
    summary = summarize("a", synthetic.plan({"x": ["0", "1", "10"]}, runs), records)
    assert "--only" not in findings.run([Entry("a", summary, records, True, "results")])
    some = dict(list(records.items())[:2])
    written = findings.run([Entry("a", summary, some, True, "results")])
    assert "--seeds=0 --only=x=0, --only=x=1, --data_dir=DIR" in written
