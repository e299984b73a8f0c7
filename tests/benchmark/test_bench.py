import copy
import csv
import io
import json
import os
import subprocess
import sys
import types

import commands
import pytest
from place import ROOT
from rich.console import Console

from harness import bench, cli
from harness.benchmark import plots, tables
from harness.reporting.render import DASH

MACHINE = {"device": "A CPU, 2 cores", "platform": "cpu", "git_commit": "0123456789abcdef", "git_dirty": False}


def side(work, *seconds, loss=0.01, **more):
    timed = [{"seconds": one, "other_cpu": 0.0, "repeats": 1, "disturbed": False} for one in seconds]
    return {"settings": {}, "versions": {}, "compile_s": 1.5, "work": work, "memory_bytes": 2**30, "device_bytes": None,
            "timed": timed, "learned": {"loss": loss, "accuracy": 1.0}} | more


def case(runs=8, **sides):
    return {"workload": "W1", "precision": "float32", "runs": runs, "scale": 1, "grid": 8, "examples": 1000,
            "parameters": 10, "flops_per_example": 100, "loss_goal": 0.1, "peak_goal": 0.85,
            "goals": {"keras": {"one_run": 3.0, "grid": 5.0}, "torch": {"one_run": 1.6, "grid": 2.6}}, "sides": sides}


def results(*cases):
    return {"schema": 1, "started_at": "2025-01-01T00:00:00+00:00", "rounds": 3, "load": 0.1, "machine": MACHINE,
            "absent": {"keras": "no module"}, "cases": list(cases)}


# Round by round torch takes 3, 2 and 5 times as long; the ratio of the medians would be 2.
WHOLE = case(ours=side(8000, 1.0, 2.0, 4.0), torch=side(8000, 3.0, 4.0, 20.0), peak=side(10**6, 1.0, 1.0, 1.0))


def rows(*cases):
    return {row.side: row for row in tables.rows(results(*cases))}


def test_the_ratio_is_the_median_of_each_rounds_ratio():
    torch = rows(WHOLE)["torch"]
    assert (torch.ratio, torch.goal, torch.met) == (3.0, 2.6, True)
    assert torch.throughput == (2000, 400, 8000 / 3)
    assert torch.repeats == 3
    assert torch.disturbed == 0


def test_the_fraction_of_the_peak_is_of_the_same_round():
    """8000 examples of 100 operations in 1, 2 and 4 s, against 10**6 operations in 1 s."""
    ours = rows(WHOLE)["ours"]
    assert ours.peak_fraction == pytest.approx(0.4)
    assert (ours.peak_goal, ours.ratio) == (0.85, None)


@pytest.mark.parametrize(("runs", "goal"), [(1, 1.6), (4, None), (8, 2.6)])
def test_goals_are_for_one_run_and_for_the_grid(runs, goal):
    torch = rows(WHOLE | {"runs": runs})["torch"]
    assert torch.goal == goal
    assert torch.met is (None if goal is None else True)
    assert rows(WHOLE | {"runs": runs, "precision": "bfloat16"})["torch"].goal is None


def test_a_missed_goal_says_so():
    slow = case(ours=side(8000, 1.0), torch=side(8000, 2.5), peak=side(10**6, 1.0))
    assert (rows(slow)["torch"].ratio, rows(slow)["torch"].met) == (2.5, False)
    assert "| 2.50 | 2.6 | no |" in tables.markdown(results(slow))


@pytest.mark.parametrize("lazy", ["ours", "torch"])
def test_the_speed_of_a_side_that_does_not_learn_does_not_count(lazy):
    broken = copy.deepcopy(WHOLE)
    broken["sides"][lazy]["learned"]["loss"] = 2.3
    found = rows(broken)
    assert (found["torch"].ratio, found["torch"].met) == (None, False)
    assert found[lazy].learned is False
    assert "2.300 failed guard" in tables.markdown(results(broken))
    assert plots.throughput(results(broken)) != plots.throughput(results(WHOLE))


def test_a_loss_that_is_not_finite_fails_the_guard_and_is_a_row():
    broken = case(ours=side(8000, 1.0), torch=side(8000, 3.0, loss=None), peak=side(10**6, 1.0))
    told = tables.markdown(results(broken))
    assert (rows(broken)["torch"].learned, rows(broken)["torch"].loss) == (False, None)
    assert "loss not finite failed guard" in told
    assert plots.throughput(results(broken)).startswith(b"\x89PNG")


def test_a_goal_that_a_failed_guard_leaves_uncounted_has_no_ratio():
    broken = case(ours=side(8000, 1.0), torch=side(8000, 3.0, loss=2.3), peak=side(10**6, 1.0))
    assert "Goals missed: W1 against torch with K = 8: not counted: guard failed." in tables.markdown(results(broken))


def test_a_side_that_failed_is_a_row_and_breaks_nothing():
    broken = case(ours=side(8000, 1.0), torch={"failed": "out | of memory"}, peak={"failed": "why"})
    told = tables.markdown(results(broken))
    assert r"failed: out \| of memory" in told
    assert "keras is absent: no module" in told
    assert "n/a" in told, "no peak, so no fraction of it"
    gone = case(ours={"failed": "oops"}, torch=side(8000, 1.0), peak=side(10**6, 1.0))
    assert rows(gone)["torch"].ratio is None
    assert plots.throughput(results(gone)).startswith(b"\x89PNG")


FORWARD = case(ours=side(1000, 1.0, loss=1e-5), keras=side(1000, 2.0, loss=2e-5), peak=side(10**6, 1.0), runs=1) | {
    "workload": "MNV2-96", "task": "forward", "image_px": 96, "grid": 1, "loss_goal": 1e-3, "peak_goal": None,
    "goals": {"keras": {"one_run": 1.4, "grid": 1.4}, "torch": {"one_run": 1.4, "grid": 1.4}}}


def test_a_whole_command_tells_where_its_time_went():
    learned = {"loss": 0.01, "accuracy": 1.0, "parts_s": {"start": 4.0, "report": 6.25}}
    took = side(8000, 20.0, 22.0, 30.0, learned=learned)
    command = case(ours=took) | {"workload": "COMMAND", "task": "command"}
    told = tables.markdown(results(WHOLE, command))
    assert "| COMMAND | float32 | 8 | ours | 364 [267, 400] |" in told
    assert "COMMAND, K = 8: 22.0 s from launch to table with cold caches: start 4.0 s, report 6.2 s." in told
    assert plots.throughput(results(WHOLE, command)) == plots.throughput(results(WHOLE)), "no picture of speed"


def test_a_forward_pass_has_a_goal_and_a_distance_and_no_k():
    assert rows(FORWARD)["keras"].goal == 1.4
    told = tables.markdown(results(WHOLE, FORWARD))
    assert f"| MNV2-96 | float32 | {DASH} | keras | 500 [500, 500] | 2.00 | 1.4 | yes |" in told
    assert "| distance 2e-05 |" in told
    assert "nothing is trained" in told
    assert "nothing is trained" not in tables.markdown(results(WHOLE))


def test_forward_passes_share_a_panel_over_the_resolution(monkeypatch):
    monkeypatch.setattr(plots.plots, "png", lambda draw: draw)
    at_224 = FORWARD | {"workload": "MNV2-224", "image_px": 224}
    trained, forward, *_ = plots.throughput(results(WHOLE, FORWARD, at_224))().axes
    assert [axes.get_xlabel() for axes in (trained, forward)] == ["number of runs trained (K)", "resolution, pixels"]
    assert [list(line.lines[0].get_xdata()) for line in trained.containers] == [[8], [8]]
    assert [list(line.lines[0].get_xdata()) for line in forward.containers] == [[96, 224], [96, 224]]


def measure(results_dir, monkeypatch, *workloads, commit="new", device=MACHINE["device"]):
    """Runs the command with a machine and sides that are made up."""
    machine = MACHINE | {"git_commit": commit, "device": device}
    monkeypatch.setattr(bench, "_sides", lambda *_, **__: bench.Sides(machine, ["ours", "torch", "peak"], {}))
    monkeypatch.setattr(bench.rounds, "compare", lambda *_, **__: {
        "ours": side(1000, 1.0), "torch": side(1000, 2.0), "peak": side(10**6, 1.0)})
    flags = types.SimpleNamespace(results_dir=str(results_dir), report_only=False, workloads=workloads, peers=None,
                                  grid=["1", "8"], precision=["float32"], rounds=1, scaling=False)
    monkeypatch.setattr(bench.flags, "FLAGS", flags)
    bench.main()
    return tables.cases(json.loads((results_dir / "bench" / bench._slug(device) / "bench.json").read_text()))


def test_measuring_some_workloads_keeps_the_others(tmp_path, monkeypatch):
    """Stored ones are of schema 1, which states commit and time once; those kept keep theirs."""
    path = tmp_path / "bench" / "a_cpu_2_cores" / "bench.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(results(WHOLE | {"runs": 4}, WHOLE)))
    cases = measure(tmp_path, monkeypatch, "W1", "MNV2-96")
    found = {(case["workload"], case["runs"]): case["machine"]["git_commit"] for case in cases}
    assert found == {("W1", 4): "0123456789abcdef", ("W1", 8): "new", ("W1", 1): "new", ("MNV2-96", 1): "new"}
    assert cases[0]["started_at"] == "2025-01-01T00:00:00+00:00"
    assert cases[0]["sides"] == WHOLE["sides"]
    told = path.with_name("table.md").read_text()
    assert "W1: A CPU, 2 cores, commit 0123456789ab, 2025-01-01T00:00:00+00:00, 3 rounds" in told
    assert "W1, MNV2-96: A CPU, 2 cores, commit new" in told
    assert len(measure(tmp_path, monkeypatch, "MNV2-96", commit="newer")) == 4


@pytest.mark.parametrize(("device", "has_goals"), [
    (MACHINE["device"], True), ("A CPU, 12 cores", False), ("A GPU", False)])
def test_goals_are_for_the_two_cores_that_they_are_stated_for(tmp_path, monkeypatch, device, has_goals):
    for one in measure(tmp_path, monkeypatch, "W1", device=device):
        assert bool(one["goals"]) == (one["peak_goal"] is not None) == has_goals


def test_stored_measurements_that_cannot_be_read_are_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "bench" / "a_cpu_2_cores" / "bench.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(cli.UsageError, match=r"bench.json cannot be read.*move it away"):
        measure(tmp_path, monkeypatch, "MNV2-96")
    assert path.read_text() == "{"


def test_every_row_has_every_cell():
    partial = case(runs=1, ours={"failed": "x"}, torch=side(1, 1.0), peak=side(1, 1.0))
    told = tables.markdown(results(WHOLE, partial))
    lengths = {len(line.split(" | ")) for line in told.splitlines() if line.startswith("| ")}
    assert len(lengths) == 1


def test_a_report_from_stored_measurements_is_the_same_every_time(tmp_path):
    written = []
    for name in ("one", "two"):
        path = tmp_path / name / "bench.json"
        path.parent.mkdir()
        path.write_text(json.dumps(results(WHOLE)))
        bench.report(path, Console(file=io.StringIO()))
        written.append({file.name: file.read_bytes() for file in path.parent.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"bench.json", "table.md", "table.csv", "throughput.png"}
    [ours, torch] = csv.DictReader(io.StringIO(written[0]["table.csv"].decode()))
    assert (ours["side"], torch["side"], torch["ratio"]) == ("ours", "torch", "3.0")
    assert float(torch["throughput_median"]) == 2000


def test_shipped_measurements_are_printed_and_their_files_left_unless_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder, workload in (("results", "W1"), ("my_results", "W2")):
        path = tmp_path / folder / "bench" / "one" / "bench.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(results(WHOLE | {"workload": workload})))

    def written():
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("table.md"))

    monkeypatch.setattr(bench.flags, "FLAGS", types.SimpleNamespace(results_dir=None, report_only=True))
    bench.main()
    assert "| W1 | float32" in (told := capsys.readouterr().out)
    assert "| W2 | float32" in told
    assert written() == ["my_results/bench/one/table.md"]
    bench.flags.FLAGS.results_dir = "results"
    bench.main()
    assert written() == ["my_results/bench/one/table.md", "results/bench/one/table.md"]


def test_scaling_is_drawn_relative_to_the_first_point(tmp_path, monkeypatch):
    cases = [case(runs=1, ours=side(1000, 1.0)), case(runs=4, ours=side(4000, 2.0)),
             case(runs=1, ours=side(2000, 2.0)) | {"scale": 2, "examples": 2000}]
    for one in cases:
        del one["sides"]["ours"]["learned"]
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps(results(*cases)))
    bench.report(path, Console(file=io.StringIO()))
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(plots.plots, "png", lambda draw: draw)
    by_runs, by_scale = plots.scaling(results(*cases))().axes
    drawn = [[list(line.lines[0].get_ydata()) for line in axes.containers] for axes in (by_runs, by_scale)]
    assert drawn == [[[1.0, 0.5]], [[1.0, 1.0]]]


def run(results_dir, *flags):
    return commands.here().run("harness.bench", f"--results_dir={results_dir}", *flags)


@pytest.mark.parametrize(("flags", "line"), [
    (["--workloads=W9"], "--workloads names W9; there are W1, W2"),
    (["--peers=tinygrad"], "--peers names tinygrad; there are keras, torch"),
    (["--grid=1,x"], "--grid=1,x must be whole numbers"),
    (["--rounds=0"], "rounds"),
    (["--report_only"], "make some with: python -m harness.bench"),
    (["--scaling", "--peers=torch", "--workloads=W9"], "over a grid of its own: leave out --peers"),
    (["--scaling", "--grid=4", "--workloads=W9"], "over a grid of its own: leave out --grid"),
])
def test_a_mistake_is_one_line_and_fails(tmp_path, flags, line):
    failed = run(tmp_path, *flags)
    assert failed.returncode in (1, 2)
    assert line in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_peer_asked_for_and_not_installed_is_one_line(tmp_path):
    """Packages that fail to import stand in front of whatever is installed."""
    for package in ("torch", "keras"):
        (tmp_path / "shadow" / package).mkdir(parents=True)
        (tmp_path / "shadow" / package / "__init__.py").write_text("raise ModuleNotFoundError('no such package')")
    failed = subprocess.run(
        [sys.executable, "-m", "harness.bench", f"--results_dir={tmp_path / 'results'}", "--peers=torch",
         "--workloads=W3"], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "shadow")})
    assert failed.returncode == 1
    assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr
    assert "torch is absent: ModuleNotFoundError" in failed.stderr
    assert "pip install -c constraints.txt -e '.[bench]'" in failed.stderr


def test_a_file_that_is_no_measurement_is_one_line(tmp_path):
    path = tmp_path / "bench" / "device" / "bench.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    failed = run(tmp_path, "--report_only")
    assert failed.returncode == 1
    assert "bench.json cannot be read" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr


def test_a_results_folder_may_be_in_the_home_folder(tmp_path):
    (tmp_path / "bench" / "one").mkdir(parents=True)
    (tmp_path / "bench" / "one" / "bench.json").write_text(json.dumps(results(WHOLE)))
    done = commands.here().run("harness.bench", "--report_only", "--results_dir=~", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bench" / "one" / "table.md").exists()


def test_help_teaches_by_example(tmp_path):
    told = run(tmp_path, "--help")
    assert "python -m harness.bench --workloads=W1,W4" in told.stdout
    assert "--scaling" in told.stdout
