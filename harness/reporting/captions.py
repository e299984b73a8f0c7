"""The sentences below a table: what its numbers rest on."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from harness.analysis import scores
from harness.analysis.cells import ABSENT, MARK, CellRow, Summary
from harness.records import BackboneFacts, Environment, RunRecord
from harness.records.loaded import Apart
from harness.records.pooling import unlike
from harness.reporting import planned
from harness.reporting.answer import headline


def caption(summary: Summary) -> tuple[str, ...]:
    """Writes the caption of the main table, sentence by sentence."""
    rows, view, everything = summary.rows, summary.view, summary.records.values()
    return (
        *_data_sentences(everything),
        _coverage(summary),
        *planned.sentences(summary),
        *_prediction_sentences(summary),
        *_metric_sentences(summary),
        f"{_SELECTED[view.select]}: mean over seeds with its 95 % t interval; n counts its runs. There is no interval "
        "(n/a) below two, or where all values are equal.",
        _baseline_sentence(summary),
        *(["Bold is the best mean, where it is clearly ahead of every other cell."]
          if any(row.is_best for row in rows) else []),
        *_cost_sentences(rows, {record.cell for record in everything
                                if record.backbone and record.backbone.features_s is not None}),
        *_backbone_sentences(everything),
        *_environment_sentences(everything),
        *_mixture_sentences(rows, [record for record in everything if record.status == "done"]),
        *apart_sentences(summary.apart),
        *dict.fromkeys(f"Warning: {text}" for record in everything for text in record.dataset.warnings),
    )


def weighty(summary: Summary) -> tuple[str, ...]:
    """Picks the sentences without which a table would mislead: what is missing or mixed, and warnings."""
    rows, everything = summary.rows, summary.records.values()
    done = [record for record in everything if record.status == "done"]
    baseline = _baseline_sentence(summary)
    return (
        *([_coverage(summary)] if any(row.runs[status] for row in rows for status in ABSENT) else []),
        *apart_sentences(summary.apart),
        *planned.afterwards(summary),
        *dict.fromkeys(f"Warning: {text}" for record in everything for text in record.dataset.warnings),
        *([baseline] if baseline.startswith("Differences are n/a") or _NOT_DONE in baseline else []),
        *_mixture_sentences(rows, done),
    )


_ALONE = "the headline test's, of this comparison alone, and may exclude zero by chance where there is no star"
_NOT_DONE = "Differences are n/a where the baseline has no done run:"
_SELECTED = {
    "best_validation": "Scores are those of the state at the best validation epoch, the test set read once",
    "last": "Scores are those of the state after the last epoch, whatever the validation set says of it",
}


def apart_sentences(apart: Apart) -> list[str]:
    """Names what lies beside the records and is in no number."""
    removed = "; ".join(f"{cell}: {_runs(number)}" for cell, number in apart.removed.items())
    number = f"{len(apart.damaged)} damaged file{'s' * (len(apart.damaged) > 1)}"
    return [*([f"Warning: {number} counted nowhere: {_several(apart.damaged)}."] if apart.damaged else []),
            *([f"Not in the table: runs of cells that the ablation no longer has, {removed}. Put their levels back "
               "into it to have them count."] if apart.removed else [])]


def _runs(number: int) -> str:
    return f"{number} run{'s' * (number != 1)}"


def _several(names: Sequence[str]) -> str:
    """Lists the first few."""
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


_NAMED = 5


def _data_sentences(records: Iterable[RunRecord]) -> list[str]:
    return list(dict.fromkeys(
        f"Data: {data.name} ({data.source}), {data.train_examples:,} training, "
        f"{data.validation_examples:,} validation and {data.test_examples:,} test examples of "
        f"{' x '.join(map(str, data.image_shape))} in {len(data.class_names)} classes, "
        f"fingerprint {data.fingerprint[:12]}."
        for data in (record.dataset for record in records)))


def _coverage(summary: Summary) -> str:
    rows, plan, records = summary.rows, summary.plan, summary.records

    def total(status: str) -> int:
        return sum(row.runs[status] for row in rows)

    def where(status: str) -> str:
        return "; ".join(f"{row.label}: {row.runs[status]}" for row in rows if row.runs[status])

    counts = [f"{total('done')} done"]
    counts += [f"{total(status)} {'failed' if status == 'error' else status} ({where(status)})"
               for status in ABSENT if total(status)]
    planned = f"{total('planned')} planned" if plan else "no plan, so what is missing is unknown"
    unplanned = len(records.keys() - {run.run_id for run in plan.runs}) if plan else 0
    extra = f"; {unplanned} of them outside the plan" if unplanned else ""
    seeds = sorted({record.seed for record in records.values() if record.status == "done"})
    said = Counter(record.message for record in records.values() if record.status in ("error", "oom"))
    failures = _several([f"{why} ({_runs(number)})" for why, number in said.most_common()])
    failed = f" Failed with: {failures}." if failures else ""
    return f"Runs: {planned}; {', '.join(counts)}{extra}. Seeds done: {', '.join(map(str, seeds)) or 'none'}.{failed}"


def _prediction_sentences(summary: Summary) -> list[str]:
    done, known = sum(row.runs["done"] for row in summary.rows), summary.predictions
    if known is None or known == done:
        return []
    return [f"Class scores and comparisons on shared test examples rest on {known} of {done} done runs: the others "
            "kept no predictions with labels." if known else
            "Class scores and comparisons on shared test examples are n/a: no run kept predictions with labels."]


# What a reader must know of a score, by the start of its name.
_METRICS = {
    "top5": "Top-5 accuracy: the share of test examples whose class is among the five of the highest logits.",
    "balanced": "Balanced accuracy: the mean over classes of the share of their test examples that are found.",
    "macro": "Macro F1: the mean over classes of the harmonic mean of precision and recall.",
    "log": "Log loss: the mean cross-entropy of the test set, in nats; it is the test loss.",
    "calibration": "Calibration error: the expected one of the predicted class's probability, in 15 equal bins.",
    "tta": "Accuracy with test-time augmentation: of the probabilities averaged over views of each test image.",
}


def _metric_sentences(summary: Summary) -> list[str]:
    metric = summary.view.metric
    done, known = sum(row.runs["done"] for row in summary.rows), sum(row.score.n for row in summary.rows)
    absent = f"{metric} is known of {known} of {done} done runs, over which alone it is averaged."
    return [*([_METRICS[start]] if (start := metric.partition("_")[0]) in _METRICS and metric in scores.NAMES else []),
            *([absent] if known < done else [])]


def _baseline_sentence(summary: Summary) -> str:
    rows, view, plan = summary.rows, summary.view, summary.plan
    baselines = [row for row in rows if row.is_baseline]
    if len(rows) < 2:
        return "There is one cell, and nothing it is compared with."
    if not baselines:
        reason = "no planned cell has all reference levels" if plan else "without a plan the baseline is unknown"
        return f"Differences are n/a: {reason}."
    names = "; ".join(row.label for row in baselines)
    if not any(row.score.n for row in baselines):
        lacks = "such score" if any(row.runs["done"] for row in baselines) else "done run"
        return f"Differences are n/a: the baseline ({names}) has no {lacks}."
    fewer = [f"{row.label}: {row.difference.n}" for row in rows if row.comparison and row.baseline
             and row.difference.n < max(row.score.n, summary.by_cell[row.baseline].score.n)]
    note = f" Fewer pairs than the cell or its baseline has runs: {_several(fewer)}." if fewer else ""
    if absent := [row.label for row in baselines if not row.runs["done"]]:
        note += f" {_NOT_DONE} {'; '.join(absent)}."
    name = view.metric.replace("_", " ")
    of = f"percentage points of {name}" if view.is_fraction else name
    same = " and ".join(plan.within if plan else ())
    which = "the baseline" if len(baselines) == 1 else f"the baseline of the same {same}"
    return (f"Differences are in {of} from {which} ({names}), paired by seed; their 95 % interval is "
            f"{'widened for looks and cells' if summary.looked else _ALONE}; "
            f"* is clear: p below 0.05 by {headline(summary)}{note}")


def _cost_sentences(rows: Sequence[CellRow], featured: Collection[str]) -> list[str]:
    """Says what costs are of.

    Args:
      featured: cells that train on features of a frozen backbone.
    """
    together = sorted({row.timing.members_at_once for row in rows if row.timing})
    if not together:
        return []
    number = f"{together[0]}" if len(together) == 1 else f"{together[0]} to {together[-1]}"
    other = [f"{row.timed} of {row.runs['done']} of {row.label}" for row in rows if row.timed < row.runs["done"]]
    without = [row.label for row in rows if row.timing and row.cell not in featured]
    measured = any(row.cost and row.cost.measured_peak_bytes is not None for row in rows)
    return ["MACs are of one example's forward pass. Memory is estimated for one run as parameters + gradients + "
            "optimizer state + activations at the batch size, and a moving average where one is kept; compiled is the "
            "training program's own figure"
            + (", on each device; measured is the most that the process held above its start, compiling included, or "
               "the device, while the run trained, n/a where others trained beside it" if measured else "") + ". "
            f"Throughput and train s are one run's, compilation excluded, with so many runs side by side: {number}"
            + (f"; they are means over as many runs as had the same number: {_several(other)}. " if other else ". ") +
            "Compile s is that of the program which its runs share, less where it was cached."
            + (" Parameters and MACs are the whole network's, the frozen backbone included; activations in the memory "
               "estimate are those of trained layers alone; compiled, throughput and train s are of the head's "
               "program, which reads features. End to end is of both: it counts validation, and the whole time that "
               "features took, as if for this run alone." if featured else "")
            + (f" Not so of {_several(without)}, where all of the network is in every figure: what trains part of the "
               "backbone has no features." if featured and without else "")]


def _backbone_sentences(records: Iterable[RunRecord]) -> list[str]:
    def text(backbone: BackboneFacts) -> str:
        trained = "frozen" if backbone.fine_tune == "none" else f"trained from {backbone.fine_tune} on"
        official = "" if backbone.weights_official else ", not proven official"
        features = "" if backbone.features_s is None else (
            f"; the features of all images took {backbone.features_s:,.0f} s, once for all runs")
        return (f"Backbone: {backbone.name} at {backbone.resolution} px, {trained}; weights {backbone.weights_file} "
                f"(sha256 {backbone.weights_sha256[:12]}{official}){features}.")

    return list(dict.fromkeys(text(record.backbone) for record in records if record.backbone))


def _environment_sentences(records: Iterable[RunRecord]) -> list[str]:
    def text(machine: Environment) -> str:
        commit = (machine.git_commit or "")[:12] or f"unknown (version {machine.harness_version})"
        dirty = " with uncommitted changes" if machine.git_dirty else ""
        number = f"{machine.device_count} x " if machine.platform != "cpu" else ""  # jax has one for each core
        return (f"Device: {number}{machine.device} ({machine.platform}); jax "
                f"{machine.packages.get('jax', 'unknown')}; commit {commit}{dirty}.")

    return list(dict.fromkeys(text(record.environment) for record in records))


def _mixture_sentences(rows: Sequence[CellRow], records: Sequence[RunRecord]) -> list[str]:
    """Names in what the runs of one experiment differ that may change numbers besides the seed."""
    found = []
    for fact, values in unlike(records).items():
        counts = "; ".join(f"{number} with {value}" for value, number in values.items())
        within = "; ".join(row.label for row in rows if fact in row.mixed)
        marked = any(row.comparison and fact in row.comparison.unlike for row in rows)
        found.append(f"{f'{MARK} ' if marked else ''}Runs differ in {fact}: {counts}."
                     + (f" Averaged all the same in {within}." if within else "")
                     + (f" {MARK} marks differences between such runs." if marked else ""))
    return found
