"""What of an ablation a plan states, and what has changed since its runs were recorded."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence

from ablations import design
from ablations.lookup import Study, has_code_of_its_own
from ablations.own_data import ImageFolder
from ablations.spec import Run
from harness import data, records


def plan(study: Study, runs: Sequence[Run], provenance: records.Provenance, rule: records.Stopping | None = None
         ) -> records.Plan:
    """States what is planned, and fixes it now.

    Args:
      runs: all that are planned; those that a rule has yet to ask for are not.
      rule: by which seeds are added.
    """
    ablation = study.ablation
    comparisons = ablation.comparisons()
    return records.Plan(
        study.name, ablation.question, ablation.levels(),
        tuple(records.PlannedRun(run.run_id, run.cell, dict(run.labels), run.seed) for run in runs),
        # A source claims nothing of runs under other settings.
        () if study.overrides else tuple(
            records.PlannedClaim(**dataclasses.asdict(claim)) for claim in ablation.claims),
        ablation.varied, ablation.within, **vars(provenance), design=design.name(ablation.design),
        comparisons=comparisons, stopping=rule,
        fixed=records.fixed(comparisons, rule.seeds[:rule.step] if rule else ablation.seeds, rule))


def changed(study: Study, runs: Sequence[Run], absent: Collection[str], folder: records.Folder, data_dir: str | None
            ) -> list[str]:
    """Says, in a line each, of what recorded runs are that is no longer so: the user's code, the user's pictures.

    Args:
      absent: the runs that are to be trained.
      data_dir: as `data.load` has it.
    """
    return list(filter(None, (edited(study, runs, absent, folder), *other_data(runs, absent, folder, data_dir))))


def other_data(runs: Sequence[Run], absent: Collection[str], folder: records.Folder, data_dir: str | None) -> list[str]:
    """Says which of the user's folders and files hold other pictures now; what is not there any more says nothing."""
    numbers, now = Counter[str](), dict[object, str]()
    for run in runs:
        given, size = run.config.dataset, run.config.validation_size
        if run.run_id in absent or not (isinstance(given, ImageFolder) or str(given).startswith("npz:")):
            continue
        if (given, size) not in now:
            try:
                loaded = data.load(given, data_dir, validation_size=size, skip_unreadable=True, tell=lambda line: None)
                now[given, size] = loaded.fingerprint
            except (data.DataError, OSError):
                now[given, size] = ""
        record = folder.record(run.run_id)
        if record and now[given, size] not in ("", record.dataset.fingerprint):
            numbers[record.dataset.name] += 1
    return [f"warning: {number} recorded run{'s' * (number > 1)} saw other pictures than {name} has now: what is "
            "recorded stays and is not trained again; for the pictures of now give another --results_dir, or move "
            f"{folder.path} away" for name, number in numbers.items()]


def edited(study: Study, runs: Sequence[Run], absent: Collection[str], folder: records.Folder) -> str:
    """Says which files of the user's code have changed since runs that use it were recorded; empty if none has.

    Their numbers may be another network's than the code's as it is now.

    Args:
      absent: the runs that are to be trained.
    """
    hashes, changed = study.hashes, Counter[str]()
    for run in runs:
        counts = run.run_id not in absent and has_code_of_its_own(run.config)
        record = folder.record(run.run_id) if counts else None
        changed.update(path for path, was in (record.sources if record else {}).items() if hashes.get(path, was) != was)
    parts = [f"{number} recorded run{'s were' if number > 1 else ' was'} trained with another {path}"
             for path, number in changed.items()]
    return (f"warning: {'; '.join(parts)}: what is recorded stays and is not trained again; for the code as it is now "
            f"give another --results_dir, or move {folder.path} away" if parts else "")
