"""Kills launches at random moments and at every write, and counts what that has cost: make soak.

A sweep of two small networks with two seeds each is launched, killed by SIGKILL and launched again until it is whole,
then compared with one that nobody killed: `lost` counts records that were there and are not, or were never made,
`duplicated` those that were written twice, `different` files of runs with other content (of records, what is not a
time), `leftover` files that the other sweep does not have. All four must be zero.

  python tests/soak.py --rounds=50 --minutes=12 --out=results/soak/soak.json

Rounds take turns among the stages of a launch, each with a random delay: import, compile, train, checkpoint, record,
report. In turns with them launches of another sweep are killed at each write, with half of the file written.
"""

import argparse
import collections
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent / "fixtures"))

import commands
from place import ROOT

STAGES = ("import", "compile", "train", "checkpoint", "record", "report")
COUNTS = ("lost", "duplicated", "different", "leftover")
# What of a record is no time and no launch's.
STATED = ("config_hash", "dataset", "status", "epochs_trained", "stopped_early", "best", "last")
GRID = '''
from ablations.spec import Ablation, Factor, RunConfig
from models import CNNConfig, MLPConfig

ABLATION = Ablation(
    question="Does it outlive being killed?",
    base=RunConfig(dataset="digits", model=MLPConfig(), batch_size=100, epochs=3, train_size=500, validation_size=200),
    factors={"network": Factor("model", {"mlp": MLPConfig(hidden=(16,), dropout=0.2),
                                         "cnn": CNNConfig(filters=(4,), batch_norm=True)})},
    seeds=(0, 1),
)
'''


class Sweep:
    """A folder of results, and the launches that fill it.

    Attributes:
      kills: stage -> launches that were killed in it.
    """

    def __init__(self, work: pathlib.Path, server: commands.Commands, name: str):
        self.work, self.server = work, server
        self.kills = collections.Counter[str]()
        self.begin(name)

    def begin(self, name: str) -> None:
        """Goes on in another folder."""
        self.results = self.work / name
        self._known: dict[str, tuple[int, int]] = {}

    @property
    def flags(self) -> list[str]:
        return [f"--ablation={self.work / 'grid.py'}", f"--results_dir={self.results}", "--save_every_s=0"]

    def launch(self, *moment: str) -> bool:
        """Launches, and gives whether it was killed."""
        done = self.server.run("killed", *(moment or ("never",)), "--", *self.flags,
                               XDG_CACHE_HOME=str(self.work / "cache"))
        if done.returncode not in (0, -9):
            raise SystemExit(f"a launch ended with {done.returncode}: {done.stderr}")
        self.kills[moment[0] if done.returncode else "none"] += 1
        return done.returncode != 0

    def launch_and_kill_early(self, delay_s: float) -> None:
        """Launches a process that still has everything to import."""
        process = subprocess.Popen([sys.executable, "-m", "harness.run", *self.flags], cwd=ROOT,
                                   env=os.environ | {"XDG_CACHE_HOME": str(self.work / "cache")},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        process.kill()
        self.kills["import" if process.wait() else "none"] += 1

    def noticed(self) -> dict[str, int]:
        """Counts records that went or were written again since it was last asked."""
        now = {path.parent.name: (path.stat().st_mtime_ns, path.stat().st_ino)
               for path in self.results.glob("grid/runs/*/record.json")}
        counts = {"lost": len(self._known.keys() - now.keys()),
                  "duplicated": sum(now.get(run, kept) != kept for run, kept in self._known.items())}
        self._known = now
        return counts

    def compared(self, reference: pathlib.Path) -> dict[str, int]:
        """Counts in what a sweep that is whole differs from one that nobody killed."""
        own, other = contents(self.results), contents(reference)
        runs = [name for name in other if "/runs/" in name]
        return {"lost": sum(name not in own for name in runs if name.endswith("record.json")),
                "duplicated": len(list(self.results.glob("grid/set_aside/*"))),
                "different": sum(own.get(name) != other[name] for name in runs),
                "leftover": len(own.keys() - other.keys())}


def contents(results: pathlib.Path) -> dict[str, Any]:
    """Reads every file; of records what is no time."""
    found: dict[str, Any] = {}
    for path in sorted(results.rglob("*")):
        if path.is_file():
            found["/" + path.relative_to(results).as_posix()] = path.read_bytes()
            if path.name == "record.json":
                stored = json.loads(path.read_bytes())
                found["/" + path.relative_to(results).as_posix()] = {name: stored[name] for name in STATED}
    return found


def random_kills(sweep: Sweep, rounds: int, deadline: float, draw: random.Random) -> Iterator[tuple[Sweep, bool]]:
    """Kills launches in one stage after the other; gives the sweep after each, and whether it is whole again."""
    for number, stage in zip(range(rounds), itertools.cycle(STAGES)):
        if stage == STAGES[0]:
            sweep.begin(f"random{number}")
        if stage == "import":
            sweep.launch_and_kill_early(draw.uniform(0, 8))
        else:
            sweep.launch(stage, str(draw.randint(1, 2)), f"{draw.uniform(0, 0.2):.4f}")
        yield sweep, False
        is_last = number == rounds - 1 or time.monotonic() > deadline
        if stage == STAGES[-1] or is_last:
            sweep.launch()
            yield sweep, True
        if is_last:
            return


def kills_at_writes(sweep: Sweep, most: int, deadline: float) -> Iterator[tuple[Sweep, bool]]:
    """Kills a launch at each write of one sweep; gives it after each, and whether it is whole."""
    for _ in range(most):
        if time.monotonic() > deadline or not sweep.launch("write", str(sweep.work / "writes.txt")):
            break
        yield sweep, False
    sweep.launch()
    yield sweep, True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--writes", type=int, default=200, help="at most so many launches are killed at a write")
    parser.add_argument("--minutes", type=float, default=12, help="after which no launch is killed any more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for the figures")
    asked = parser.parse_args()
    began = time.monotonic()
    deadline = began + 60 * asked.minutes
    counts, kills, complete = dict.fromkeys(COUNTS, 0), collections.Counter[str](), 0
    server = commands.Commands(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "grid.py").write_text(GRID)
        reference, often, each = (Sweep(work, server, name) for name in ("reference", "random", "writes"))
        reference.launch()
        turns = itertools.zip_longest(random_kills(often, asked.rounds, deadline, random.Random(asked.seed)),
                                      kills_at_writes(each, asked.writes, deadline))
        for sweep, is_whole in filter(None, itertools.chain.from_iterable(turns)):
            found = collections.Counter(sweep.noticed())
            kills = reference.kills + often.kills + each.kills
            if is_whole:
                complete += 1
                found.update(sweep.compared(reference.results))
                print(f"{kills.total()} launches, {kills.total() - kills['none']} killed, {complete} sweeps whole: "
                      f"{dict(found)}", flush=True)
            counts = {name: counts[name] + found[name] for name in COUNTS}
    server.close()
    figures = {"counts": counts, "kills": dict(sorted(kills.items())), "launches": kills.total(),
               "sweeps": complete, "seconds": round(time.monotonic() - began), "seed": asked.seed,
               "device": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
               "versions": {"python": platform.python_version()} | {
                   name: importlib.metadata.version(name) for name in ("jax", "flax", "orbax-checkpoint", "numpy")}}
    print(f"killed in: {', '.join(f'{stage} {number}' for stage, number in figures['kills'].items())}")
    print("lost, duplicated, different, leftover: " + ", ".join(str(counts[name]) for name in COUNTS))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(figures, indent=1) + "\n")
    raise SystemExit(any(counts.values()))


if __name__ == "__main__":
    main()
