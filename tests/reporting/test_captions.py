"""What stands below a table about the runs that its numbers are of."""

import dataclasses

import pytest
import synthetic

from harness.analysis.cells import View
from harness.analysis.summarize import summarize
from harness.records import BackboneFacts
from harness.reporting import captions


def caption(summary):
    return "\n".join(captions.caption(summary))


def timed_beside(members_at_once):
    """Three runs of one cell that so many trained beside, the first twice as fast."""
    runs = [synthetic.record({"a": "x"}, seed, 0.9) for seed in range(3)]
    runs = [dataclasses.replace(run, timing=dataclasses.replace(
        run.timing, members_at_once=number, throughput_examples_per_s=1000.0 * (1 + (run.seed == 0))))
        for run, number in zip(runs, members_at_once, strict=True)]
    return summarize("made_up", synthetic.plan({"a": ["x"]}, runs), synthetic.as_read(*runs))


@pytest.mark.parametrize(("beside", "speed", "said"), [
    ((2, 1, 1), 1000.0, "side by side: 1; they are means over as many runs as had the same number: 2 of 3 of "),
    ((1, 2, 2), 1000.0, "side by side: 2; they are means over as many runs as had the same number: 2 of 3 of "),
    ((3, 1, 2), 2000.0, "side by side: 3; they are means over as many runs as had the same number: 1 of 3 of "),
    ((2, 2, 2), 4000 / 3, "side by side: 2. Compile s is"),
])
def test_speeds_are_of_the_runs_that_shared_the_machine_as_most_did_and_the_others_are_told(beside, speed, said):
    found = timed_beside(beside)
    assert found.rows[0].timing.throughput_examples_per_s == pytest.approx(speed)
    assert said in caption(found)


def test_fewer_pairs_than_the_baseline_has_runs_are_stated():
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.001 * seed) for level in "xy" for seed in range(3)]
    plan = synthetic.plan({"a": ["x", "y"]}, runs)
    assert "than the cell or its baseline has runs: y: 2." in caption(
        summarize("made_up", plan, synthetic.as_read(*runs[:5])))


def test_a_baseline_whose_done_runs_lack_the_score_is_no_baseline_without_a_done_run():
    runs = [synthetic.record({"a": level}, seed, 0.9 + 0.01 * seed) for level in "xy" for seed in range(3)]
    records = synthetic.as_read(*runs)
    more = {name: {"tta_accuracy": 0.9 + 0.01 * run.seed} for name, run in records.items() if run.labels["a"] == "y"}
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), records, View(metric="tta_accuracy"), None,
                      more)
    assert "Differences are n/a: the baseline (x) has no such score." in caption(found)


def test_what_is_said_of_features_is_said_of_the_cells_that_read_them():
    facts = {level: BackboneFacts("mobilenet_v2 1.0", 96, level, "own.h5", "0" * 64, False, seconds, False)
             for level, seconds in (("none", 90.0), ("block_13", None))}
    runs = [synthetic.record({"tuned": level}, seed, 0.9, backbone=facts[level]) for level in facts for seed in (0, 1)]
    plan = synthetic.plan({"tuned": list(facts)}, runs)
    assert "Not so of block_13, where all of the network" in caption(
        summarize("made_up", plan, synthetic.as_read(*runs)))
    assert "Not so of" not in caption(summarize("made_up", plan, synthetic.as_read(*runs[:2])))


def test_why_runs_failed_is_said_with_how_many_did():
    runs = [synthetic.record({"a": level}, seed, None, status="error", message="boom" if seed else "bang")
            for level in "xy" for seed in range(3)]
    found = summarize("made_up", synthetic.plan({"a": ["x", "y"]}, runs), synthetic.as_read(*runs))
    assert "Failed with: boom (4 runs); bang (2 runs)." in caption(found)
    assert "Failed with: boom" in "\n".join(captions.weighty(found))


def test_the_devices_of_a_cpu_are_its_cores_and_not_as_many_machines():
    run = synthetic.record({"a": "x"}, 0, 0.9)
    several = dataclasses.replace(run.environment, device_count=2)
    gpus = dataclasses.replace(several, platform="gpu", device="H200")
    for machine, said in ((several, f"Device: {several.device} (cpu)"), (gpus, "Device: 2 x H200 (gpu)")):
        records = synthetic.as_read(dataclasses.replace(run, environment=machine))
        assert said in caption(summarize("made_up", None, records))
