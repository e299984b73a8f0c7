"""Measures what a report of very many runs takes, on copies of shipped records with other levels, seeds, predictions.

Run: python -m tests.report_scale --runs 1000      Writes results/report_scale/scale.csv.

One report in a process of its own, pictures included; the folder is built anew and goes afterwards.
"""

import argparse
import dataclasses
import itertools
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent / "fixtures"))
from rows import append

from harness.records import SHIPPED_RESULTS, Folder, Plan, PlannedRun, RunRecord

NAME, SOURCE, SEEDS = "many_records", "fashion_regularization", 5
ROOT = pathlib.Path(__file__).parent.parent
OUT = ROOT / SHIPPED_RESULTS / "report_scale" / "scale.csv"
COLUMNS = ("code", "runs", "cells", "seeds", "cpu_s", "peak_mib", "python", "numpy", "machine")


def build(results_dir: pathlib.Path, source: Folder, cells: int, seeds: int) -> Folder:
    """Copies a shipped ablation's done runs with other levels and seeds, and a few other test predictions in each."""
    folder, found = Folder(results_dir, NAME), source.records()
    known = sorted({record.cell: run_id for run_id, record in reversed(found.items())}.values())
    levels = [f"level {number}" for number in range(cells)]
    written = {}
    for number, seed in itertools.product(range(cells), range(seeds)):
        run_id = known[number % len(known)]
        written[f"made={levels[number]},seed={seed}".replace(" ", "_")] = _copy(
            folder, source, run_id, found[run_id], levels[number], seed)
    folder.write_plan(Plan(NAME, "Does a report of very many runs stay quick?", {"made": tuple(levels)}, tuple(
        PlannedRun(run_id, record.cell, record.labels, record.seed) for run_id, record in written.items())))
    return folder


def _copy(folder: Folder, source: Folder, run_id: str, record: RunRecord, level: str, seed: int) -> RunRecord:
    arrays = source.predictions(run_id)
    generator = np.random.default_rng([seed, len(level), sum(level.encode())])
    changed = generator.choice(len(arrays["label"]), 40, replace=False)
    arrays["predicted"] = arrays["predicted"].copy()
    arrays["predicted"][changed] = generator.integers(0, len(record.dataset.class_names), len(changed))
    assert record.best
    accuracy = float(np.mean(arrays["predicted"] == arrays["label"]))
    copied = dataclasses.replace(
        record, ablation=NAME, cell=f"made={level}", labels={"made": level}, seed=seed,
        best=dataclasses.replace(record.best, test_accuracy=accuracy))
    name = f"{copied.cell},seed={seed}".replace(" ", "_")
    folder.write(name, copied, source.curve(run_id), arrays)
    if seed == 0 and (exhibits := source.run(run_id) / "exhibits.npz").exists():
        shutil.copy(exhibits, folder.run(name))
    return copied


def measure(runs: int) -> dict[str, object]:
    """Reports that many runs once: a row of the table."""
    with tempfile.TemporaryDirectory() as results_dir:
        build(pathlib.Path(results_dir), Folder(ROOT / SHIPPED_RESULTS, SOURCE), runs // SEEDS, SEEDS)
        process = subprocess.Popen([sys.executable, "-m", "harness.report", f"--results_dir={results_dir}"], cwd=ROOT,
                                   stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True,
                            check=True)
    cpu_s = used.ru_utime + used.ru_stime
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return dict(zip(COLUMNS, (commit.stdout.strip(), runs, runs // SEEDS, SEEDS, round(cpu_s, 1),
                              used.ru_maxrss // 1024, platform.python_version(), np.__version__, machine), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    append(OUT, measure(parser.parse_args().runs))


if __name__ == "__main__":
    main()
