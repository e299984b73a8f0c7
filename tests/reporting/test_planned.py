"""A plan is fixed before anything is trained; what is decided after the first record is told."""

import dataclasses
import datetime
import json

import pytest
import synthetic

from harness import records
from harness.analysis.cells import View
from harness.analysis.summarize import summarize
from harness.reporting import captions, planned

BEFORE = datetime.datetime(2024, 12, 31, tzinfo=datetime.UTC)
COMPARED = {"a=x": "a=x", "a=y": "a=x"}


def study(levels="xy", seeds=(0, 1), stopping=None, compared=COMPARED, at=BEFORE):
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.001 * seed) for level in levels for seed in seeds]
    plan = dataclasses.replace(synthetic.plan({"a": list(levels)}, runs), comparisons=compared, stopping=stopping,
                               fixed=records.fixed(compared, (0, 1), stopping, at))
    return plan, runs


@pytest.fixture
def folder(tmp_path):
    """A folder where the first plan's runs are recorded."""
    return synthetic.write(tmp_path, study()[0], *study()[1])


def told(folder, view=None):
    summary = summarize("made_up", folder.plan(), folder.records(), view)
    return " ".join(planned.sentences(summary))


def test_what_was_fixed_is_told_with_its_time_and_hash(folder):
    fixed = folder.plan().fixed
    assert told(folder) == (
        f"Fixed at 2024-12-31T00:00:00+00:00 (sha256 {fixed.digest[:12]}): test accuracy at the best validation epoch; "
        "compared with a=x: 1 cell; seeds 0, 1; no seed added by results.")


@pytest.mark.parametrize(("changes", "said"), [
    ({"seeds": (0, 1, 2, 5)}, "seeds added (2, 5)"),
    ({"levels": "xyz", "compared": COMPARED | {"a=z": "a=x"}}, "cells added (a=z)"),
    ({"levels": "yx", "compared": dict.fromkeys(COMPARED, "a=y")}, "other baselines (of a=x, a=y)"),
    ({"stopping": records.Stopping(0.005, 2, (0, 1, 2, 3))}, "the rule for adding seeds (2 more at a time, 4 at most"),
])
def test_what_is_planned_after_the_first_record_is_told(folder, changes, said):
    folder.write_plan(study(**changes, at=None)[0])
    assert f"Decided after results were seen: {said}" in told(folder)
    assert folder.plan().fixed == study()[0].fixed
    assert any(said in note for note in captions.weighty(summarize("made_up", folder.plan(), folder.records())))


def test_another_view_is_told(folder):
    assert told(folder, View(metric="test_loss")).endswith(
        "Decided after results were seen: another score (test loss at the best validation epoch).")
    assert "another score (test accuracy after the last epoch)" in told(folder, View(select="last"))
    assert "another baseline (y)" in told(folder, View(baseline="y"))


def test_before_the_first_record_a_plan_may_change(tmp_path):
    folder = records.Folder(tmp_path, "made_up")
    folder.write_plan(study()[0])
    later, _ = study(levels="xyz", compared=COMPARED | {"a=z": "a=x"})
    folder.write_plan(later)
    assert folder.plan().fixed == later.fixed


def test_what_the_rule_adds_was_fixed_and_what_it_does_not_was_not(tmp_path):
    rule = records.Stopping(0.005, 2, (0, 1, 2, 3))
    folder = synthetic.write(tmp_path, study(stopping=rule)[0], *study()[1])
    folder.write_plan(study(stopping=rule, seeds=(0, 1, 2, 3))[0])
    assert "Decided after" not in told(folder)
    folder.write_plan(study(seeds=(0, 1, 2, 3, 9))[0])
    assert told(folder).endswith("Decided after results were seen: seeds added (9).")
    assert folder.plan().stopping == rule, "its correction stays"


def test_a_hand_that_edits_what_was_fixed_is_told(folder):
    path = folder.path / "plan.json"
    plan = json.loads(path.read_text())
    plan["fixed"]["seeds"].append(2)
    path.write_text(json.dumps(plan))
    assert "Warning: what the plan says was fixed has been edited since" in told(folder)


def test_a_plan_that_came_after_the_first_record_is_told(folder):
    (folder.path / "plan.json").unlink()
    folder.write_plan(study(at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))[0])
    assert "Warning: the plan was fixed after the first run was recorded, at 2025-01-01T00:01:00." in told(folder)


def test_a_plan_from_before_there_was_this_says_nothing(folder):
    plan = {name: value for name, value in json.loads((folder.path / "plan.json").read_text()).items()
            if name not in ("fixed", "comparisons", "stopping", "design")}
    (folder.path / "plan.json").write_text(json.dumps(plan))
    assert folder.plan().fixed is None
    assert told(folder) == ""
