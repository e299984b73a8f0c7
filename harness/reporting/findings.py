"""What every ablation of a results folder found and how it was run, as tables that a report keeps up to date.

They stand in the folder's README.md, between marks, and in its claims.md.
"""

import datetime
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.records import RunRecord, again
from harness.records.record import LAYOUT_GIVEN
from harness.records.text import printable
from harness.reporting import render
from harness.reporting.page.cells import answer
from harness.reporting.page.index import Entry
from harness.reporting.render import DASH, escape_markdown
from harness.reporting.tables import evidence

_SHORT_COMMIT = 8


def filled(text: str, entries: Sequence[Entry]) -> str:
    """Puts each table between its two marks; text without them stays as it is."""
    for name, table in TABLES.items():
        before, start, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if end:
            text = f"{before}{start}\n{table(entries)}{end}{after}"
    return text


def found(entries: Sequence[Entry]) -> str:
    """Renders question and answer of each ablation that can be summed up, as Markdown."""
    lines = ["| ablation | runs | asked | found |", "|---|--:|---|---|"]
    for entry in entries:
        if entry.summary:
            done = sum(row.runs["done"] for row in entry.summary.rows)
            words = (escape_markdown(text) for text in (entry.summary.question, " ".join(answer(entry.summary))))
            lines.append(f"| [{entry.ablation}]({entry.ablation}/table.md) | {done} | {' | '.join(words)} |")
    return "\n".join([*lines, ""])


def run(entries: Sequence[Entry]) -> str:
    """Renders on what, of which code and how long each ablation was trained, as Markdown; + is uncommitted changes."""
    lines = ["| ablation | seeds | device | versions | commit | wall time | command |", "|---|--:|---|---|---|--:|---|"]
    for entry in (entry for entry in entries if entry.records):
        runs = entry.records.values()
        machines = [record.environment for record in runs]
        seeds = {record.seed for record in runs}
        cells = (
            f"{len(seeds)}", _distinct(machine.device for machine in machines),
            _distinct(f"jax {machine.packages.get('jax', '?')}, flax {machine.packages.get('flax', '?')}"
                      for machine in machines),
            _distinct(f"{(machine.git_commit or 'unknown')[:_SHORT_COMMIT]}{'+' if machine.git_dirty else ''}"
                      for machine in machines),
            _wall(entry.records), f"`{_command(entry)}`")
        lines.append(f"| [{entry.ablation}]({entry.ablation}/table.md) | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


TABLES: Mapping[str, Callable[[Sequence[Entry]], str]] = {"found": found, "run": run}


def claims(entries: Sequence[Entry]) -> str:
    """Renders all claims of all ablations beside what was measured, as Markdown; empty where there is none."""
    table = evidence.all_claims({entry.ablation: entry.summary for entry in entries if entry.summary})
    return render.markdown([table]) if table else ""


def _wall(records: Mapping[str, RunRecord]) -> str:
    """Writes how long training took, and beside it the features of frozen backbones, each of which is made once."""
    made = {(record.dataset.fingerprint, seen.name, seen.resolution, seen.weights_sha256): seen.features_s
            for record in records.values() if (seen := record.backbone) and seen.features_s is not None}
    features = f" + {sum(made.values()) / 60:,.1f} min features" if sum(made.values()) else ""
    return f"{wall_s(records) / 60:,.1f} min{features}"


def wall_s(records: Mapping[str, RunRecord]) -> float:
    """Adds up the time in which runs were being trained, of runs side by side once.

    Returns:
      seconds from the start of each launch's training of a cohort to the last record of it.
    """
    total, until = 0.0, 0.0
    for began, ended in sorted((_at(record.started_at), _at(record.finished_at)) for record in records.values()):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _command(entry: Entry) -> str:
    records = entry.records.values()
    record = next(iter(records))
    rule = entry.summary.plan.stopping if entry.summary and entry.summary.plan else None
    seeds = ",".join(map(str, sorted({one.seed for one in records})))
    looks = ([f"--until_decided={100 * rule.within:g}", f"--max_seeds={len(rule.seeds)}"] if rule else
             [f"--seeds={seeds}"])  # the ablation of today may have others
    folders = [f"--{flag}=DIR" for flag in again.folders(record)]
    layouts = {tuple(_layout(one)) for one in records}
    alike = next(iter(layouts)) if len(layouts) == 1 else ()
    flags = [*again.of_ablation(record), *looks, *_only(entry), *alike, *folders]
    return printable(shlex.join(["python", "-m", "harness.run", *flags])).replace("`", "'")


def _only(entry: Entry) -> list[str]:
    """Lists flags that pick the cells with records where the plan has others: nobody has seen what those take."""
    cells, planned = ({run_id.rpartition("seed=")[0]: None for run_id in runs} for runs in (
        entry.records, (run.run_id for run in entry.summary.plan.runs) if entry.summary and entry.summary.plan else ()))
    return [f"--only={cell}" for cell in cells] if planned.keys() - cells.keys() else []


def _layout(record: RunRecord) -> list[str]:
    """Lists the layout's flag, if the launch was given one."""
    placed = record.placement
    return [f"--layout={placed.layouts[0]}"] if placed and placed.choice.startswith(LAYOUT_GIVEN) else []


def _at(time: str) -> float:
    return datetime.datetime.fromisoformat(time).timestamp()


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(map(escape_markdown, dict.fromkeys(values))) or DASH
