"""A benchmark's measurements as rows, Markdown and CSV.

The measurements are those of `bench.json`; nothing else is read, so the same file gives the same tables.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.benchmark.rounds import LIMIT, OWN, PEAK
from harness.reporting.render import DASH, escape_markdown
from harness.reporting.rounded import count, size


class Spread(NamedTuple):
    """A median over rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Row:
    """What one side did in one case; None where there is nothing to tell.

    Attributes:
      runs: K, how many runs a measurement trains.
      throughput: examples per second, over all runs: trained on, or of a forward pass mapped to features.
      ratio: how many times faster the harness is than this side: the median over rounds of each round's ratio.
      goal: what the ratio is to be.
      met: whether it is; false when either side failed the guard.
      peak_fraction: of the matmul peak measured in the same rounds.
      peak_goal: what that fraction aims at.
      loss: on held-out images, after training from the start; of a forward pass the distance from a reference; None
        where it is not finite.
      learned: whether the loss passes the guard.
      repeats: measurements repeated for other load.
      disturbed: measurements that stayed disturbed.
      failed: why the side has no figures.
      task: see `workloads.Workload`.
      image_px: height of the images; None in measurements that do not tell.
    """

    workload: str
    precision: str
    runs: int
    side: str
    throughput: Spread | None = None
    ratio: float | None = None
    goal: float | None = None
    met: bool | None = None
    compile_s: float | None = None
    memory_bytes: int | None = None
    device_bytes: int | None = None
    peak_fraction: float | None = None
    peak_goal: float | None = None
    loss: float | None = None
    learned: bool | None = None
    repeats: int | None = None
    disturbed: int | None = None
    failed: str = ""
    task: str = "train"
    image_px: int | None = None


def cases(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lists the cases, each with when, where and at which commit it was measured; schema 1 states that once for all."""
    shared = {name: value for name, value in results.items() if name not in ("schema", "cases")}
    return [{**shared, **case} for case in results["cases"]]


def rates(side: Mapping[str, Any]) -> list[float]:
    """Lists a side's work per second, round by round; nothing for a side that failed."""
    return [] if "failed" in side else [side["work"] / one["seconds"] for one in side["timed"]]


def spread(values: Sequence[float]) -> Spread:
    """Takes the median, the lowest and the highest."""
    return Spread(statistics.median(values), min(values), max(values))


def rows(results: Mapping[str, Any]) -> list[Row]:
    """Lists a row per case and side, the peak's aside."""
    return [_row(case, name) for case in results["cases"] for name in case["sides"] if name != PEAK]


def _row(case: Mapping[str, Any], name: str) -> Row:
    side, own = case["sides"][name], case["sides"][OWN]
    key = (case["workload"], case["precision"], case["runs"], name)
    kind: dict[str, Any] = {"task": case.get("task", "train"), "image_px": case.get("image_px")}
    if "failed" in side:
        return Row(*key, failed=side["failed"], **kind)
    ratio = goal = met = None
    learned = _has_learned(case, name)
    if name != OWN and (own_rates := rates(own)):
        goal = _goal(case, case["goals"].get(name))
        if learned and _has_learned(case, OWN):
            ratio = statistics.median(_ratios(own_rates, rates(side)))
        met = None if goal is None else ratio is not None and ratio >= goal
    peak = rates(case["sides"].get(PEAK, {"failed": "not asked"}))
    reached = [rate * case["flops_per_example"] for rate in rates(side)]
    return Row(
        *key, throughput=spread(rates(side)), ratio=ratio, goal=goal, met=met, compile_s=side["compile_s"],
        memory_bytes=side["memory_bytes"], device_bytes=side["device_bytes"],
        peak_fraction=statistics.median(_ratios(reached, peak)) if peak else None,
        peak_goal=case["peak_goal"] if name == OWN and case["runs"] == case["grid"] else None,
        loss=side["learned"]["loss"], learned=learned, repeats=sum(one["repeats"] for one in side["timed"]),
        disturbed=sum(one["disturbed"] for one in side["timed"]), **kind)


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divides round by round: what slows a whole round down slows both."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def _has_learned(case: Mapping[str, Any], name: str) -> bool:
    loss = case["sides"][name]["learned"]["loss"]
    return loss is not None and loss <= case["loss_goal"]


def _goal(case: Mapping[str, Any], goals: Mapping[str, float] | None) -> float | None:
    """The goals are for one run and for the whole grid, in float32."""
    if not goals or case["precision"] != "float32":
        return None
    return {1: goals["one_run"], case["grid"]: goals["grid"]}.get(case["runs"])


def markdown(results: Mapping[str, Any]) -> str:
    """Renders the table with what it was measured on."""
    header = ("workload", "precision", "K", "side", "images/s [min, max]", "ours / side", "goal", "met", "compile s",
              "memory", "of matmul peak", "guard", "repeated", "disturbed")
    lines = [f"| {' | '.join(header)} |", f"|{' :-- |' * 2} --: | :-- |{' --: |' * (len(header) - 4)}"]
    lines += [f"| {' | '.join(map(escape_markdown, _cells(row)))} |" for row in rows(results)]
    return "\n".join([*lines, "", *(f"- {escape_markdown(note)}" for note in _notes(results)), ""])


def _cells(row: Row) -> list[str]:
    start = [row.workload, row.precision, DASH if row.task in ("forward", "augment") else str(row.runs), row.side]
    if row.throughput is None:
        return [*start, f"failed: {row.failed}", *[DASH] * 9]
    memory = size(row.memory_bytes or 0) + ("" if row.device_bytes is None else f" + {size(row.device_bytes)} device")
    aim = "" if row.peak_goal is None else f" (aim {100 * row.peak_goal:.0f} %)"
    return [*start, f"{count(row.throughput.median)} [{count(row.throughput.low)}, {count(row.throughput.high)}]",
            DASH if row.ratio is None else f"{row.ratio:.2f}", DASH if row.goal is None else f"{row.goal:.1f}",
            {None: DASH, True: "yes", False: "no"}[row.met], f"{row.compile_s:.1f}", memory,
            "n/a" if row.peak_fraction is None else f"{100 * row.peak_fraction:.0f} %{aim}",
            f"{_guard(row)}{'' if row.learned else ' failed guard'}", str(row.repeats), str(row.disturbed)]


def _guard(row: Row) -> str:
    kind, form = ("loss", ".3f") if row.task in ("train", "command") else ("distance", ".0e")
    return f"{kind} not finite" if row.loss is None else f"{kind} {row.loss:{form}}"


def _notes(results: Mapping[str, Any]) -> list[str]:
    launches: dict[str, list[dict[str, Any]]] = {}
    for case in cases(results):
        launches.setdefault(case["started_at"], []).append(case)
    notes = [
        *map(_launch, launches.values()),
        "K runs: one cohort here, one run after another in a peer. Medians over rounds in which the sides took turns; "
        "ratios are taken round by round.",
        "Guard: each side also trains from the start, and a cross-entropy on held-out images above the workload's goal "
        "fails; such a speed does not count."]
    if any(case.get("task") == "forward" for case in cases(results)):
        notes.append(
            "MNV2: uint8 images of so many pixels in memory to pooled features in memory, by a frozen MobileNetV2 of "
            "width 1.0 with the same random weights on every side; nothing is trained. Guard: distance of features of "
            "held-out images from a float64 reference, relative to how these differ from image to image.")
    if costs := [f"{row.workload} {1e6 / row.throughput.median:.1f}" for row in rows(results)
                 if row.task == "augment" and row.throughput]:
        notes.append(
            "AUG: changes to training images inside the compiled step, on one core of a CPU, microseconds an image: "
            f"{', '.join(costs)}. Guard: the distance of images from what they were, at strength zero.")
    notes += [_command(case) for case in cases(results)
              if case.get("task") == "command" and "failed" not in case["sides"][OWN]]
    notes += [
        f"Repeated: measurements during which others had more than {100 * LIMIT:.0f} % of a core; disturbed: those "
        "that never got quiet. Memory is the process's peak."]
    if len(launches) > 1:
        notes.append("A machine is not equally fast in every launch, as its matmul peak shows: images/s compare within "
                     "one alone.")
    if missed := [f"{row.workload} against {row.side} with K = {row.runs}: "
                  + ("not counted: guard failed" if row.ratio is None else f"{row.ratio:.2f} of {row.goal:.1f}")
                  for row in rows(results) if row.met is False]:
        notes.append(f"Goals missed: {'; '.join(missed)}.")
    absent = {f"{name} is absent: {why}": None for case in cases(results) for name, why in case["absent"].items()}
    return [*notes, *absent]


def _command(case: Mapping[str, Any]) -> str:
    """Tells where the time of a whole command went."""
    own = case["sides"][OWN]
    seconds = statistics.median(one["seconds"] for one in own["timed"])
    parts = ", ".join(f"{name} {part:.1f} s" for name, part in own["learned"]["parts_s"].items())
    return f"COMMAND, K = {case['runs']}: {seconds:.1f} s from launch to table with cold caches: {parts}."


def _launch(measured: Sequence[Mapping[str, Any]]) -> str:
    """Tells what the cases of one launch were measured on."""
    first = measured[0]
    machine = first["machine"]
    versions: dict[str, str] = {}
    peaks: dict[str, list[float]] = {}
    for case in measured:
        if PEAK in case["sides"]:
            peaks.setdefault(case["precision"], []).extend(rates(case["sides"][PEAK]))
        for side in case["sides"].values():
            versions |= side.get("versions", {})
    names = ", ".join(dict.fromkeys(case["workload"] for case in measured))
    commit = str(machine["git_commit"])[:12] + (" with changes" if machine["git_dirty"] else "")
    told = [f"matmul peak, {precision}: {value.median / 1e9:,.0f} GFLOP/s [{value.low / 1e9:,.0f}, "
            f"{value.high / 1e9:,.0f}]; " for precision, value in
            ((precision, spread(measured)) for precision, measured in peaks.items() if measured)]
    return (f"{names}: {machine['device']}, commit {commit}, {first['started_at']}, {first['rounds']} rounds, load "
            f"{first['load']:.1f} at the start; {''.join(told)}"
            + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))


def csv(results: Mapping[str, Any]) -> str:
    """Renders every row unrounded."""
    flat = [{("throughput_" + key if key in Spread._fields else key): value for key, value in (
        dataclasses.asdict(row) | (row.throughput._asdict() if row.throughput else {})).items() if key != "throughput"}
        for row in rows(results)]
    return pd.DataFrame(flat, dtype=object).to_csv(index=False, lineterminator="\n")
