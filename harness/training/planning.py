"""What of an ablation a plan states."""

import dataclasses
from collections.abc import Sequence

from ablations import design
from ablations.lookup import Study
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
