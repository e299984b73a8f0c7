import dataclasses

import numpy as np
import pytest
import synthetic

from harness.analysis.summarize import summarize
from harness.reporting import captions
from harness.reporting.tables import report


def within_networks(scores):
    """Compares cells within networks: net -> reg -> a score per seed."""
    runs = [synthetic.record({"net": net, "reg": reg}, seed, value) for net, cells in scores.items()
            for reg, values in cells.items() for seed, value in enumerate(values)]
    plan = synthetic.plan({"net": list(scores), "reg": list(scores["mlp"])}, runs)
    return summarize("made_up", dataclasses.replace(plan, within=("net",)), synthetic.as_read(*runs))


def test_of_several_baselines_each_cell_has_the_one_of_its_level():
    found = within_networks({net: {"none": (0.8, 0.81), "a": (0.82, 0.83)} for net in ("mlp", "cnn")})
    assert [(row.label, row.is_baseline, row.baseline) for row in found.rows] == [
        ("net=mlp, reg=none", True, None), ("net=mlp, reg=a", False, "net=mlp,reg=none"),
        ("net=cnn, reg=none", True, None), ("net=cnn, reg=a", False, "net=cnn,reg=none")]
    assert [row.difference.mean for row in found.rows if row.comparison] == pytest.approx([0.02, 0.02])
    assert "baseline,net=cnn" not in report.csv(found)
    assert "False,\"net=cnn,reg=none\"" in report.csv(found)


def test_the_same_two_cells_get_one_answer_also_where_a_baseline_leads():
    """Over many draws, some of which lie between the corrections for few and for many comparisons."""
    generator = np.random.default_rng(2)
    for _ in range(60):
        found = within_networks({net: {reg: tuple(generator.normal(level, 0.004, 3)) for reg in ("none", "a", "b", "c")}
                                 for net, level in (("mlp", 0.8), ("cnn", 0.9))})
        for row in found.rows:
            if row.baseline == found.verdict.leader:
                assert found.verdict.behind[row.cell].holm == row.comparison.headline_holm
            if row.baseline and row.cell == found.verdict.leader:
                assert found.verdict.behind[row.baseline].holm == row.comparison.headline_holm


def test_a_baseline_without_a_done_run_is_named():
    found = within_networks({"mlp": {"none": (0.8, 0.81), "a": (0.82, 0.83)}, "cnn": {"none": (), "a": (0.9, 0.91)}})
    plan = dataclasses.replace(found.plan, runs=(*found.plan.runs, *(
        dataclasses.replace(run, run_id=f"net=cnn,reg=none,seed={run.seed}", cell="net=cnn,reg=none",
                            labels={"net": "cnn", "reg": "none"}) for run in found.plan.runs[:2])))
    absent = summarize("made_up", plan, found.records)
    said = "Differences are n/a where the baseline has no done run: net=cnn, reg=none."
    assert said in "\n".join(captions.caption(absent))
    assert any(said in sentence for sentence in captions.weighty(absent))
    assert said not in "\n".join(captions.caption(found))
