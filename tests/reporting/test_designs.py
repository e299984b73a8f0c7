"""Each design, from its ablation to what a report says of runs of it that are not all there."""

import dataclasses

import pytest
import synthetic

from ablations.lookup import Study
from ablations.spec import Ablation, Factor, LogUniform, RandomCells, RunConfig
from harness import records
from harness.analysis.summarize import summarize
from harness.reporting import answer, captions
from harness.reporting.tables import evidence
from harness.training import planning

NOISE = (0.0, 0.001, -0.001)
KINDS = Factor("optimizer.kind", {"sgd": "sgd", "adam": "adam"})
MOMENTUM = Factor("optimizer.momentum", {"0": 0.0, "0.9": 0.9}, under={"kind": "sgd"})
WIDTHS = Factor("model.hidden", {"8": (8,), "16": (16,), "32": (32,)})
PARTS = {"norm": Factor("model.batch_norm", {"with": True, "without": False}),
         "drop": Factor("model.dropout", {"with": 0.2, "without": 0.0}),
         "decay": Factor("model.l2_kernel", {"with": 0.1, "without": 0.0})}


def reported(factors, score, *, lost=(), diverged=(), seeds=(0, 1, 2), rule=None, **changes):
    """Sums up invented runs of an ablation whose cells score what a function of their labels says."""
    study = Ablation("Why?", RunConfig(dataset="digits"), factors, seeds=seeds, **changes)
    invented = []
    for place, run in enumerate(study.runs()):
        if run.cell in diverged:
            invented.append(synthetic.record(dict(run.labels), run.seed, None, status="diverged"))
        elif run.cell not in lost:
            accuracy = score(run.labels) + NOISE[(run.seed + place // len(seeds)) % 3]
            invented.append(synthetic.record(dict(run.labels), run.seed, accuracy))
    plan = planning.plan(Study("made_up", study), study.runs(), records.Provenance(), rule)
    return summarize("made_up", plan, synthetic.as_read(*invented))


def told(summary):
    return " ".join(answer.sentences(summary)), " ".join(captions.caption(summary))


def test_excluded_cells_leave_averages_over_matched_pairs():
    summary = reported({"kind": KINDS, "width": WIDTHS}, lambda labels: 0.8 + 0.05 * (labels["width"] == "32"),
                       exclude={"kind": "adam", "width": "16"})
    assert len(summary.rows) == 5
    words, _ = told(summary)
    assert "On average over pairs of cells that differ in width alone against width=8: width=32 (+5.0" in words
    assert "Not every combination of levels is there" in evidence.effects(summary).notes[0]


def test_a_nested_factor_has_no_level_where_it_does_not_exist():
    summary = reported({"kind": KINDS, "momentum": MOMENTUM, "width": WIDTHS},
                       lambda labels: 0.8 + 0.1 * (labels.get("momentum") == "0.9"), lost=("kind=adam,width=16",))
    assert {row.labels.get("momentum") for row in summary.rows if row.labels["kind"] == "adam"} == {None}
    words, caption = told(summary)
    assert "that differ in momentum alone against momentum=0: momentum=0.9 (+10." in words
    assert "Against kind=sgd, momentum=0, width=8: " in words, "kind is compared cell by cell"
    assert "3 missing (kind=adam, momentum=-, width=16: 3)" in caption


def test_listed_cells_are_compared_with_the_first_one_where_none_is_all_reference():
    summary = reported({"kind": KINDS, "width": WIDTHS}, lambda labels: 0.8 + 0.1 * (labels["kind"] == "adam"),
                       design=({"width": "32"}, {"kind": "adam"}, {"kind": "adam", "width": "32"}))
    assert [row.is_baseline for row in summary.rows] == [True, False, False]
    assert told(summary)[0].startswith("Against kind=sgd, width=32: ")
    assert "not every combination" in evidence.effects(summary).notes[0]


def test_drawn_cells_are_compared_with_the_base_with_one_seed_and_a_diverged_cell():
    factors = {"rate": Factor("optimizer.learning_rate", LogUniform(1e-4, 1e-1)), "width": WIDTHS}
    drawn = Ablation("Why?", RunConfig(dataset="digits"), factors, RandomCells(6), seeds=(0,)).runs()
    summary = reported(factors, lambda labels: 0.9, design=RandomCells(6), seeds=(0,), diverged=(drawn[2].cell,))
    assert [row.cell for row in summary.rows] == [run.cell for run in drawn]
    assert summary.rows[0].is_baseline
    words, caption = told(summary)
    assert "Highest mean: " in words
    assert f"1 diverged ({summary.rows[2].label}: 1)" in caption


def worth(labels):
    return 0.9 - 0.04 * (labels["drop"] == "without") + 0.03 * (labels["decay"] == "without")


def test_of_components_left_out_the_answer_says_what_each_is_worth_and_the_table_goes_by_it():
    summary = reported(PARTS, worth, design="leave_one_out")
    assert [row.label for row in summary.rows] == ["full model", "without drop", "without norm", "without decay"]
    words, _ = told(summary)
    assert words.startswith("Each component's worth in the full model: clearly helps: drop (+4.")
    assert "; clearly harms: decay (-" in words
    assert "; not clearly anything: norm (" in words
    assert "Best: without decay, 9" in words


def test_a_component_without_runs_or_with_one_seed_is_told_last_or_without_interval():
    summary = reported(PARTS, worth, design="leave_one_out", diverged=("norm=with,drop=without,decay=with",))
    assert [row.label for row in summary.rows][-1] == "without drop"
    words, caption = told(summary)
    assert "drop (" not in words
    assert "3 diverged (without drop: 3)" in caption
    one_seed = reported(PARTS, worth, design="leave_one_out", seeds=(0,))
    assert "not clearly anything: drop (+" in told(one_seed)[0]


def test_of_a_loss_less_is_worth_more():
    summary = reported(PARTS, worth, design="leave_one_out")
    losses = {run_id: dataclasses.replace(one, best=dataclasses.replace(
        one.best, test_loss=1 - one.best.test_accuracy)) for run_id, one in summary.records.items()}
    by_loss = summarize("made_up", summary.plan, losses, dataclasses.replace(summary.view, metric="test_loss"))
    assert [row.label for row in by_loss.rows] == [row.label for row in summary.rows]
    assert "clearly helps: drop (-0.04" in told(by_loss)[0]


@pytest.mark.parametrize(("differs", "said"), [(0.05, "decided to differ: adam (4 seeds)"),
                                               (0.0, "decided to lie within 0.5 points of it: adam (4 seeds)")])
def test_seeds_until_decided_are_told_in_the_answer_and_below_the_table(differs, said):
    rule = records.Stopping(0.005, 2, tuple(range(6)))
    summary = reported({"kind": KINDS}, lambda labels: 0.9 + differs * (labels["kind"] == "adam"), seeds=(0, 1, 2, 3),
                       rule=rule)
    words, caption = told(summary)
    assert f"By validation accuracy, from the baseline, {said}." in words
    assert ("2 more at a time, 6 at most, until the interval of each difference in validation accuracy excludes zero "
            "or lies within 0.5 points of it.") in caption
    assert "Seeds were added by validation accuracy alone; the test set is read once" in caption
    assert "corrected for all looks that there may be" in caption
    assert "Decided after results were seen" not in caption
