"""What of an ablation a plan states, and what has changed since its runs were recorded."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence

from ablations import design
from ablations.lookup import Study, has_code_of_its_own
from ablations.spec import Run
from harness import records


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
